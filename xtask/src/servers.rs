//! Object stores on this machine, for tests: Azurite (Azure Blob) and moto (S3).
//!
//! They are installed once, below `target/servers`, by npm and pip, at pinned versions; each run starts them anew, empty,
//! on free ports, and ends them with itself. Azurite keeps every condition, whoever races; moto does with one request at a
//! time ([`serial.py`](servers/serial.py)), and a third server, moto again, is deaf to conditions: the store to be refused.

use crate::run::{Result, cargo, program, root};
use crate::test::FEATURES;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const AZURITE: &str = "azurite@3.35.0";
const MOTO: &str = "moto[s3,server]==5.2.5";

/// What Azurite's documentation publishes for everybody.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const BUCKET: &str = "halite";

/// How long a server may take to answer for the first time: they load much, and others may be at work here.
const START: Duration = Duration::from_secs(180);

/// Runs the tests that need servers, each line of their output given to `line`; whether they succeeded.
pub(crate) fn test(line: &mut dyn FnMut(&str)) -> Result<bool> {
    let servers = Servers::start()?;
    let command = cargo(&["test", "--workspace", "--features", FEATURES, "--test", "servers", "--no-fail-fast"]);
    let command = servers.places().into_iter().fold(command, |command, (name, value)| command.var(name, value));
    command.watch(line)
}

/// Says where they are, and waits to be interrupted.
pub(crate) fn stay() -> Result {
    let servers = Servers::start()?;
    println!("# Until this is interrupted (Ctrl-C), a new and empty store of each kind. As variables for a shell:");
    println!("export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test");
    println!("export AZBLOB_ACCOUNT_NAME={ACCOUNT} AZBLOB_ACCOUNT_KEY={KEY}");
    for (name, value) in servers.places() {
        println!("export {name}='{value}'");
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Servers that run until this is dropped.
struct Servers {
    azurite: Server,
    moto: Server,
    deaf: Server,
}

impl Servers {
    fn start() -> Result<Servers> {
        let folder = root().join("target").join("servers");
        std::fs::create_dir_all(&folder).map_err(|cause| format!("cannot make {}: {cause}", folder.display()))?;
        let (azurite, moto) = std::thread::scope(|scope| {
            let azurite = scope.spawn(|| install_azurite(&folder));
            let moto = install_moto(&folder);
            (azurite.join().expect("installing does not panic"), moto)
        });
        let (azurite, python) = (azurite?, moto?);
        let script = folder.join("serial.py");
        write(&script, include_str!("servers/serial.py"))?;
        let mut servers = Servers {
            azurite: Server::start("azurite", &folder, |port| {
                let mut command = Command::new(&azurite);
                command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--inMemoryPersistence"]);
                command.args(["--skipApiVersionCheck", "--silent", "--disableTelemetry"]);
                command
            })?,
            moto: Server::start("moto", &folder, |port| moto_command(&python, &script, port, "keeps"))?,
            deaf: Server::start("deaf-moto", &folder, |port| moto_command(&python, &script, port, "deaf"))?,
        };
        servers.azurite.wait()?;
        let container = folder.join("container.py");
        write(&container, include_str!("servers/container.py"))?;
        let port = servers.azurite.port.to_string();
        program(&python.to_string_lossy(), &[&container.to_string_lossy(), &port, ACCOUNT, KEY, BUCKET]).output()?;
        for server in [&mut servers.moto, &mut servers.deaf] {
            server.wait()?;
            make_bucket(server.port)?;
        }
        Ok(servers)
    }

    /// The variables that tests read, and the URIs in them. What is secret elsewhere is known to everybody here.
    fn places(&self) -> [(&'static str, String); 3] {
        let s3 = |server: &Server| {
            let port = server.port;
            format!(
                "s3://{BUCKET}?endpoint=http://127.0.0.1:{port}&region=us-east-1&access_key_id=test\
                 &secret_access_key=test&disable_config_load=true"
            )
        };
        let azblob = format!(
            "azblob://{BUCKET}?endpoint=http://127.0.0.1:{}/{ACCOUNT}&account_name={ACCOUNT}&account_key={}",
            self.azurite.port,
            // In a query a plus is a blank.
            KEY.replace('+', "%2B")
        );
        [("HALITE_S3", s3(&self.moto)), ("HALITE_AZBLOB", azblob), ("HALITE_S3_DEAF", s3(&self.deaf))]
    }
}

/// A server that runs until this is dropped.
struct Server {
    name: &'static str,
    child: Child,
    port: u16,
    /// What it prints goes here.
    printed: PathBuf,
}

impl Server {
    fn start(name: &'static str, folder: &Path, command: impl FnOnce(u16) -> Command) -> Result<Server> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.map_err(|cause| format!("no port is free: {cause}"))?.port();
        let printed = folder.join(format!("{name}.log"));
        let cannot = |cause| format!("cannot start {name}: {cause}");
        let file = std::fs::File::create(&printed).map_err(cannot)?;
        let both = file.try_clone().map_err(cannot)?;
        let mut command = command(port);
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        let child = command.spawn().map_err(cannot)?;
        eprintln!("started {name} at port {port}");
        Ok(Server { name, child, port, printed })
    }

    /// Waits until it takes connections.
    fn wait(&mut self) -> Result {
        let begun = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            if has_ended || begun.elapsed() > START {
                let printed = std::fs::read_to_string(&self.printed).unwrap_or_default();
                return Err(format!("{} does not answer at port {}; it printed:\n{printed}", self.name, self.port));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that would have to be saved.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn moto_command(python: &Path, script: &Path, port: u16, kind: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(script).args([&port.to_string(), kind]);
    command
}

/// The program of Azurite, installed if it is not yet.
fn install_azurite(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join(AZURITE);
    let installed = folder.join("node_modules").join(".bin").join("azurite-blob");
    once(&folder, || {
        let folder = folder.to_string_lossy();
        program("npm", &["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", &folder, AZURITE]).run()
    })?;
    Ok(installed)
}

/// The Python that knows moto, installed if it is not yet.
fn install_moto(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join("moto-5.2.5");
    let python = folder.join("bin").join("python");
    once(&folder, || {
        program("python3", &["-m", "venv", &folder.to_string_lossy()]).run()?;
        program(&python.to_string_lossy(), &["-m", "pip", "install", "--quiet", MOTO]).run()
    })?;
    Ok(python)
}

/// Runs `install` unless a run of it has succeeded for `folder`.
fn once(folder: &Path, install: impl FnOnce() -> Result) -> Result {
    let done = folder.join("installed");
    if done.exists() {
        return Ok(());
    }
    install().map_err(|cause| format!("{cause}\nreal servers need `npm` (Node 20) and `python3` with pip"))?;
    write(&done, "")
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).map_err(|cause| format!("cannot write {}: {cause}", path.display()))
}

/// Makes the bucket on a server that asks for no signature.
fn make_bucket(port: u16) -> Result {
    let request = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(START))?;
        let head = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = request().map_err(|cause| format!("cannot make a bucket: {cause}"))?;
    let is_made = answer.lines().next().is_some_and(|line| line.contains(" 200"));
    is_made.then_some(()).ok_or_else(|| format!("cannot make a bucket: {answer}"))
}
