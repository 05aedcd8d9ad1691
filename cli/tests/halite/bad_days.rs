//! Stores that are missing, damaged, in use, or no stores at all: a clear error, an exit code, nothing lost.

use super::{Place, documents, with_records};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

#[test]
fn questions_create_no_store() {
    let place = Place::new();
    for args in [
        &["get", "a"][..],
        &["exists", "a"],
        &["delete", "a"],
        &["list"],
        &["clear", "--yes"],
        &["stats"],
        &["tree"],
        &["verify"],
        &["compact"],
        &["dump"],
    ] {
        let said = place.fails(4, args);
        assert!(said.contains("there is no store at ./halite-data") && said.contains("hint: "), "{args:?}: {said}");
        assert!(said.contains("create a store"), "{args:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    // Nor does an empty folder become one.
    std::fs::create_dir(place.store()).unwrap();
    assert!(place.fails(4, &["list"]).contains("there is no store at ./halite-data"));
    assert_eq!(place.ok(&["put", "a", "1"]), "OK\n");
}

#[test]
fn a_folder_that_is_no_store_is_left_alone() {
    let place = Place::new();
    std::fs::create_dir(place.store()).unwrap();
    std::fs::write(place.store().join("letter.txt"), "dear reader").unwrap();
    for (code, args) in [(2, &["put", "a", "1"][..]), (2, &["load", "-"]), (2, &["shell"]), (4, &["list"])] {
        let said = place.fails(code, args);
        assert!(said.contains("./halite-data") && said.contains("hint: "), "{args:?}: {said}");
    }
    let names: Vec<_> = std::fs::read_dir(place.store()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name == "letter.txt"), "{names:?}");
    // Nor is a file one, nor what lies below it, nor what a link leads to nowhere from.
    std::fs::write(place.path().join("file"), "text").unwrap();
    for store in ["file", "file:file", "file/below"] {
        let said = place.fails(2, &["--store", store, "put", "a", "1"]);
        assert!(said.contains("no folder") && said.contains("hint: "), "{store}: {said}");
    }
}

/// Names that no file of a store can have are seen as well.
#[test]
fn no_store_is_made_among_other_files() {
    let place = Place::new();
    for name in ["README.md", "Photo 1.jpeg", ".bashrc", "src/Main.java"] {
        let folder = place.path().join(name.replace(['/', ' '], "-"));
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join(name), "mine").unwrap();
        let said = place.fails(2, &["--store", folder.to_str().unwrap(), "put", "a", "1"]);
        assert!(said.contains(&format!("holds {name}, which is no part of a store")), "{said}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), if name.contains('/') { 1 } else { 2 });
    }
    // What file systems have in their topmost folder is in nobody's way.
    std::fs::create_dir_all(place.store().join("lost+found")).unwrap();
    assert_eq!(place.ok(&["put", "a", "1"]), "OK\n");
}

/// Without a look at all the files below it.
#[test]
#[cfg(target_os = "linux")]
fn a_large_folder_is_refused_at_once() {
    let place = Place::new();
    let said = place.fails(2, &["--store", "/proc", "put", "a", "1"]);
    assert!(said.contains("no part of a store"), "{said}");
}

/// Unlike keys and values.
#[test]
#[cfg(target_os = "linux")]
fn a_store_has_a_name_in_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    let said = place.fails(2, &["--store".as_ref(), name, "list".as_ref()]);
    assert!(said.contains("--store <URI>") && said.contains("must be UTF-8"), "{said}");
}

#[test]
fn unknown_uris_are_refused() {
    let place = Place::new();
    for uri in ["foo:bar", "s3://bucket/path", "", "mem:name", "file://host/data"] {
        let said = place.fails(2, &["--store", uri, "put", "a", "1"]);
        assert!(said.starts_with("halite: cannot open") && said.contains("hint: "), "{uri}: {said}");
    }
}

