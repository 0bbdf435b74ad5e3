//! Abusive clients beside the measured ones. Their pace is steady and does not depend on the answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, WithContext};

/// Interval between two bytes of a slow client.
const BYTE_EVERY: Duration = Duration::from_secs(3);
/// Interval between clients that send garbage.
const GARBAGE_EVERY: Duration = Duration::from_millis(10);
/// Interval between requests for unknown pins.
const GUESS_EVERY: Duration = Duration::from_millis(5);
/// Number of clients that guess pins: more than the service answers at once about unknown pins.
const GUESSERS: usize = 200;
/// The head of a request that never ends.
const ENDLESS: &[u8] = b"POST /api/v1/clusters HTTP/1.1\r\nHost: x\r\nX: ";

/// What sends garbage: the beginning of a TLS handshake, no HTTP at all, two framings at once, a line that is too long.
const GARBAGE: [&[u8]; 4] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0\xff\0\xff\r\n\r\n",
    b"POST /api/v1/clusters HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    &[b'A'; 16 * 1024],
];

/// The abuse, until it is stopped.
pub(crate) struct Abuse {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Abuse {
    /// Begins once `slow` clients are connected that send a byte now and then.
    pub(crate) fn of(server: SocketAddr, slow: usize) -> Result<Self> {
        let crowd = Clients::gather(server, slow)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || crowd.run(&told));
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::unexpected("the abuse", "panicked"))?
    }
}

struct Clients {
    server: SocketAddr,
    slow: Vec<TcpStream>,
    guessers: Vec<TcpStream>,
}

impl Clients {
    fn gather(server: SocketAddr, slow: usize) -> Result<Self> {
        let connect = |count: usize| -> Result<Vec<TcpStream>> {
            (0..count)
                .map(|number| {
                    if number % 100 == 99 {
                        // Lets the server accept: an overflowing backlog costs a client a whole second (tcp(7)).
                        sleep(Duration::from_millis(2));
                    }
                    open(server)
                })
                .collect()
        };
        Ok(Self { server, slow: connect(slow)?, guessers: connect(GUESSERS)? })
    }

    /// The server may cut these clients off, so an error of sending does not count.
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let begin = Instant::now();
        let (mut sent, mut garbage, mut guesses) = (0, 0, 0);
        let due = |every: Duration| {
            usize::try_from(begin.elapsed().as_nanos() / every.as_nanos()).expect("it has not run for ages")
        };
        let byte_every =
            BYTE_EVERY / u32::try_from(self.slow.len()).expect("so many do not fit on a machine");
        while !stop.load(Ordering::Relaxed) {
            while sent < due(byte_every) {
                let (round, client) = (sent / self.slow.len(), sent % self.slow.len());
                let byte = ENDLESS.get(round).unwrap_or(&b'x');
                let _ = self.slow[client].write(&[*byte]);
                sent += 1;
            }
            while garbage < due(GARBAGE_EVERY) {
                let _ = open(self.server)?.write(GARBAGE[garbage % GARBAGE.len()]);
                garbage += 1;
            }
            while guesses < due(GUESS_EVERY) {
                let guesser = &mut self.guessers[guesses % GUESSERS];
                let request =
                    format!("GET /api/v1/clusters/guess{guesses:07}/keys HTTP/1.1\r\nHost: x\r\n\r\n");
                let _ = guesser.write(request.as_bytes());
                let _ = guesser.read(&mut [0; 4096]);
                guesses += 1;
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn open(server: SocketAddr) -> Result<TcpStream> {
    let client = TcpStream::connect(server).context("connect a client that means no good")?;
    client.set_nonblocking(true).context("set an option")?;
    Ok(client)
}
