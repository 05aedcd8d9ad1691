//! A proxy in front of a server, on the way through which requests go wrong.
//!
//! It speaks just enough HTTP for that: one request with its body on each connection, and an answer that goes on until the
//! server ends it. Which requests go wrong is drawn from a seed; of what can happen to one, that happens which was chosen least
//! so far. (Which request is the next depends on threads, so that a run is not repeated to the byte.)

use crate::random::Random;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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
    /// The server says that the request's condition does not hold (412), and has not looked.
    Refused,
    /// The server says that something else is under way with that name, or has it (409), and has not looked.
    Conflict,
    /// One that came later is carried out before it.
    Overtaken,
    /// It is carried out and answered, and once more when many others have been since: by then its writer may have been
    /// fenced, and what it wrote collected. On a real network that is a matter of minutes.
    Again,
}

impl Trouble {
    /// All there are.
    pub const ALL: [Trouble; 12] = [
        Trouble::Lost,
        Trouble::Slow,
        Trouble::Cut,
        Trouble::Unanswered,
        Trouble::Twice,
        Trouble::Late,
        Trouble::Failed,
        Trouble::Busy,
        Trouble::Refused,
        Trouble::Conflict,
        Trouble::Overtaken,
        Trouble::Again,
    ];

    /// Whether it can happen to `request`.
    fn befalls(self, request: &[u8]) -> bool {
        let is = |method: &str| request.starts_with(method.as_bytes());
        match self {
            Trouble::Refused => field(request, "if-none-match").or_else(|| field(request, "if-match")).is_some(),
            Trouble::Conflict => is("PUT ") || is("DELETE "),
            Trouble::Again => is("PUT "),
            _ => true,
        }
    }
}

/// How long a late request may be on its way.
const LATE_MAX: Duration = Duration::from_millis(2500);

/// How long a request waits for another to overtake it.
const OVERTAKEN_WITHIN: Duration = Duration::from_millis(300);

/// After how many others a request is carried out again, at least, and how many more that may be.
const AGAIN_AFTER: (u64, u64) = (20, 200);

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
    draws: Mutex<Draws>,
    /// Of how many requests one goes wrong.
    one_in: u64,
    is_calm: AtomicBool,
    /// Requests that are under way, late ones included.
    under_way: AtomicU64,
    /// Numbers of requests, in the order in which they came.
    numbers: AtomicU64,
    /// The highest number of those that were carried out.
    carried_out: watch::Sender<u64>,
    /// What is to be carried out again, and after which number.
    again: Mutex<Vec<(u64, Vec<u8>)>>,
    happened: [AtomicU64; Trouble::ALL.len()],
}

#[derive(Debug)]
struct Draws {
    random: Random,
    /// How often each trouble was chosen.
    chosen: [u64; Trouble::ALL.len()],
}

/// A request, and what is to happen to it.
struct Fate {
    number: u64,
    trouble: Option<Trouble>,
    /// Two numbers for that.
    first: u64,
    second: u64,
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
            draws: Mutex::new(Draws { random: Random::new(seed), chosen: Default::default() }),
            one_in,
            is_calm: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            carried_out: watch::Sender::new(0),
            again: Mutex::default(),
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
        let _ = self.way.carry_out_again(u64::MAX).await;
    }

    /// How often each trouble has happened.
    pub fn happened(&self) -> Vec<(Trouble, u64)> {
        Trouble::ALL.iter().zip(&self.way.happened).map(|(&kind, count)| (kind, count.load(Ordering::SeqCst))).collect()
    }
}

