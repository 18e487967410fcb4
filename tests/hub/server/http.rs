//! As much of HTTP/1.1 as that takes: a request and an answer a connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Fault;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub is_cdn: bool,
}

impl Request {
    pub fn read(stream: &TcpStream, is_cdn: bool) -> Option<Self> {
        let mut lines = BufReader::new(stream);
        let mut line = || {
            let mut text = String::new();
            lines.read_line(&mut text).ok().filter(|n| *n > 0)?;
            Some(text.trim_end().to_owned())
        };
        let first = line()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        // As a proxy is asked.
        let target = match target.strip_prefix("http://") {
            Some(rest) => &rest[rest.find('/')?..],
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(&value.replace('+', " ")))
        };
        let query = pairs.map(pair).collect();
        let mut headers = Vec::new();
        while let Some((name, value)) = line()?.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Self { method, path: decoded(path), query, headers, is_cdn })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn asked(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Whether weights are asked for: by their name, and then of the CDN where they are large.
    pub fn is_weights(&self) -> bool {
        self.method == "GET" && (self.is_cdn || self.asked("FilePath") == Some("model.safetensors"))
    }

    /// First and last byte asked for.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (from, to) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()))
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, more @ ..] = rest {
        let hex = (*first == b'%' && more.len() >= 2).then(|| std::str::from_utf8(&more[..2]).ok()).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        let mut reply = Self::new(status, value.to_string().into_bytes());
        reply.header("Content-Type", "application/json");
        reply
    }

    pub fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.header(name, value);
        self
    }

    pub fn send(
        mut self,
        mut out: TcpStream,
        request: &Request,
        fault: &Fault,
        ended: &AtomicBool,
    ) -> io::Result<()> {
        if matches!(fault, Fault::Silence) {
            return wait(ended);
        }
        let size = self.body.len() as u64;
        if let (200, Some((from, to)), false) = (self.status, request.range(), matches!(fault, Fault::Whole))
        {
            if from >= size {
                self.status = 416;
                self.header("Content-Range", &format!("bytes */{size}"));
                self.body.clear();
            } else {
                let to = to.unwrap_or(u64::MAX).min(size - 1);
                self.status = 206;
                self.header("Content-Range", &format!("bytes {from}-{to}/{size}"));
                self.body = self.body[from as usize..=to as usize].to_vec();
            }
        }
        if let (Fault::Wrong, Some(byte)) = (fault, self.body.last_mut()) {
            *byte ^= 1;
        }
        let mut head = format!(
            "HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status,
            self.body.len()
        );
        self.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        out.write_all(format!("{head}\r\n").as_bytes())?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let until = |bytes: u64| &self.body[..(bytes as usize).min(self.body.len())];
        match *fault {
            Fault::Cut(bytes) => out.write_all(until(bytes)),
            Fault::Stall(bytes) => {
                out.write_all(until(bytes))?;
                wait(ended)
            }
            Fault::Slow(bytes, pause) => self.body.chunks(bytes).try_for_each(|chunk| {
                std::thread::sleep(Duration::from_millis(pause));
                out.write_all(chunk)
            }),
            _ => out.write_all(&self.body),
        }
    }
}

/// Says nothing until the test is over.
fn wait(ended: &AtomicBool) -> io::Result<()> {
    while !ended.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
