//! A proxy in front of a server, on the way through which requests go wrong.
//!
//! It speaks just enough HTTP for that: one request with its body on each connection, and an answer that goes on until the
//! server ends it. What goes wrong is drawn from a seed, request by request. (Which request is the next depends on threads,
//! so that a run is not repeated to the byte.)

use crate::random::Random;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not arrive, and nobody answers.
    Lost,
    /// It arrives late, and so does its answer.
    Slow,
    /// It is carried out, and the connection breaks in the middle of the answer.
    Cut,
    /// It is carried out, and nobody answers.
    Unanswered,
    /// It is carried out twice, one of the answers comes back.
    Twice,
    /// Nobody answers, and it is carried out when it was sent again, perhaps, long ago.
    Late,
    /// The server says that it failed.
    Failed,
    /// The server says that it is busy.
    Busy,
}

impl Trouble {
    /// All there are.
    pub const ALL: [Trouble; 8] = [
        Trouble::Lost,
        Trouble::Slow,
        Trouble::Cut,
        Trouble::Unanswered,
        Trouble::Twice,
        Trouble::Late,
        Trouble::Failed,
        Trouble::Busy,
    ];
}

/// How long a late request may be on its way.
const LATE_MAX: Duration = Duration::from_millis(2500);

/// A proxy that works until this is dropped.
#[derive(Debug)]
pub struct Proxy {
    way: Arc<Way>,
    port: u16,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Way {
    server: SocketAddr,
    random: Mutex<Random>,
    /// Of how many requests one goes wrong.
    one_in: u64,
    is_calm: AtomicBool,
    /// Requests that are under way, late ones included.
    under_way: AtomicU64,
    happened: [AtomicU64; Trouble::ALL.len()],
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Leads to the server at `port` of this machine; one in so many requests goes wrong.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(port: u16, seed: u64, one_in: u64) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let own = listener.local_addr()?.port();
        let way = Arc::new(Way {
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            random: Mutex::new(Random::new(seed)),
            one_in,
            is_calm: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            happened: Default::default(),
        });
        let taken = way.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = taken.clone();
                tokio::spawn(async move {
                    way.under_way.fetch_add(1, Ordering::SeqCst);
                    // What fails here is one more thing that goes wrong.
                    let _ = way.serve(client).await;
                    way.under_way.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Proxy { way, port: own, task })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing goes wrong; returns when all that is late has arrived.
    pub async fn calm(&self) {
        self.way.is_calm.store(true, Ordering::SeqCst);
        while self.way.under_way.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How often each trouble has happened.
    pub fn happened(&self) -> Vec<(Trouble, u64)> {
        Trouble::ALL.iter().zip(&self.way.happened).map(|(&kind, count)| (kind, count.load(Ordering::SeqCst))).collect()
    }
}

impl Way {
    /// What happens to the next request, and two numbers for that. Troubles take turns, so that all of them come.
    fn draw(&self) -> (Option<Trouble>, u64, u64) {
        let mut random = self.random.lock().expect("nobody panics with it");
        let mut trouble = None;
        if random.below(self.one_in) == 0 && !self.is_calm.load(Ordering::SeqCst) {
            let so_far: u64 = self.happened.iter().map(|count| count.load(Ordering::SeqCst)).sum();
            let turn = so_far as usize % Trouble::ALL.len();
            self.happened[turn].fetch_add(1, Ordering::SeqCst);
            trouble = Some(Trouble::ALL[turn]);
        }
        (trouble, random.number(), random.number())
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let request = read_request(&mut client).await?;
        let (trouble, first, second) = self.draw();
        let answer = match trouble {
            None => self.ask(&request).await?,
            Some(Trouble::Lost) => return Ok(()),
            Some(Trouble::Slow) => {
                tokio::time::sleep(Duration::from_millis(first % 150)).await;
                let answer = self.ask(&request).await?;
                tokio::time::sleep(Duration::from_millis(second % 150)).await;
                answer
            }
            Some(Trouble::Cut) => {
                let mut answer = self.ask(&request).await?;
                answer.truncate((first % answer.len().max(1) as u64) as usize);
                answer
            }
            Some(Trouble::Unanswered) => {
                self.ask(&request).await?;
                return Ok(());
            }
            Some(Trouble::Twice) => {
                let answers = [self.ask(&request).await?, self.ask(&request).await?];
                let [one, other] = answers;
                if first % 2 == 0 { one } else { other }
            }
            Some(Trouble::Late) => {
                drop(client);
                tokio::time::sleep(Duration::from_millis(first % LATE_MAX.as_millis() as u64)).await;
                self.ask(&request).await?;
                return Ok(());
            }
            Some(Trouble::Failed) => status("500 Internal Server Error"),
            Some(Trouble::Busy) => status("503 Service Unavailable"),
        };
        client.write_all(&answer).await?;
        client.shutdown().await
    }

    /// Has the server carry out `request`, and returns the answer.
    async fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.server).await?;
        server.write_all(request).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(last_of_its_connection(&answer, head_len(&answer).unwrap_or(answer.len())))
    }
}

fn status(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
}

/// A request with its body, changed so that the server ends the connection behind its answer.
async fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(len) = head_len(&read) {
            break len;
        }
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let len = fields(&read[..head]).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let end = head + len.unwrap_or(0);
    while read.len() < end {
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(last_of_its_connection(&read[..end], head))
}

/// The length of a message's head, the empty line included, once all of that is there.
fn head_len(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

/// The fields of a head.
fn fields(head: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.trim_end().split_once(':'))
}

/// The message, whose head is so long, as the last one of its connection.
fn last_of_its_connection(message: &[u8], head: usize) -> Vec<u8> {
    let mut changed = Vec::with_capacity(message.len() + 20);
    for line in message[..head].split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if line == b"\r\n" {
            changed.extend_from_slice(b"Connection: close\r\n");
        }
        if !name.eq_ignore_ascii_case(b"connection") && !name.eq_ignore_ascii_case(b"keep-alive") {
            changed.extend_from_slice(line);
        }
    }
    changed.extend_from_slice(&message[head..]);
    changed
}
