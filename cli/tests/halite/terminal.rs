//! The shell as a person meets it: a prompt, editing, completion, history, and a question before all is gone.

use super::Place;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longest wait for what must come: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a shell at it.
struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What has been shown and not yet been looked for.
    shown: String,
    child: Child,
}

impl Terminal {
    fn new(place: &Place) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes())).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = place.command(&["shell"]);
        command.env("TERM", "xterm").env("HALITE_HISTORY", place.path().join("history"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let (keyboard, (sender, screen)) = (File::from(ours), channel());
        let mut output = keyboard.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails once the shell has gone.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { keyboard, screen, shown: String::new(), child }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown, and forgets all up to it.
    fn sees(&mut self, text: &str) {
        while !self.shown.contains(text) {
            let next = self.screen.recv_timeout(PATIENCE);
            let next = next.unwrap_or_else(|cause| panic!("{cause}: no {text:?} in {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&next));
        }
        let end = self.shown.find(text).unwrap() + text.len();
        self.shown.drain(..end);
    }

    /// Types a line at the prompt and waits for the answer.
    fn asks(&mut self, line: &str, answer: &str) {
        self.sees("halite> ");
        self.types(&format!("{line}\r"));
        self.sees(&format!("\n{answer}\r\n"));
    }

    fn leaves(mut self, keys: &str) {
        self.sees("halite> ");
        self.types(keys);
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_session() {
    let place = Place::new();
    let mut terminal = Terminal::new(&place);
    terminal.sees("`help` shows what can be typed");
    terminal.asks("put user:1 Ada", "OK");
    terminal.asks("put user:2 Bob", "OK");
    terminal.asks("get us\t2", "Bob");
    terminal.asks("li\t --keys", "user:1\r\nuser:2\r\n(2 records)");
    terminal.asks("nonsense", "(error) unrecognized subcommand 'nonsense'");
    // Ctrl-C drops the line begun.
    terminal.sees("halite> ");
    terminal.types("junk\x03");
    terminal.asks("exists user:1", "true");
    // A line that begins with a blank is not remembered.
    terminal.asks(" put secret 1", "OK");
    terminal.leaves("quit\r");

    let mut terminal = Terminal::new(&place);
    // Up twice: past `quit`, to the line before.
    terminal.asks("\x1b[A\x1b[A", "true");
    terminal.leaves("\x04");
    let history = std::fs::read_to_string(place.path().join("history")).unwrap();
    assert!(history.contains("put user:1 Ada") && !history.contains("secret"), "{history}");
}

#[test]
fn clear_asks() {
    let place = Place::new();
    place.ok(&["put", "a", "1"]);
    let mut terminal = Terminal::new(&place);
    terminal.sees("halite> ");
    terminal.types("clear\r");
    terminal.sees("Delete all records of ");
    terminal.sees("? [y/N] ");
    terminal.types("n\n");
    terminal.sees("nothing was deleted");
    terminal.asks("exists a", "true");
    terminal.sees("halite> ");
    terminal.types("clear\r");
    terminal.sees("? [y/N] ");
    terminal.types("yes\n");
    terminal.sees("OK\r\n");
    terminal.asks("exists a", "false");
    terminal.leaves("\x04");
}