#[test]
fn a_store_open_elsewhere_is_in_use() {
    let place = Place::new();
    let mut shell = place.spawn(&["shell"]);
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"put a 1\n").unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    for args in [&["get", "a"][..], &["put", "a", "2"], &["shell"]] {
        let said = place.fails(5, args);
        assert!(said.contains("hint: another process has the store open"), "{args:?}: {said}");
    }
    drop(input);
    assert!(shell.wait().unwrap().success());
    assert_eq!(place.ok(&["get", "a"]), "1\n");
}

/// As anyone but its owner, or, for those whom no mode stops, where the system lets nobody.
#[test]
#[cfg(target_os = "linux")]
fn places_one_may_not_enter() {
    let place = Place::new();
    let said = place.fails(4, &["--store", "/sys/halite-data", "put", "a", "1"]);
    assert!(said.contains("permi") && said.contains("hint: check who owns the store"), "{said}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn flip(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[offset] ^= 0x10;
    // The engine's own files are not written in place; neither is this one.
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn damage_is_found_and_named() {
    let place = with_records(&[("a", "first value"), ("b", "second value")]);
    let segment = files(&place.store().join("segments")).pop().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|bytes| bytes == b"first").unwrap();
    flip(&segment, at);
    let name = segment.file_name().unwrap().to_str().unwrap();

    let outcome = place.run(&["verify"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(3), ""), "{outcome:?}");
    assert!(
        outcome.out.starts_with("damaged: ") && outcome.out.contains(name) && outcome.out.contains("offset="),
        "{outcome:?}"
    );
    let outcome = place.run(&["--format", "json", "verify"]);
    let damage = &documents(&outcome.out)[0]["damage"][0];
    assert!(outcome.code == Some(3) && damage["offset"].as_u64().unwrap() <= at as u64, "{outcome:?}");

    let said = place.fails(3, &["get", "a"]);
    assert!(said.contains(name) && said.contains("hint: run `halite verify`"), "{said}");
    let said = place.fails(3, &["--format", "json", "get", "a"]);
    let error = &documents(&said)[0]["error"];
    assert!(error["kind"] == "corruption" && error["file"].as_str().unwrap().contains(name), "{said}");
    assert_eq!(place.ok(&["get", "b"]), "second value\n");
    assert_eq!(place.run(&["compact"]).code, Some(3));
    assert_eq!(place.ok(&["get", "b"]), "second value\n");
}

#[test]
fn a_damaged_manifest_is_corruption() {
    let place = with_records(&[("a", "1")]);
    let manifest = files(&place.store().join("manifest")).pop().unwrap();
    flip(&manifest, std::fs::metadata(&manifest).unwrap().len() as usize / 2);
    for args in [&["get", "a"][..], &["put", "a", "2"], &["verify"]] {
        let said = place.fails(3, args);
        assert!(said.contains("manifest/") && said.contains("hint: put back this file"), "{args:?}: {said}");
    }
}

/// Claims that followed a crash are kept; one of them must not pass for the newest manifest, whose segments would count
/// as leftovers.
#[test]
fn a_lost_manifest_is_corruption_and_nothing_is_deleted() {
    let place = Place::new();
    for value in ["1", "2"] {
        let mut shell = place.spawn(&["shell"]);
        let mut input = shell.stdin.take().unwrap();
        writeln!(input, "put a {value}").unwrap();
        let mut answer = String::new();
        BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "OK\n");
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(place.ok(&["get", "a"]), format!("{value}\n"));

        let manifests = files(&place.store().join("manifest"));
        let segments = files(&place.store().join("segments"));
        assert!(manifests.len() > 1, "{manifests:?}");
        let lost = manifests.last().unwrap();
        let bytes = std::fs::read(lost).unwrap();
        std::fs::remove_file(lost).unwrap();
        for args in [&["get", "a"][..], &["put", "a", "3"], &["list"], &["shell"]] {
            let said = place.fails(3, args);
            assert!(said.contains("a manifest is missing"), "{args:?}: {said}");
        }
        assert_eq!(files(&place.store().join("segments")), segments);
        std::fs::write(lost, bytes).unwrap();
        assert_eq!(place.ok(&["get", "a"]), format!("{value}\n"));
    }
    std::fs::remove_dir_all(place.store().join("manifest")).unwrap();
    for args in [&["get", "a"][..], &["put", "a", "3"], &["list"], &["shell"]] {
        assert!(place.fails(3, args).contains("there is no manifest"), "{args:?}");
    }
}

