//! What attackers do. Each attack has addresses of its own, and runs until it is told to stop.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// The service that is attacked.
#[derive(Clone, Copy)]
pub(crate) struct Target(pub(crate) SocketAddr);

/// Starts an attack from the addresses that begin with 127.0.N.
type Attack = fn(Target, u8, &Arc<AtomicBool>, &Arc<AtomicUsize>);

pub(crate) const ATTACKS: [(&str, Attack); 8] = [
    ("unread", |target, from, stop, running| {
        spawn(100, stop, running, move |_| unread(Client::new(target, from)))
    }),
    ("stored", |target, from, stop, running| {
        spawn(8, stop, running, move |n| stored(Client::at(target, from, n / 2)))
    }),
    ("pipelined", |target, from, stop, running| {
        spawn(8, stop, running, move |_| pipelined(Client::new(target, from)))
    }),
    ("bodies", |target, from, stop, running| {
        spawn(60, stop, running, move |_| bodies(Client::new(target, from)))
    }),
    ("silent", |target, from, stop, running| {
        spawn(6000, stop, running, move |n| silent(Client::at(target, from, n % 2)))
    }),
    ("pins", |target, from, stop, running| {
        spawn(16, stop, running, move |n| pins(Client::at(target, from, n)))
    }),
    ("woken", |target, from, stop, running| {
        spawn(300, stop, running, move |n| woken(Client::new(target, from), n))
    }),
    ("guesses", |target, from, stop, running| {
        spawn(32, stop, running, move |_| guesses(Client::new(target, from)))
    }),
];

/// Runs so many attackers, each over and over.
fn spawn<F: Future<Output = io::Result<()>> + Send + 'static>(
    count: usize,
    stop: &Arc<AtomicBool>,
    running: &Arc<AtomicUsize>,
    attack: impl Fn(usize) -> F + Send + Copy + Sync + 'static,
) {
    for number in 0..count {
        let (stop, running) = (stop.clone(), running.clone());
        running.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let work = async {
                loop {
                    if attack(number).await.is_err() {
                        // It was refused or closed: a moment later again.
                        sleep(Duration::from_millis(500)).await;
                    }
                }
            };
            let stopped = async {
                while !stop.load(Ordering::SeqCst) {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! {
                () = work => {}
                () = stopped => {}
            }
            running.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One address of an attacker, or of the honest client.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    target: Target,
    from: Ipv4Addr,
}

impl Client {
    pub(crate) fn new(target: Target, network: u8) -> Self {
        Self::at(target, network, 0)
    }

    fn at(target: Target, network: u8, host: usize) -> Self {
        let host = u8::try_from(1 + host).expect("there are few");
        Self { target, from: Ipv4Addr::new(127, 0, network, host) }
    }

    async fn connect(self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let connecting = timeout(Duration::from_secs(5), socket.connect(self.target.0));
        connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Asks on a connection of its own, and reads all of the answer.
    async fn answer(self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut stream = self.connect().await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: application/json, */*\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    pub(crate) async fn ask(self, method: &str, path: &str, body: &str) -> io::Result<u16> {
        let answer = self.answer(method, path, body).await?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(crate) async fn new_pin(self) -> io::Result<String> {
        let answer = self.answer("POST", "/api/v1/clusters", "").await?;
        let pin = answer.split("\"pin\":\"").nth(1).and_then(|rest| rest.split('"').next());
        pin.map(str::to_owned).ok_or_else(|| io::Error::other(answer))
    }

    pub(crate) async fn set(self, pin: &str, key: &str, value: &str) -> io::Result<()> {
        let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
        match self.ask("POST", &format!("/api/v1/clusters/{pin}/keys"), &body).await? {
            201 => Ok(()),
            status => Err(io::Error::other(status.to_string())),
        }
    }

    /// A pin with as much as one may hold.
    async fn full_pin(self, value: &str) -> io::Result<String> {
        let pin = self.new_pin().await?;
        for number in 0..15 {
            self.set(&pin, &format!("k{number}"), value).await?;
        }
        Ok(pin)
    }
}

/// A long list is asked for and not read: control characters take six bytes each.
async fn unread(client: Client) -> io::Result<()> {
    let pin = client.full_pin(&"\\u0001".repeat(60_000)).await?;
    loop {
        let mut stream = client.connect().await?;
        let request = format!("GET /api/v1/clusters/{pin}/keys HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.repeat(4).as_bytes()).await?;
        // Until the service closes it: nothing is read.
        while stream.write(b"GET / HTTP/1.1\r\n").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// As much as there is room for is stored.
async fn stored(client: Client) -> io::Result<()> {
    client.full_pin(&"x".repeat(60_000)).await.map(|_| ())
}

/// Requests for a long list, one behind the other.
async fn pipelined(client: Client) -> io::Result<()> {
    let pin = client.full_pin(&"\\u0001".repeat(60_000)).await?;
    let request = |method| format!("{method} /api/v1/clusters/{pin}/keys HTTP/1.1\r\nHost: x\r\n\r\n");
    loop {
        let (mut reader, mut writer) = client.connect().await?.into_split();
        let requests = [request("HEAD"), request("GET")].concat().repeat(50);
        let send = async { while writer.write_all(requests.as_bytes()).await.is_ok() {} };
        let mut buffer = vec![0; 1 << 16];
        let read = async { while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
        tokio::join!(send, read);
    }
}

/// Bodies in chunks of a byte, to a pin that there is not.
async fn bodies(client: Client) -> io::Result<()> {
    let mut stream = client.connect().await?;
    let head = "POST /api/v1/clusters/zzzzzzzzzzzz/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
    stream.write_all(head.as_bytes()).await?;
    let chunks = "1\r\n \r\n".repeat(1000);
    for _ in 0..1000 {
        stream.write_all(chunks.as_bytes()).await?;
    }
    Ok(())
}

/// Connections on which nothing is said.
async fn silent(client: Client) -> io::Result<()> {
    let mut stream = client.connect().await?;
    stream.read_u8().await.map(|_| ())
}

/// Pins from many addresses.
async fn pins(client: Client) -> io::Result<()> {
    client.new_pin().await.map(|_| ())
}

/// A crowd waits for a large value, and does not read it when it comes.
async fn woken(client: Client, number: usize) -> io::Result<()> {
    use std::sync::Mutex;
    static PIN: Mutex<String> = Mutex::new(String::new());
    if number == 0 {
        let pin = client.new_pin().await?;
        PIN.lock().expect("it is not poisoned").clone_from(&pin);
        sleep(Duration::from_secs(1)).await;
        let _ = client.set(&pin, "large", &"x".repeat(60_000)).await;
        sleep(Duration::from_secs(1)).await;
        return Ok(());
    }
    let pin = PIN.lock().expect("it is not poisoned").clone();
    let mut stream = client.connect().await?;
    let wait =
        format!("GET /api/v1/clusters/{pin}/keys/large HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n");
    stream.write_all(wait.as_bytes()).await?;
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// Pins are guessed.
async fn guesses(client: Client) -> io::Result<()> {
    client.ask("GET", "/api/v1/clusters/zzzzzzzzzzzz", "").await.map(|_| ())
}