impl Way {
    /// What happens to the next request.
    fn draw(&self, request: &[u8]) -> Fate {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst) + 1;
        let mut draws = self.draws.lock().expect("nobody panics with it");
        let mut trouble = None;
        if draws.random.below(self.one_in) == 0 && !self.is_calm.load(Ordering::SeqCst) {
            let possible = (0..Trouble::ALL.len()).filter(|&index| Trouble::ALL[index].befalls(request));
            let index = possible.min_by_key(|&index| draws.chosen[index]).expect("some befall all");
            draws.chosen[index] += 1;
            trouble = Some(Trouble::ALL[index]);
        }
        Fate { number, trouble, first: draws.random.number(), second: draws.random.number() }
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let request = read_request(&mut client).await?;
        let fate = self.draw(&request);
        self.carry_out_again(fate.number).await?;
        let has_happened = |trouble: Trouble| self.happened[trouble as usize].fetch_add(1, Ordering::SeqCst);
        if let Some(trouble) = fate.trouble.filter(|trouble| !matches!(trouble, Trouble::Overtaken | Trouble::Again)) {
            has_happened(trouble);
        }
        let answer = match fate.trouble {
            None => self.ask(&request).await?,
            Some(Trouble::Lost) => return Ok(()),
            Some(Trouble::Slow) => {
                tokio::time::sleep(Duration::from_millis(fate.first % 150)).await;
                let answer = self.ask(&request).await?;
                tokio::time::sleep(Duration::from_millis(fate.second % 150)).await;
                answer
            }
            Some(Trouble::Cut) => {
                let mut answer = self.ask(&request).await?;
                answer.truncate((fate.first % answer.len().max(1) as u64) as usize);
                answer
            }
            Some(Trouble::Unanswered) => {
                self.ask(&request).await?;
                return Ok(());
            }
            Some(Trouble::Twice) => {
                let answers = [self.ask(&request).await?, self.ask(&request).await?];
                let [one, other] = answers;
                if fate.first.is_multiple_of(2) { one } else { other }
            }
            Some(Trouble::Late) => {
                drop(client);
                tokio::time::sleep(Duration::from_millis(fate.first % LATE_MAX.as_millis() as u64)).await;
                self.ask(&request).await?;
                return Ok(());
            }
            Some(Trouble::Failed) => status("500 Internal Server Error", ""),
            Some(Trouble::Busy) => status("503 Service Unavailable", ""),
            Some(Trouble::Refused) => status("412 Precondition Failed", reasons(&request).0),
            Some(Trouble::Conflict) => status("409 Conflict", reasons(&request).1),
            Some(Trouble::Overtaken) => {
                let mut carried_out = self.carried_out.subscribe();
                let overtaken = carried_out.wait_for(|highest| *highest > fate.number);
                if tokio::time::timeout(OVERTAKEN_WITHIN, overtaken).await.is_ok() {
                    has_happened(Trouble::Overtaken);
                }
                self.ask(&request).await?
            }
            Some(Trouble::Again) => {
                let answer = self.ask(&request).await?;
                let after = fate.number + AGAIN_AFTER.0 + fate.first % AGAIN_AFTER.1;
                self.again.lock().expect("nobody panics with it").push((after, request));
                answer
            }
        };
        self.carried_out.send_if_modified(|highest| {
            let is_higher = *highest < fate.number;
            *highest = fate.number.max(*highest);
            is_higher
        });
        client.write_all(&answer).await?;
        client.shutdown().await
    }

    /// Carries out again what is due by request `number`.
    async fn carry_out_again(&self, number: u64) -> io::Result<()> {
        let due: Vec<_> =
            self.again.lock().expect("nobody panics with it").extract_if(.., |(at, _)| *at <= number).collect();
        for (_, request) in due {
            self.ask(&request).await?;
            self.happened[Trouble::Again as usize].fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
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

/// What the server that `request` is for calls a condition that does not hold, and a conflict.
fn reasons(request: &[u8]) -> (&'static str, &'static str) {
    let is_conditional = field(request, "if-none-match").is_some();
    match (field(request, "x-ms-version").is_some(), is_conditional) {
        (true, true) => ("ConditionNotMet", "BlobAlreadyExists"),
        (true, false) => ("ConditionNotMet", "OperationTimedOut"),
        (false, true) => ("PreconditionFailed", "ConditionalRequestConflict"),
        (false, false) => ("PreconditionFailed", "OperationAborted"),
    }
}

/// An answer of that status, and for that reason if there is one.
fn status(status: &str, reason: &str) -> Vec<u8> {
    let body = match reason {
        "" => String::new(),
        reason => format!("<Error><Code>{reason}</Code><Message>says the proxy</Message></Error>"),
    };
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
    .into()
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
    let len = field(&read[..head], "content-length").and_then(|value| value.parse::<usize>().ok());
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

/// What the field `name` of a message's head says.
fn field<'a>(message: &'a [u8], name: &str) -> Option<&'a str> {
    let head = &message[..head_len(message).unwrap_or(message.len())];
    let mut lines = head.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
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
