//! Runs each example to its end, and reads what it says.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

/// What a program prints that ends well.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_counter_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let counter = || run(env!("CARGO_BIN_EXE_counter"), &[folder.path().to_str().unwrap()]);
    assert_eq!(counter(), "run 1: 1000 clicks so far\n");
    assert_eq!(counter(), "run 2: 2000 clicks so far\n");
}

#[test]
fn sessions_expire() {
    let expected = "after 20 minutes token-1 is Some(\"Ada\")'s\n\
                    after 40 minutes token-1 has 10 left\n\
                    after 40 minutes token-2 is gone\n\
                    after 40 minutes token-3 is gone\n";
    assert_eq!(run(env!("CARGO_BIN_EXE_sessions"), &[]), expected);
}

#[test]
fn every_job_is_done_once() {
    assert_eq!(run(env!("CARGO_BIN_EXE_queue"), &[]), "40 jobs done, each once: true\nleft behind: 0\n");
}

#[test]
fn a_library_finds_by_author() {
    let expected = "Le Guin: [\"The Dispossessed (1974)\", \"A Wizard of Earthsea (1968)\"]\n\
                    Lem: [\"The Cyberiad (1965)\", \"Solaris (1961)\"]\n\
                    Le: []\n\
                    numbers 2 to 4: [2, 3, 4]\n";
    assert_eq!(run(env!("CARGO_BIN_EXE_library"), &[]), expected);
}

#[cfg(unix)]
mod service {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::process::{Child, Command, Stdio};

    /// A service under way; killed should the test fail.
    struct Service {
        process: Child,
        address: String,
    }

    impl Service {
        fn start(folder: &std::path::Path) -> Service {
            let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
            let mut process = command.arg(folder).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
            // Byte by byte, so that what it says later stays to be read.
            let (mut line, mut byte) = (Vec::new(), [0]);
            while byte != *b"\n" {
                process.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
                line.push(byte[0]);
            }
            let line = String::from_utf8(line).unwrap();
            let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
            Service { process, address }
        }

        /// Status and body of the answer to one request.
        fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
            let mut stream = TcpStream::connect(&self.address).unwrap();
            let len = body.len();
            let head = format!("{method} {path} HTTP/1.1\r\nhost: it\r\nconnection: close\r\ncontent-length: {len}");
            stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
            let mut answer = BufReader::new(stream);
            let (mut status, mut line, mut chunked) = (String::new(), String::new(), false);
            answer.read_line(&mut status).unwrap();
            while line != "\r\n" {
                chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
                line.clear();
                answer.read_line(&mut line).unwrap();
            }
            let mut body = String::new();
            answer.read_to_string(&mut body).unwrap();
            if chunked {
                // Length, line, length, line: every other one is the text.
                body = body.split("\r\n").skip(1).step_by(2).collect();
            }
            (status.split(' ').nth(1).unwrap().parse().unwrap(), body)
        }

        /// Asks it to stop, and returns what else it has said.
        fn stop(mut self) -> String {
            assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
            let mut rest = String::new();
            self.process.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
            assert!(self.process.wait().unwrap().success());
            rest
        }
    }

    impl Drop for Service {
        fn drop(&mut self) {
            // Gone already, where all went well.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    #[test]
    fn it_serves_stops_and_serves_again() {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(folder.path());
        assert_eq!(service.ask("GET", "/keys/user/1", "").0, 404);
        for (key, value) in [("user/1", "Ada"), ("user/2", "Grace"), ("visits", "7")] {
            assert_eq!(service.ask("PUT", &format!("/keys/{key}"), value).0, 204);
        }
        assert_eq!(service.ask("PUT", "/keys/soon?ttl=0", "gone").0, 204);
        assert_eq!(service.ask("GET", "/keys/user/1", ""), (200, "Ada".to_owned()));
        let users = "{\"key\":\"user/1\",\"value\":\"Ada\"}\n{\"key\":\"user/2\",\"value\":\"Grace\"}\n";
        assert_eq!(service.ask("GET", "/keys?prefix=user/", ""), (200, users.to_owned()));
        let second = service.ask("GET", "/keys?prefix=user/&after=user/1&limit=5", "").1;
        assert_eq!(second, users.lines().nth(1).unwrap().to_owned() + "\n");
        assert_eq!(service.stop(), "closed\n");
        let service = Service::start(folder.path());
        assert_eq!(service.ask("DELETE", "/keys/user/1", "").0, 204);
        let left = "{\"key\":\"user/2\",\"value\":\"Grace\"}\n{\"key\":\"visits\",\"value\":\"7\"}\n";
        assert_eq!(service.ask("GET", "/keys", ""), (200, left.to_owned()));
        assert_eq!(service.stop(), "closed\n");
    }
}
