//! One request on a connection of its own.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::message::{Head, Headers, read_body, read_head, write_head};

/// The longest wait that the service grants is 50 s; past this the service hangs and the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(70);

/// A request; what it does not say is not sent, but for `Host` and the framing of a body.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Path and query, as they go over the wire.
    pub path: String,
    /// Headers in the order of sending.
    pub headers: Headers,
    /// The body; `None` sends no `Content-Length` either.
    pub body: Option<Vec<u8>>,
    /// Whether the body goes as one chunk instead of under a `Content-Length`.
    pub chunked: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Headers::default(),
            body: None,
            chunked: false,
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.into(), value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", media_type)
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends it and reads the final answer to it.
    ///
    /// # Errors
    /// What the connection says, before or in the middle of the answer.
    pub fn send(&self, to: SocketAddr) -> io::Result<Response> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_nodelay(true)?;
        match stream.write_all(&self.to_bytes(to)) {
            // The service may have answered before it had read everything.
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            other => other?,
        }
        self.read_answer(stream)
    }

    fn to_bytes(&self, to: SocketAddr) -> Vec<u8> {
        let mut headers = Headers(vec![("Host".into(), to.to_string())]);
        headers.0.extend(self.headers.0.iter().cloned());
        let body = self.body.as_deref().unwrap_or_default();
        if self.chunked {
            headers.0.push(("Transfer-Encoding".into(), "chunked".into()));
        } else if self.body.is_some() && headers.get("Content-Length").is_none() {
            headers.0.push(("Content-Length".into(), body.len().to_string()));
        }
        let mut wire = Vec::new();
        let start = format!("{} {} HTTP/1.1", self.method, self.path);
        write_head(&mut wire, &Head { start, headers }).expect("memory takes every byte");
        if self.chunked {
            wire.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            wire.extend_from_slice(body);
            wire.extend_from_slice(b"\r\n0\r\n\r\n");
        } else {
            wire.extend_from_slice(body);
        }
        wire
    }

    fn read_answer(&self, stream: TcpStream) -> io::Result<Response> {
        let mut from = BufReader::new(stream);
        loop {
            let head = read_head(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.word(1).parse().map_err(|_| io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) {
                continue;
            }
            let bodiless = self.method == "HEAD" || matches!(status, 204 | 304);
            let body = if bodiless { Vec::new() } else { read_body(&mut from, &head.headers, true)? };
            return Ok(Response { status, headers: head.headers, body });
        }
    }
}

impl Response {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
