//! A server that answers as a test says, mostly wrong. Mock libraries cannot hang, stop in the middle of an answer, or send
//! a gigabyte.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Head, Headers, read_body, read_head, write_head};

/// How often a silent connection checks whether the test is over.
const TICK: Duration = Duration::from_millis(20);

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

/// What to do with a request. Every connection is closed after it.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answer it.
    Answer(u16, Headers, Vec<u8>),
    /// Send these bytes, whatever they are.
    Raw(Vec<u8>),
    /// Say nothing until the client gives up.
    Hang,
    /// Send these bytes, then say nothing until the client gives up.
    Stall(Vec<u8>),
    /// Send these bytes one by one, with a pause after each, until the client closes.
    Drip(Vec<u8>),
    /// Send these bytes, then up to so many `x`, as many as the client takes.
    Flood(Vec<u8>, u64),
}

impl Reply {
    /// An answer with a body of some type.
    #[must_use]
    pub fn of(status: u16, media_type: &str, body: &str) -> Self {
        Self::Answer(status, Headers(vec![("Content-Type".into(), media_type.into())]), body.into())
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::of(status, "application/json", &body.to_string())
    }

    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Headers::default(), Vec::new())
    }
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// A server on loopback that answers by a script; it stops when it is dropped.
pub struct MockServer {
    address: SocketAddr,
    state: Arc<MockState>,
    accepting: Option<JoinHandle<()>>,
}

/// What the connections share.
struct MockState {
    script: Box<Script>,
    tls: Option<Arc<ServerConfig>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
    flooded: AtomicU64,
    over: AtomicBool,
}

impl MockServer {
    /// Starts a server. The script gets a request and the number of requests before it.
    #[must_use]
    pub fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::open(None, Box::new(script))
    }

    /// The same behind TLS.
    #[must_use]
    pub fn start_tls(
        config: ServerConfig,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::open(Some(Arc::new(config)), Box::new(script))
    }

    fn open(tls: Option<Arc<ServerConfig>>, script: Box<Script>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(MockState {
            script,
            tls,
            seen: Mutex::default(),
            connections: AtomicU64::new(0),
            flooded: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = {
            let state = Arc::clone(&state);
            std::thread::spawn(move || state.accept(&listener))
        };
        Self { address, state, accepting: Some(accepting) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.state.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The requests that have come, in their order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests that have come, as `GET /path`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// How many connections were made, also those without a request.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of floods the clients have taken.
    #[must_use]
    pub fn flooded(&self) -> u64 {
        self.state.flooded.load(Ordering::SeqCst)
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl MockState {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            self.connections.fetch_add(1, Ordering::SeqCst);
            let state = Arc::clone(self);
            // A client that has gone is what most scripts are about.
            std::thread::spawn(move || drop(state.serve(stream)));
        }
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(crate::wait::PATIENCE))?;
        let socket = stream.try_clone()?;
        match &self.tls {
            None => self.converse(stream, &socket),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                self.converse(StreamOwned::new(connection, stream), &socket)
            }
        }
    }

    fn converse(&self, stream: impl Read + Write, socket: &TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let Some(head) = read_head(&mut stream)? else { return Ok(()) };
        let body = read_body(&mut stream, &head.headers, false)?;
        let (method, path) = (head.word(0).to_owned(), head.word(1).to_owned());
        let request = Seen { method, path, headers: head.headers, body };
        let before = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(request.clone());
            seen.len() - 1
        };
        let reply = (self.script)(&request, before);
        self.act(&reply, stream.get_mut(), socket)
    }

    fn act(&self, reply: &Reply, stream: &mut impl Write, socket: &TcpStream) -> io::Result<()> {
        match reply {
            Reply::Answer(status, headers, body) => answer(stream, *status, headers, body)?,
            Reply::Raw(bytes) => stream.write_all(bytes)?,
            Reply::Hang => self.wait_for_the_end(socket)?,
            Reply::Stall(bytes) => {
                stream.write_all(bytes)?;
                stream.flush()?;
                self.wait_for_the_end(socket)?;
            }
            Reply::Drip(bytes) => {
                for byte in bytes.iter().cycle().take_while(|_| !self.over.load(Ordering::SeqCst)) {
                    stream.write_all(&[*byte])?;
                    stream.flush()?;
                    std::thread::sleep(TICK);
                }
            }
            Reply::Flood(bytes, limit) => {
                stream.write_all(bytes)?;
                let block = [b'x'; 64 * 1024];
                for _ in 0..limit / block.len() as u64 {
                    stream.write_all(&block)?;
                    self.flooded.fetch_add(block.len() as u64, Ordering::SeqCst);
                }
            }
        }
        stream.flush()
    }

    /// Until the client closes, or the test is over.
    fn wait_for_the_end(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_read_timeout(Some(TICK))?;
        while !self.over.load(Ordering::SeqCst) {
            match (&mut &*socket).read(&mut [0; 512]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn answer(to: &mut impl Write, status: u16, headers: &Headers, body: &[u8]) -> io::Result<()> {
    let mut headers = headers.clone();
    headers.remove("Transfer-Encoding");
    headers.remove("Content-Length");
    headers.remove("Connection");
    headers.0.push(("Content-Length".into(), body.len().to_string()));
    headers.0.push(("Connection".into(), "close".into()));
    write_head(to, &Head { start: format!("HTTP/1.1 {status} MockServer"), headers })?;
    to.write_all(body)
}
