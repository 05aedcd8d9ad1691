//! Runs other programs, shows what it runs, and stops at the first failure.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a chore comes to: nothing, or what failed.
pub(crate) type Result<T = (), E = String> = std::result::Result<T, E>;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Says what comes next.
pub(crate) fn heading(title: &str) {
    eprintln!("\n=== {title}");
}

/// A command to be run in the workspace's folder.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    args: Vec<String>,
    vars: Vec<(&'static str, String)>,
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Program {
    program("cargo", args)
}

pub(crate) fn program(name: &str, args: &[&str]) -> Program {
    Program { name: name.to_owned(), args: args.iter().map(|&arg| arg.to_owned()).collect(), vars: Vec::new() }
}

impl Program {
    pub(crate) fn arg(mut self, arg: &str) -> Program {
        self.args.push(arg.to_owned());
        self
    }

    pub(crate) fn var(mut self, name: &'static str, value: impl Into<String>) -> Program {
        self.vars.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        let path = match self.name.as_str() {
            "cargo" => std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            other => other.into(),
        };
        let mut command = Command::new(path);
        command.args(&self.args).envs(self.vars.iter().map(|(name, value)| (name, value))).current_dir(root());
        command
    }

    fn failed(&self, why: impl fmt::Display) -> String {
        format!("failed ({why}): {self}")
    }

    /// Runs it to its end, its output going where ours goes.
    pub(crate) fn run(&self) -> Result {
        eprintln!("$ {self}");
        let status = self.command().status().map_err(|cause| self.failed(cause))?;
        status.success().then_some(()).ok_or_else(|| self.failed(status))
    }

    /// Runs it to its end, passing its standard output on line by line after showing each to `line`; whether it
    /// succeeded.
    pub(crate) fn watch(&self, mut line: impl FnMut(&str)) -> Result<bool> {
        self.lines(false, |text| {
            line(text);
            println!("{text}");
        })
    }

    /// The same of all its output, passing it on to where errors go.
    pub(crate) fn capture(&self, mut line: impl FnMut(&str)) -> Result<bool> {
        self.lines(true, |text| {
            line(text);
            eprintln!("{text}");
        })
    }

    fn lines(&self, with_errors: bool, mut line: impl FnMut(&str)) -> Result<bool> {
        eprintln!("$ {self}");
        let (output, input) = std::io::pipe().map_err(|cause| self.failed(cause))?;
        let mut command = self.command();
        if with_errors {
            command.stderr(input.try_clone().map_err(|cause| self.failed(cause))?);
        }
        let mut child = command.stdout(input).spawn().map_err(|cause| self.failed(cause))?;
        // It ends where nobody can write to it any more.
        drop(command);
        let (mut output, mut bytes) = (BufReader::new(output), Vec::new());
        // Bytes, not lines of text: a test may print anything.
        while output.read_until(b'\n', &mut bytes).map_err(|cause| self.failed(cause))? > 0 {
            let text = String::from_utf8_lossy(&bytes);
            line(text.trim_end());
            bytes.clear();
        }
        Ok(child.wait().map_err(|cause| self.failed(cause))?.success())
    }

    /// Runs it to its end and returns its standard output.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self.command().stderr(Stdio::inherit()).output().map_err(|cause| self.failed(cause))?;
        if !output.status.success() {
            return Err(self.failed(output.status));
        }
        String::from_utf8(output.stdout).map_err(|cause| self.failed(cause))
    }
}

/// Installs the Debian package that brings `name`, where that is missing and this is a Debian; if not, what needs it will
/// fail and say so. `version` makes it print its version.
pub(crate) fn install(name: &str, version: &str, package: &str) {
    if !cfg!(target_os = "linux") || program(name, &[version]).output().is_ok() {
        return;
    }
    let install = program("apt-get", &["install", "--yes", "--no-install-recommends", package]);
    let installed = install.run().or_else(|_| program("apt-get", &["update"]).run().and_then(|()| install.run()));
    if let Err(failure) = installed {
        eprintln!("{failure}: what needs {name} will fail");
    }
}

/// As one would type it.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.vars {
            write!(f, "{name}='{value}' ")?;
        }
        f.write_str(&self.name)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}
