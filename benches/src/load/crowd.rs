//! Many clients that wait for one event, and their wake-up.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::Exchange;
use super::connection::{Connection, Target};
use crate::error::{Error, Result, WithContext};
use crate::process::{Memory, Process};

/// Longest silence in the middle of a wake-up before the run gives the server up, in milliseconds.
const SILENCE_MS: u16 = 20_000;
/// So few events at a time that the trigger's own answer is looked for every few dozen microseconds.
const EVENTS_AT_A_TIME: usize = 16;

/// Clients that wait, and the request that wakes them.
#[derive(Debug)]
pub(crate) struct WaitingClients<'a> {
    /// The server.
    pub(crate) target: &'a Target,
    /// Number of waiters.
    pub(crate) size: usize,
    /// The request of each waiter.
    pub(crate) wait: &'a Exchange,
    /// How many messages each gets at once, before the one that it waits for (redis acknowledges a subscription).
    pub(crate) greetings: usize,
    /// Any cheap request, with which the trigger's connection is opened.
    pub(crate) greet: &'a Exchange,
    /// The request that wakes them.
    pub(crate) trigger: &'a Exchange,
}

/// The measured figures.
#[derive(Debug)]
pub(crate) struct WakeUp {
    /// Memory of the server before the crowd came.
    pub(crate) empty: Memory,
    /// Memory of the server with all of them waiting.
    pub(crate) parked: Memory,
    /// CPU time of the server from before the trigger until everything was quiet.
    pub(crate) cpu: Duration,
    /// From sending the trigger to reading its answer.
    pub(crate) trigger_answered: Duration,
    /// From sending the trigger to reading the last waiter's answer.
    pub(crate) last_woken: Duration,
}

impl WaitingClients<'_> {
    /// Gathers the crowd, waits until the server has nothing more to do with it, and wakes it.
    pub(crate) fn run(&self, server: &Process) -> Result<WakeUp> {
        let mut scratch = vec![0; 64 * 1024];
        server.settle()?;
        let empty = server.memory()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("make an epoll")?;
        let mut crowd = self.gather(&epoll)?;
        // Greetings first, so that a slow greeter (etcd) is not measured half way; `settle` then tells when the
        // server has put the rest to sleep.
        let mut greetings = self.greetings * self.size;
        while greetings > 0 {
            greetings -= self.read(&epoll, &mut crowd, &mut scratch)?;
        }
        server.settle()?;
        let parked = server.memory()?;

        let mut trigger = self.open_trigger(&mut scratch)?;
        let cpu = server.cpu()?;
        let begin = Instant::now();
        trigger.send(&self.trigger.request).context("send the trigger")?;
        let mut trigger_answered = None;
        let mut last_woken = Duration::ZERO;
        let mut asleep = self.size;
        while asleep > 0 || trigger_answered.is_none() {
            if trigger_answered.is_none() {
                let answer =
                    trigger.receive(self.trigger.framing, &mut scratch).context("read the answer")?;
                if answer.refused {
                    return Err(Error::unexpected("the server", "refused the trigger"));
                }
                trigger_answered = (answer.messages > 0).then(|| begin.elapsed());
            }
            if asleep > 0 {
                let woken = self.read(&epoll, &mut crowd, &mut scratch)?;
                asleep = asleep.checked_sub(woken).ok_or_else(|| {
                    Error::unexpected("the server", "answered a waiter twice, or before the trigger")
                })?;
                last_woken = begin.elapsed();
            }
        }
        server.settle()?;
        Ok(WakeUp {
            empty,
            parked,
            cpu: server.cpu()? - cpu,
            trigger_answered: trigger_answered.expect("the loop ends with it"),
            last_woken,
        })
    }

    fn gather(&self, epoll: &Epoll) -> Result<Vec<Connection>> {
        let mut crowd = Vec::with_capacity(self.size);
        for number in 0..self.size {
            let mut connection = Connection::open(self.target).context("connect a waiter")?;
            epoll
                .add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))
                .context("watch a socket")?;
            connection.send(&self.wait.request).context("send a wait")?;
            crowd.push(connection);
            if number % 100 == 99 {
                // Lets the server accept: an overflowing backlog costs a client a whole second (tcp(7)).
                sleep(Duration::from_millis(2));
            }
        }
        Ok(crowd)
    }

    /// Reads what has come to the crowd, and says how many messages that was.
    fn read(&self, epoll: &Epoll, crowd: &mut [Connection], scratch: &mut [u8]) -> Result<usize> {
        let mut events = [EpollEvent::empty(); EVENTS_AT_A_TIME];
        let ready = epoll.wait(&mut events, SILENCE_MS).context("wait for answers")?;
        if ready == 0 {
            return Err(Error::unexpected("the server", "left a waiter asleep for 20 s"));
        }
        let mut messages = 0;
        for event in &events[..ready] {
            let index = usize::try_from(event.data()).expect("it was a usize");
            let received =
                crowd[index].receive(self.wait.framing, scratch).context("read a waiter's answer")?;
            if received.refused {
                return Err(Error::unexpected("the server", "refused a waiter"));
            }
            messages += received.messages;
        }
        Ok(messages)
    }

    /// The trigger's connection, over which one request went already: its accept is not part of the measurement.
    fn open_trigger(&self, scratch: &mut [u8]) -> Result<Connection> {
        let mut trigger = Connection::open(self.target).context("connect the trigger")?;
        trigger.send(&self.greet.request).context("greet")?;
        let begin = Instant::now();
        while trigger.receive(self.greet.framing, scratch).context("read a greeting")?.messages == 0 {
            if begin.elapsed() > Duration::from_secs(20) {
                return Err(Error::unexpected("the server", "did not greet"));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(trigger)
    }
}
