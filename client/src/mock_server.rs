//! A service for tests that plays a list of acts, one for each request, mostly bad ones, in the clear or over TLS.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum MockAction {
    /// Send this, and take the next request on the same connection.
    Send(String),
    /// Send this, and close.
    SendAndClose(Vec<u8>),
    /// Send this a byte at a time, with a pause after each, until the client goes away.
    Drip(Vec<u8>),
    /// Send this, then `x` without end, until the client goes away.
    Flood(Vec<u8>),
    /// Say nothing until the client goes away.
    Hang,
}

impl MockAction {
    /// An honest answer.
    pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Self {
        Self::Send(answer(status, headers, body))
    }
}

/// The bytes of an answer; `headers` are lines that end in CRLF.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// The service. It ends when dropped.
pub(crate) struct MockServer {
    pub(crate) address: SocketAddr,
    shared: Arc<MockState>,
    accepting: Option<JoinHandle<()>>,
}

struct MockState {
    acts: Mutex<VecDeque<MockAction>>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    sent: AtomicUsize,
    over: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

impl MockServer {
    pub(crate) fn start(acts: impl IntoIterator<Item = MockAction>) -> Self {
        Self::start_with(None, acts)
    }

    pub(crate) fn start_with(
        tls: Option<Arc<ServerConfig>>,
        acts: impl IntoIterator<Item = MockAction>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(MockState {
            acts: Mutex::new(acts.into_iter().collect()),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            tls,
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut players = Vec::new();
                for stream in listener.incoming().flatten() {
                    if shared.over.load(Ordering::SeqCst) {
                        break;
                    }
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let shared = Arc::clone(&shared);
                    players.push(thread::spawn(move || shared.serve(stream)));
                }
                // A client that is still there holds its connection; the tests drop theirs first.
                for player in players {
                    let _ = player.join();
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Its URL by this scheme.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// The requests so far, each as it came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes a client took of floods and drips.
    pub(crate) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl MockState {
    fn serve(&self, stream: TcpStream) {
        // A test that fails with its client still open must not hang.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let result = match &self.tls {
            None => self.play(stream),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                self.play(StreamOwned::new(connection, stream))
            }
        };
        // An end by the client is what most acts wait for.
        drop(result);
    }

    fn play(&self, mut stream: impl Read + Write) -> io::Result<()> {
        while let Some(request) = read_request(&mut stream)? {
            self.requests.lock().unwrap().push(request);
            let Some(act) = self.acts.lock().unwrap().pop_front() else { return Ok(()) };
            match act {
                MockAction::Send(text) => {
                    stream.write_all(text.as_bytes())?;
                    stream.flush()?;
                }
                MockAction::SendAndClose(bytes) => {
                    stream.write_all(&bytes)?;
                    return stream.flush();
                }
                MockAction::Drip(bytes) => {
                    for byte in bytes {
                        stream.write_all(&[byte])?;
                        stream.flush()?;
                        self.sent.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(20));
                    }
                }
                MockAction::Flood(bytes) => {
                    stream.write_all(&bytes)?;
                    loop {
                        self.sent.fetch_add(stream.write(&[b'x'; 4096])?, Ordering::SeqCst);
                    }
                }
                MockAction::Hang => while stream.read(&mut [0; 1024])? > 0 {},
            }
        }
        Ok(())
    }
}

/// One request; `None` when the client has gone.
fn read_request(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(head + &String::from_utf8(body).unwrap()))
}
