//! From the name a user gives a store to a backend: a path, or a URI with a scheme; and how such a name is shown.

use crate::{Backend, Error, ErrorKind, Local, Memory, Result};
use std::sync::Arc;

/// The schemes known here, for the error that an unknown one gets.
const KNOWN: &str = "a path, `file:PATH`, `mem:`, or the URI of an object store";

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
/// | `s3://BUCKET/PREFIX?region=…&endpoint=…` | objects in S3, or in what speaks its language (feature `s3`) |
/// | `azblob://CONTAINER/PREFIX?account_name=…` | Azure Blob Storage (feature `azblob`) |
/// | `gcs://BUCKET/PREFIX` | Google Cloud Storage (feature `gcs`) |
/// | `webdav://…` and so on | any service of OpenDAL that this program was built with |
///
/// What stands behind the `?` are OpenDAL's options for the service. Credentials come from where the service's own
/// tools look for them (the environment, profiles, the machine's role), or from options; wherever from, they are not
/// shown. A store's name is shown as [`shown_uri`] gives it.
///
/// What stands before the first `:` is a scheme, unless a `/` comes earlier: `./a:b` is a path. In a local path nothing
/// is decoded: a `%` is a `%`.
///
/// ```
/// let store = halite_backends::open_uri("mem:", true)?;
/// assert_eq!(store.location(), "mem:");
/// # Ok::<(), halite_backends::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` where the scheme is unknown, or an option is wrong or missing; else as [`Local::open`]. An object store
/// is not asked anything yet: whether the bucket is there, and lets us in, shows at the first call.
pub fn open_uri(uri: &str, create: bool) -> Result<Arc<dyn Backend>> {
    #[cfg(all(feature = "opendal", not(target_family = "wasm")))]
    if let Some(objects) = crate::objects::from_uri(uri)? {
        return Ok(Arc::new(objects));
    }
    // Of a URI that is refused only the scheme is shown: the rest may hold a secret meant for somebody else.
    let shown = || uri.split_once(':').map_or(String::new(), |(scheme, _)| format!("{scheme}:…"));
    match parse(uri).map_err(|message| Error::new(ErrorKind::InvalidInput, "open", shown(), message))? {
        Place::Folder(path) => Ok(Arc::new(Local::open(path, create)?)),
        Place::Memory => Ok(Arc::new(Memory::new())),
    }
}

/// `uri` as it may be shown: without the options of an object store, among which a credential may be.
///
/// ```
/// use halite_backends::shown_uri;
/// assert_eq!(shown_uri("s3://bucket/prefix?region=x&secret_access_key=y"), "s3://bucket/prefix?…");
/// assert_eq!(shown_uri("./what?"), "./what?");
/// ```
pub fn shown_uri(uri: &str) -> String {
    without_queries(uri)
}

/// `text` with the query, and the user, of each URI in it replaced by `…`.
pub(crate) fn without_queries(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | ',');
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, uri) = rest.split_at(at + 3);
        let (uri, after) = uri.split_at(uri.find(ends).unwrap_or(uri.len()));
        shown.push_str(before);
        let (place, query) = uri.split_once('?').map_or((uri, ""), |(place, _)| (place, "?…"));
        let authority = place.find('/').unwrap_or(place.len());
        match place[..authority].rfind('@') {
            Some(user) => shown.extend(["…", &place[user..]]),
            None => shown.push_str(place),
        }
        shown.push_str(query);
        rest = after;
    }
    shown + rest
}

fn parse(uri: &str) -> Result<Place<'_>, String> {
    let scheme_and_rest = uri.split_once(':').filter(|(scheme, _)| !scheme.contains('/'));
    match scheme_and_rest {
        None if uri.is_empty() => Err(format!("no store is named; a store is {KNOWN}")),
        None => Ok(Place::Folder(uri)),
        Some(("mem", "")) => Ok(Place::Memory),
        Some(("mem", _)) => Err("a store in memory has no name: write `mem:`".into()),
        Some(("file", rest)) => parse_file(rest),
        Some((scheme @ ("s3" | "azblob" | "gcs" | "webdav"), rest)) if rest.starts_with("//") => {
            Err(format!("this program was built without `{scheme}`: build it with the feature of that name"))
        }
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
            ("", "a path, `file:PATH`, `mem:`"),
            ("foo:bar", "a path, `file:PATH`, `mem:`"),
            ("foo:bar", "begins with `./`"),
            ("foo://bucket/prefix", "`foo:` is not known"),
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
        for uri in ["foo://key:secret@bucket", "s3://key:secret@bucket", "s3://bucket?secret_access_key=secret&region"]
        {
            let shown = open_uri(uri, false).map_or_else(|error| format!("{error:?}"), |store| format!("{store:?}"));
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_options_and_no_user() {
        let cases = [
            ("data", "data"),
            ("./a?b=c", "./a?b=c"),
            ("s3://bucket/a/b", "s3://bucket/a/b"),
            ("s3://bucket/a?b=c&d=e", "s3://bucket/a?…"),
            ("s3://user:secret@bucket/a", "s3://…@bucket/a"),
            ("s3://bucket?sig=secret/with/slashes", "s3://bucket?…"),
            (
                "cannot send (https://a/b?sig=secret): no, see http://c?d",
                "cannot send (https://a/b?…): no, see http://c?…",
            ),
        ];
        for (uri, shown) in cases {
            assert_eq!(shown_uri(uri), shown);
        }
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
