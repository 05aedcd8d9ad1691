//! The folder on disk: names become paths, new files become visible whole, folders are made and synced.
//!
//! Everything here blocks and is called through `blocking`.
//!
//! # After a crash
//! A file under a temporary name may be left in any state; it is hidden from lists until `tidy` removes it. A name
//! exists only with all its bytes synced (growing files excepted).

use super::os;
use super::pacing::Pace;
use crate::{Error, ErrorKind, Meta, Path, Result};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path as OsPath, PathBuf};

/// No [`Path`] part begins with a dot, so temporary names never meet real ones.
const TEMP_PREFIX: &str = ".tmp-";

/// Space behind a file's end that is worth a cut: more than a file system rounds up to by itself.
const SPACE_WORTH: u64 = 256 << 10;

/// What may lie in a store's folder besides: the lock, and what some file systems have in their topmost folder.
const OWN_NAMES: [&str; 2] = [super::lock::NAME, "lost+found"];

/// One store's folder, and what this process has learnt about it.
#[derive(Debug)]
pub(crate) struct Store {
    /// Where it is; absolute, so that a change of the working folder does not move it.
    pub(crate) root: PathBuf,
    /// Folders whose own names this process has made durable. One that is merely there may stem from a process that
    /// died before it synced the parent.
    durable_folders: Mutex<HashSet<String>>,
    /// How quick writes have been that were not synced.
    pub(crate) writes: Mutex<Pace>,
    /// How quick syncs and synced writes have been.
    pub(crate) syncs: Mutex<Pace>,
}

