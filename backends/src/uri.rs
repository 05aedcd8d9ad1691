//! From the name a user gives a store to a backend: a path, or a URI with a scheme.

use crate::{Backend, Error, ErrorKind, Local, Memory, Result};
use std::sync::Arc;

/// The schemes known here, for the error that an unknown one gets.
const KNOWN: &str = "a path, `file:PATH`, or `mem:`";

/// What a URI says.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Folder(&'a str),
    Memory,
}

/// Opens the store that `uri` names. With `create`, a local folder is made where it does not exist.
///
/// | `uri` | the store |
/// | --- | --- |
/// | `data`, `./a:b`, `/var/lib/data` | the local folder of that path |
/// | `file:data`, `file:/var/lib/data`, `file:///var/lib/data` | the same, said in full |
/// | `mem:` | a new one in memory |
///
/// What stands before the first `:` is a scheme, unless a `/` comes earlier: `./a:b` is a path. Nothing is decoded:
/// a `%` in a path is a `%`.
///
/// ```
/// let store = halite_backends::open_uri("mem:", true)?;
/// assert_eq!(store.location(), "mem:");
/// # Ok::<(), halite_backends::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` where the scheme is unknown; else as [`Local::open`].
pub fn open_uri(uri: &str, create: bool) -> Result<Arc<dyn Backend>> {
    // Of a URI that is refused only the scheme is shown: the rest may hold a secret meant for somebody else.
    let shown = || uri.split_once(':').map_or(String::new(), |(scheme, _)| format!("{scheme}:…"));
    match parse(uri).map_err(|message| Error::new(ErrorKind::InvalidInput, "open", shown(), message))? {
        Place::Folder(path) => Ok(Arc::new(Local::open(path, create)?)),
        Place::Memory => Ok(Arc::new(Memory::new())),
    }
}

fn parse(uri: &str) -> Result<Place<'_>, String> {
    let scheme_and_rest = uri.split_once(':').filter(|(scheme, _)| !scheme.contains('/'));
    match scheme_and_rest {
        None if uri.is_empty() => Err(format!("no store is named; a store is {KNOWN}")),
        None => Ok(Place::Folder(uri)),
        Some(("mem", "")) => Ok(Place::Memory),
        Some(("mem", _)) => Err("a store in memory has no name: write `mem:`".into()),
        Some(("file", rest)) => parse_file(rest),
        Some((scheme, _)) => Err(format!(
            "the scheme `{scheme}:` is not known; a store is {KNOWN} (a path with a colon begins with `./`)"
        )),
    }
}

/// `PATH`, or `//HOST/PATH` with no host, which is how URIs write absolute paths.
fn parse_file(rest: &str) -> Result<Place<'_>, String> {
    match rest.strip_prefix("//") {
        None if rest.is_empty() => Err("`file:` names no folder".into()),
        None => Ok(Place::Folder(rest)),
        Some(path) if path.starts_with('/') => Ok(Place::Folder(path)),
        Some(rest) => match rest.strip_prefix("localhost") {
            Some(path) if path.starts_with('/') => Ok(Place::Folder(path)),
            _ => Err("`file://` is followed by an absolute path; a relative one is written `file:PATH`".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_uris_name_stores() {
        use Place::{Folder, Memory};
        let cases = [
            ("data", Folder("data")),
            ("./a:b", Folder("./a:b")),
            ("/abs/path", Folder("/abs/path")),
            ("/s3://x", Folder("/s3://x")),
            (".", Folder(".")),
            ("file:data", Folder("data")),
            ("file:./data", Folder("./data")),
            ("file:a:b", Folder("a:b")),
            ("file:/abs", Folder("/abs")),
            ("file:///abs/path", Folder("/abs/path")),
            ("file://localhost/abs", Folder("/abs")),
            ("mem:", Memory),
        ];
        for (uri, place) in cases {
            assert_eq!(parse(uri), Ok(place), "{uri}");
        }
    }

    #[test]
    fn what_names_no_store_is_refused_with_a_hint() {
        let cases = [
            ("", "a path, `file:PATH`, or `mem:`"),
            ("foo:bar", "a path, `file:PATH`, or `mem:`"),
            ("foo:bar", "begins with `./`"),
            ("s3://bucket/prefix", "`s3:` is not known"),
            ("C:\\data", "not known"),
            (":", "not known"),
            ("MEM:", "not known"),
            ("mem:name", "write `mem:`"),
            ("file:", "names no folder"),
            ("file://data", "`file:PATH`"),
            ("file://host/data", "`file:PATH`"),
        ];
        for (uri, hint) in cases {
            let error = open_uri(uri, false).expect_err(uri);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}");
            assert!(error.to_string().contains(hint), "{uri}: {error}");
        }
        let error = open_uri("s3://key:secret@bucket", false).expect_err("unknown");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_folder_is_made_only_when_asked() {
        let folder = std::env::temp_dir().join(format!("halite-uri-{}", std::process::id()));
        let uri = format!("file://{}", folder.display());
        assert_eq!(open_uri(&uri, false).map(drop).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
        assert!(open_uri(&uri, true).is_ok() && open_uri(&uri, false).is_ok());
        let _ = std::fs::remove_dir_all(folder);
    }
}
