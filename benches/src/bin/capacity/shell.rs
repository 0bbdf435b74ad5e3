//! The shell agent that the agent replaces, for comparison: what `peers/shell-agent.sh` asks, and when.

use std::time::Duration;

use client::{Answer, Outcome, Request, Service};
use cluster_agent::sim::Clock;
use protocol::key::{MASTER_IP, MASTER_READY};

/// How often it looks for a key.
const TRIES: usize = 50;
/// curl, as it is called there, waits until the kernel gives a silent connection up (net.ipv4.tcp_retries2, 924 s).
const TOTAL_TIMEOUT: Duration = Duration::from_secs(924);

/// A slave; whether it got the master's address.
pub(crate) fn slave(mut service: impl Service, clock: &impl Clock) -> bool {
    poll(&mut service, clock, MASTER_READY) && poll(&mut service, clock, MASTER_IP)
}

fn poll(service: &mut impl Service, clock: &impl Clock, key: &str) -> bool {
    for _ in 0..TRIES {
        let answer = service.send(&Request::Get { key, wait: 0 }, TOTAL_TIMEOUT);
        if matches!(answer, Ok(Answer { outcome: Outcome::Value(_), .. })) {
            return true;
        }
        // `sleep $((25 + $(date +%s) % 10))`: all that ask in one second come back in one second.
        clock.sleep(Duration::from_secs(25 + clock.now().as_secs() % 10));
    }
    false
}
