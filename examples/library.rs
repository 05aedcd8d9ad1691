//! Books by number, with an index by author: typed collections, kept in step by transactions.

use futures::TryStreamExt;
use halite::{Collection, Db, Result, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    author: String,
    title: String,
    year: u16,
}

/// Two collections of one database. The second has no values: its keys say it all, and sort by author, year and number.
struct Library {
    db: Db,
    books: Collection<u64, Book>,
    by_author: Collection<(String, u16, u64), ()>,
}

impl Library {
    fn of(db: Db) -> Library {
        Library { books: db.collection("books"), by_author: db.collection("books by author"), db }
    }

    /// Adds a book and its place in the index, or puts it in another one's stead.
    async fn add(&self, number: u64, book: &Book) -> Result<()> {
        let added = self.db.transact(async |transaction| {
            self.take_out(&transaction, number).await?;
            transaction.collection(self.books.name()).put(number, book)?;
            transaction.collection(self.by_author.name()).put((book.author.clone(), book.year, number), &())
        });
        added.await
    }

    async fn remove(&self, number: u64) -> Result<()> {
        self.db.transact(async |transaction| self.take_out(&transaction, number).await).await
    }

    /// Takes a book, if it is there, out of both collections.
    async fn take_out(&self, transaction: &Transaction, number: u64) -> Result<()> {
        let books = transaction.collection::<u64, Book>(self.books.name());
        let by_author = transaction.collection::<(String, u16, u64), ()>(self.by_author.name());
        let Some(book) = books.get(number).await? else { return Ok(()) };
        books.delete(number)?;
        by_author.delete((book.author, book.year, number))
    }

    /// An author's titles, newest first, all of one moment whatever is added meanwhile.
    async fn titles_of(&self, author: &str) -> Result<Vec<String>> {
        let now = self.db.snapshot();
        let books = now.collection::<u64, Book>(self.books.name());
        let mut index = now.collection::<(String, u16, u64), ()>(self.by_author.name()).prefix((author,)).rev().keys();
        let mut titles = Vec::new();
        while let Some((_, year, number)) = index.try_next().await? {
            let title = books.get(number).await?.map(|book| book.title);
            titles.push(format!("{} ({year})", title.unwrap_or_default()));
        }
        Ok(titles)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let library = Library::of(Db::open("mem:").await?);
    let books = [
        ("Le Guin", "The Dispossessed", 1974),
        ("Lem", "Solaris", 1961),
        ("Le Guin", "A Wizard of Earthsea", 1968),
        ("Lem", "The Cyberiad", 1965),
        ("Le Guin", "Lavinia", 2008),
    ];
    for (number, (author, title, year)) in (1..).zip(books) {
        library.add(number, &Book { author: author.to_owned(), title: title.to_owned(), year }).await?;
    }
    library.remove(5).await?;

    // "Le" is no author: a prefix of a tuple is whole parts.
    for author in ["Le Guin", "Lem", "Le"] {
        println!("{author}: {:?}", library.titles_of(author).await?);
    }
    let numbers: Vec<u64> = library.books.scan(2..=4).keys().try_collect().await?;
    println!("numbers 2 to 4: {numbers:?}");
    library.db.close().await
}
