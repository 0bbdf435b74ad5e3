//! A number of connections, each of which asks again as soon as it is answered.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::Latencies;
use super::connection::{Connection, Target};
use super::wire::Framing;
use crate::error::{Error, Result, WithContext};
use crate::process::Process;

/// Longest silence of a server under load before the run gives it up, in milliseconds.
const SILENCE_MS: u16 = 20_000;

/// A load.
#[derive(Debug)]
pub(crate) struct ClosedLoop<'a> {
    /// The server.
    pub(crate) target: &'a Target,
    /// The framing of its answers.
    pub(crate) framing: Framing,
    /// Number of connections.
    pub(crate) connections: usize,
    /// When to stop.
    pub(crate) until: Until,
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After this long, a fifth of it before the measurement begins to warm up.
    Elapsed(Duration),
    /// After so many answers, none of them to warm up.
    Answers(usize),
}

/// What came of it, within the measured span.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Answers.
    pub(crate) answers: usize,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// CPU time of the server in that span.
    pub(crate) cpu: Duration,
    /// From sending a request to reading its answer, by the parity of the connection's number, so that two kinds of
    /// requests can run side by side.
    pub(crate) latencies: [Latencies; 2],
}

impl Measured {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds within which `share` of all answers came.
    pub(crate) fn percentile_us(&mut self, share: f64) -> f64 {
        let [even, odd] = &mut self.latencies;
        even.append(odd);
        even.percentile_us(share)
    }

    /// Server CPU per answer, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers.max(1) as f64
    }
}

impl ClosedLoop<'_> {
    /// Runs it. `next` gets a connection's number and writes its next request into an empty buffer. `server` is whose CPU time is counted.
    pub(crate) fn run(
        &self,
        server: &Process,
        mut next: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<Measured> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("make an epoll")?;
        let mut request = Vec::new();
        let mut asking = Vec::with_capacity(self.connections);
        for number in 0..self.connections {
            let mut connection = Connection::open(self.target).context("connect")?;
            epoll
                .add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))
                .context("watch a socket")?;
            request.clear();
            next(number, &mut request);
            connection.send(&request).context("send a request")?;
            asking.push((connection, Instant::now()));
        }

        let begin = Instant::now();
        let mut measured = Measured {
            answers: 0,
            elapsed: Duration::ZERO,
            cpu: server.cpu()?,
            latencies: Default::default(),
        };
        let mut since = begin;
        let mut warm = matches!(self.until, Until::Answers(_));
        let mut events = vec![EpollEvent::empty(); 256];
        let mut scratch = vec![0; 64 * 1024];
        loop {
            let ready = epoll.wait(&mut events, SILENCE_MS).context("wait for answers")?;
            if ready == 0 {
                return Err(Error::unexpected("the server", "answered nothing for 20 s"));
            }
            for event in &events[..ready] {
                let index = usize::try_from(event.data()).expect("it was a usize");
                let (connection, sent) = &mut asking[index];
                let received = connection.receive(self.framing, &mut scratch).context("read an answer")?;
                if received.refused {
                    let said =
                        String::from_utf8_lossy(&scratch[..200]).replace('\r', "").replace('\n', " | ");
                    return Err(Error::unexpected("the server", format!("refused a request: {said}")));
                }
                if received.messages == 0 {
                    continue;
                }
                let now = Instant::now();
                if warm {
                    measured.answers += received.messages;
                    measured.latencies[index % 2].add(now - *sent);
                }
                request.clear();
                next(index, &mut request);
                *sent = now;
                connection.send(&request).context("send a request")?;
            }
            match self.until {
                Until::Elapsed(span) if !warm && begin.elapsed() >= span / 5 => {
                    warm = true;
                    since = Instant::now();
                    measured.cpu = server.cpu()?;
                }
                Until::Elapsed(span) if !warm || since.elapsed() < span => {}
                Until::Answers(count) if measured.answers < count => {}
                Until::Elapsed(_) | Until::Answers(_) => break,
            }
        }
        measured.elapsed = since.elapsed();
        measured.cpu = server.cpu()? - measured.cpu;
        Ok(measured)
    }
}
