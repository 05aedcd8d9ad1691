//! Folders that vanish after a test, programs of this workspace built for one, and whether their calls can be traced.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty folder, removed with all in it when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one; `name` is for people who look.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("halite-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("the folder for temporary files is writable");
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sees to it that programs can be built for `target`.
///
/// # Panics
/// If that cannot be arranged.
pub fn install(target: &str) {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    // Without rustup, whoever installed the compiler has seen to it, or the build will say so.
    if installed.is_ok_and(|output| !String::from_utf8_lossy(&output.stdout).lines().any(|line| line == target)) {
        let added = Command::new("rustup").args(["target", "add", target]).status();
        assert!(added.is_ok_and(|status| status.success()), "cannot add the target {target}");
    }
}

/// Builds a program of this workspace with `cargo build` and `args`, and returns where its `file` is.
///
/// # Panics
/// If it cannot be built.
pub fn cargo_build(args: &[&str], file: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace");
    let output = Command::new(cargo)
        .current_dir(workspace)
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(args)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cannot build {args:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    // Cargo names each file it made, on a line of JSON; paths hold no characters that JSON escapes here.
    let text = String::from_utf8_lossy(&output.stdout);
    let is_it =
        |path: &&Path| path.is_absolute() && path.file_name().is_some_and(|name| name == file) && path.is_file();
    let made = text.split('"').map(Path::new).find(is_it);
    made.unwrap_or_else(|| panic!("cargo build {args:?} made no {file}")).to_owned()
}

/// Whether `strace` works here; says why if not.
///
/// # Panics
/// Where they cannot, and that is not allowed.
pub fn can_trace() -> bool {
    let works = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        return true;
    }
    let allowed =
        std::env::var("HALITE_ALLOW_MISSING").is_ok_and(|names| names.split(',').any(|name| name == "strace"));
    assert!(
        allowed,
        "strace does not work here: install it (on Debian `apt-get install strace`), or set HALITE_ALLOW_MISSING=strace"
    );
    println!("skipped, as HALITE_ALLOW_MISSING says: no system call was looked at");
    false
}
