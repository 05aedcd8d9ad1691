//! A server that speaks as much of S3 as an upload in parts asks for, takes what it is sent, and keeps none of it.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long each part is held up, so that as many are under way as may be.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves until the process ends. Returns where, and how many bytes of bodies have come in.
pub(crate) fn serve() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, counted) = (stream.unwrap(), counted.clone());
            // Whoever has enough goes away.
            std::thread::spawn(move || while let Ok(true) = answer(&stream, &counted) {});
        }
    });
    (port, taken)
}

/// Answers one request; whether there was one.
fn answer(mut stream: &TcpStream, taken: &AtomicU64) -> Result<bool> {
    let mut input = BufReader::new(stream);
    let (mut request, mut line, mut len) = (String::new(), String::new(), 0);
    if input.read_line(&mut request)? == 0 {
        return Ok(false);
    }
    while line != "\r\n" {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
    }
    taken.fetch_add(std::io::copy(&mut input.take(len), &mut std::io::sink())?, Ordering::Relaxed);
    let begins = request.starts_with("POST") && request.contains("uploads");
    let body = match begins {
        true => "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>",
        false if request.starts_with("POST") => {
            "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>"
        }
        false => {
            std::thread::sleep(PAUSE);
            ""
        }
    };
    let len = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {len}\r\n\r\n{body}")?;
    Ok(true)
}