impl Store {
    /// The store in the folder `root`, made first if `create`.
    pub(crate) fn open(root: &OsPath, create: bool) -> Result<Store> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => {
                Error::new(ErrorKind::InvalidInput, "open", root.display(), "there is something that is no folder")
            }
            _ => Error::io("open", root.display(), error),
        };
        // WASI has no working folder worth the name: its relative paths are resolved against what was preopened.
        let absolute = if cfg!(target_family = "wasm") { Ok(root.into()) } else { std::path::absolute(root) };
        let root: PathBuf = absolute.map_err(fail)?;
        if create {
            create_root(&root).map_err(fail)?;
        }
        if !fs::metadata(&root).map_err(fail)?.is_dir() {
            return Err(fail(io::ErrorKind::NotADirectory.into()));
        }
        let pace = || Mutex::new(Pace::UNKNOWN);
        Ok(Store { root, durable_folders: Mutex::default(), writes: pace(), syncs: pace() })
    }

    /// Where `path` is on disk.
    pub(crate) fn file(&self, path: &Path) -> PathBuf {
        self.root.join(path.as_str())
    }

    fn folder(&self, path: &Path) -> PathBuf {
        self.root.join(path.folder())
    }

    /// Opens a new file next to where `path` will be, hidden until [`Temp::publish`].
    pub(crate) fn temp(&self, path: &Path) -> io::Result<Temp> {
        self.prepare_folder(path.folder())?;
        loop {
            // Randomness comes from std's hash seeds: enough to avoid meetings, and `create_new` settles the rest.
            let random = RandomState::new().build_hasher().finish();
            let name = self.folder(path).join(format!("{TEMP_PREFIX}{random:016x}"));
            match os::open_options().write(true).create_new(true).open(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return Ok(Temp { file: result?, name }),
            }
        }
    }

    /// Creates a new file that is visible at once; its name is durable.
    pub(crate) fn create_visible(&self, path: &Path) -> io::Result<File> {
        self.prepare_folder(path.folder())?;
        let file = os::open_options().write(true).create_new(true).open(self.file(path))?;
        os::sync_folder(&self.folder(path))?;
        Ok(file)
    }

    /// Links `path` to `file`, another store's, which is synced and does not change any more. False where that cannot be:
    /// on another file system, or one that knows no links.
    pub(crate) fn adopt(&self, path: &Path, file: &OsPath) -> io::Result<bool> {
        self.prepare_folder(path.folder())?;
        match fs::hard_link(file, self.file(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Why not does not matter, not even that the file has just been deleted: whoever has it open can copy it.
            Err(_) => return Ok(false),
            Ok(()) => {}
        }
        os::sync_folder(&self.folder(path))?;
        Ok(true)
    }

    /// Opens a file for reading. What is not a file does not exist.
    pub(crate) fn open_file(&self, path: &Path) -> io::Result<(File, u64)> {
        // Before it is opened: a pipe would have us wait for somebody to write.
        if !fs::metadata(self.file(path))?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = OpenOptions::new().read(true).open(self.file(path))?;
        let meta = file.metadata()?;
        if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Whether there is a file of this name.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(self.file(path)) {
            Ok(meta) => Ok(meta.is_file()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a file; Ok where it is not there.
    pub(crate) fn delete(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(self.file(path)) {
            Err(error) if is_absent(&error) => Ok(()),
            result => result,
        }
    }

    /// The files in `folder` whose names are [`Path`]s; the folders in it go to `folders`.
    pub(crate) fn list_one(&self, folder: &str, folders: &mut Vec<String>) -> Result<Vec<Meta>> {
        let mut metas = Vec::new();
        self.walk_one(folder, folders, &mut |file, name| {
            if let Ok(path) = Path::new(name) {
                metas.push(Meta::new(path, file.metadata()?.len()));
            }
            Ok(())
        })?;
        Ok(metas)
    }

    /// The name of the first file found that is no [`Path`]; the search ends at one that is.
    pub(crate) fn foreign(&self) -> Result<Option<String>> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let fail = |error| Error::io("list", self.root.join(&folder).display(), error);
            for entry in fs::read_dir(self.root.join(&folder)).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let part = entry.file_name();
                let name = OsPath::new(&folder).join(&part);
                let text = name.to_string_lossy();
                let ours = folder.is_empty() && OWN_NAMES.iter().any(|own| part == *own);
                match Path::new(&*text) {
                    Ok(path) if entry.path().is_dir() => folders.push(path.as_str().to_owned()),
                    Ok(_) => return Ok(None),
                    Err(_) if ours || part.to_string_lossy().starts_with(TEMP_PREFIX) => {}
                    Err(_) => return Ok(Some(text.into_owned())),
                }
            }
        }
        Ok(None)
    }

    /// Removes every temporary file, and gives back what a killed process had set aside behind the end of a growing one.
    pub(crate) fn tidy(&self) -> Result<()> {
        self.walk("", &mut |file, name| {
            let is_temp = name.rsplit('/').next().is_some_and(|name| name.starts_with(TEMP_PREFIX));
            if is_temp {
                return fs::remove_file(file);
            }
            let meta = file.metadata()?;
            if Path::new(name).is_ok() && os::space_behind(&meta) >= SPACE_WORTH {
                // What cannot be given back now is given back when the file is deleted.
                let _ = OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(meta.len()));
            }
            Ok(())
        })
    }

    /// Shows `visit` each file below `folder`, with its name inside the store. What vanishes meanwhile is passed over.
    fn walk(&self, folder: &str, visit: &mut dyn FnMut(&OsPath, &str) -> io::Result<()>) -> Result<()> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            self.walk_one(&folder, &mut folders, visit)?;
        }
        Ok(())
    }

    /// As [`walk`](Store::walk) for the files in `folder`; the folders in it go to `folders`.
    fn walk_one(
        &self,
        folder: &str,
        folders: &mut Vec<String>,
        visit: &mut dyn FnMut(&OsPath, &str) -> io::Result<()>,
    ) -> Result<()> {
        match self.visit(folder, folders, visit) {
            Err(error) if !is_absent(&error) => Err(Error::io("list", self.root.join(folder).display(), error)),
            _ => Ok(()),
        }
    }

    fn visit(
        &self,
        folder: &str,
        folders: &mut Vec<String>,
        visit: &mut dyn FnMut(&OsPath, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let result = match fs::metadata(entry.path()) {
                // Only folders whose names are fine can hold names of ours; that also bounds the depth.
                Ok(meta) if meta.is_dir() => {
                    folders.extend(Path::new(&*name).is_ok().then_some(name));
                    Ok(())
                }
                Ok(meta) if meta.is_file() => visit(&entry.path(), &name),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            match result {
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes `folder` and its parents, and makes their names durable, once in the life of this handle.
    fn prepare_folder(&self, folder: &str) -> io::Result<()> {
        if folder.is_empty() || self.durable_folders.lock().contains(folder) {
            return Ok(());
        }
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        for part in ends.map(|end| &folder[..end]) {
            let path = self.root.join(part);
            create_folder_if_absent(&path)?;
            os::sync_folder(path.parent().unwrap_or(&self.root))?;
        }
        self.durable_folders.lock().insert(folder.to_owned());
        Ok(())
    }
}

/// A file under a temporary name. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Temp {
    /// Its write end.
    pub(crate) file: File,
    name: PathBuf,
}

impl Temp {
    /// Gives the file, whose bytes the caller has synced, its real name, which must not exist, and makes that durable.
    pub(crate) fn publish(self, store: &Store, path: &Path) -> Result<()> {
        let fail = |error| Error::io("create", path, error);
        match os::publish(&self.name, &store.file(path)) {
            // Somebody tidied the store meanwhile. To the caller that is no missing name but a failed call.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::Io, "create", path, "its temporary file has been removed"));
            }
            // It may be the caller's own, made by a call whose answer was lost, and must then be as durable as if it was
            // made now. (A network file system may say so of the very first call, having sent it twice.)
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                os::sync_folder(&store.folder(path)).map_err(fail)?;
                return Err(fail(error));
            }
            result => result.map_err(fail)?,
        }
        // The temporary name goes first, so that one sync of the folder covers both changes.
        drop(self);
        os::sync_folder(&store.folder(path)).map_err(fail)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // A leftover does no harm: it is hidden, and `tidy` removes it.
        let _ = fs::remove_file(&self.name);
    }
}

/// Whether an error says that there is no such file. (Below a name that is a file, there is none either.)
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn create_folder_if_absent(path: &OsPath) -> io::Result<()> {
    match os::create_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match path.is_dir() {
            true => Ok(()),
            false => Err(io::ErrorKind::NotADirectory.into()),
        },
        result => result,
    }
}

/// Makes the store's own folder with its parents, their names durable.
fn create_root(root: &OsPath) -> io::Result<()> {
    let made: Vec<_> =
        root.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    for folder in made.iter().rev() {
        create_folder_if_absent(folder)?;
    }
    for parent in made.iter().filter_map(|folder| folder.parent()) {
        let parent = if parent.as_os_str().is_empty() { OsPath::new(".") } else { parent };
        os::sync_folder(parent)?;
    }
    if made.is_empty()
        && let Some(parent) = root.parent()
    {
        // It may stem from a process that died before this. Where the parent is not ours to open, it is not ours to
        // sync either.
        let _ = os::sync_folder(parent);
    }
    Ok(())
}