/// What cannot be said is still in the exit code.
#[test]
#[cfg(target_os = "linux")]
fn standard_error_may_be_full() {
    let place = with_records(&[("a", "1")]);
    for (code, args) in [
        (1, &["get", "b"][..]),
        (2, &["--store", "foo:x", "list"]),
        (2, &["load", "-"]),
        (2, &["nonsense"]),
        (0, &["list"]),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(&[&["--format", "plain"], args].concat());
        let mut child =
            command.env("HALITE_EVENTS", "trace").stdin(std::process::Stdio::piped()).stderr(full).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(b"no json\n");
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
    }
}

#[test]
fn wrong_arguments_are_usage() {
    let place = Place::new();
    for args in [
        &[][..],
        &["nonsense"],
        &["put", "a"],
        &["get"],
        &["get", "a", "b"],
        &["list", "--limit", "-1"],
        &["put", "a", "1", "--ttl", "soon"],
        &["put", "a", "1", "--ttl", "0s"],
        &["--format", "xml", "list"],
        &["bench", "--n", "0"],
        &["bench", "--key-bytes", "70000"],
    ] {
        let said = place.fails(2, args);
        assert!(said.contains("sage:") || said.contains("error:"), "{args:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn keys_beyond_the_limit_are_refused() {
    let place = Place::new();
    let key = "k".repeat(65_537);
    let said = place.fails(2, &["put", &key, "1"]);
    assert!(said.contains("key too long len=65537 max=65536"), "{said}");
    assert_eq!(place.ok(&["put", &key[..65_536], "1"]), "OK\n");
    assert_eq!(place.ok(&["get", &key[..65_536]]), "1\n");
}

#[test]
fn what_is_whole_of_a_damaged_store_is_brought_into_a_new_one() {
    let place = with_records(&[("a", "first value"), ("b", "second value"), ("c", "third value")]);
    assert_eq!(place.ok(&["repair", "copy"]), "brought over 3 keys, out of 3 records in 1 file; 0 B lost\n");
    assert_eq!(place.ok(&["--store", "copy", "get", "a"]), "first value\n");
    let said = place.fails(2, &["repair", "copy"]);
    assert!(said.contains("/copy already: repair needs a new one"), "{said}");

    let segment = files(&place.store().join("segments")).pop().unwrap();
    let at = std::fs::read(&segment).unwrap().windows(5).position(|bytes| bytes == b"first").unwrap();
    flip(&segment, at);
    for manifest in files(&place.store().join("manifest")) {
        std::fs::write(manifest, "nothing").unwrap();
    }
    place.fails(3, &["get", "b"]);
    let outcome = place.run(&["repair", "new"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(3), ""), "{outcome:?}");
    assert!(outcome.out.starts_with("lost: ") && outcome.out.contains("brought over 2 keys"), "{outcome:?}");
    assert_eq!(place.ok(&["--store", "new", "list"]), "b \"second value\"\nc \"third value\"\n");
    let outcome = place.run(&["repair", "newer", "--format", "json"]);
    let report = &documents(&outcome.out)[0];
    assert!(report["keys"] == 2 && report["losses"].as_array().unwrap().len() > 1, "{outcome:?}");
    assert!(place.fails(4, &["--store", "nowhere", "repair", "x"]).contains("cannot repair the store at nowhere"));
}
