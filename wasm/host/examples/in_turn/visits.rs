//! Three visits to one store: of the library, of the command under WASI, and of the library again.

use halite_wasmtime::wasmtime::Result;
use halite_wasmtime::{Access, Program, Run};
use std::path::Path;

/// Counts the visits in the store `folder`, of which `program` makes the second. Says how many the store has seen by then,
/// each time.
pub(crate) async fn run(program: &Program, folder: &Path) -> Result<[String; 3]> {
    let first = visit(folder).await?;

    let second = Run::new(program).args(["halite", "--store", "/data", "incr", "visits"]);
    let second = second.folder(folder, "/data", Access::ReadWrite)?.finish().await?;

    let third = visit(folder).await?;
    Ok([first, second.out.trim().to_owned(), third])
}

async fn visit(folder: &Path) -> Result<String> {
    let db = halite::Db::open(folder.to_string_lossy()).await?;
    let visits = db.increment("visits", 1).await?;
    db.close().await?;
    Ok(visits.to_string())
}
