//! What a program costs from its start to its end: time, CPU time, memory.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Error, Result, WithContext};

/// What running a program cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From starting it to its end.
    pub(crate) wall: Duration,
    /// CPU time of it and of what it started and waited for.
    pub(crate) cpu: Duration,
}

/// Runs a program that should succeed.
pub(crate) fn cost(command: &mut Command) -> Result<Cost> {
    let cpu = children_cpu()?;
    let begin = Instant::now();
    let status = command.status().context("run a program")?;
    let wall = begin.elapsed();
    if !status.success() {
        return Err(Error::unexpected(format!("{}", command.get_program().display()), status.to_string()));
    }
    Ok(Cost { wall, cpu: children_cpu()? - cpu })
}

/// CPU time of all children that have ended and were waited for.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the children's CPU time")?;
    let span = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(span(usage.user_time()) + span(usage.system_time()))
}

/// Runs a program and gives the largest peak of resident memory, in bytes, of it and of what it starts.
///
/// wait4(2) would tell it too, but a child's figure there begins with the memory of the process that forked it, which
/// is more than what a small program ever has. So the program is traced, and each process' `VmHWM` is read at its
/// exit; execve(2) gave it a fresh one.
pub(crate) fn peak_memory(command: &Command) -> Result<f64> {
    let mut stopped = Command::new("/bin/sh");
    stopped
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    stopped.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    stopped.stderr(std::process::Stdio::null());
    let child = stopped.spawn().context("start a program")?;
    let child = Pid::from_raw(child.id().cast_signed());
    waitpid(child, Some(WaitPidFlag::WUNTRACED)).context("wait for a program")?;
    let options = Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(child, options).context("trace a program")?;
    kill(child, Signal::SIGCONT).context("start a program")?;

    let mut peak = 0.0_f64;
    loop {
        let (process, signal) =
            match waitpid(None, Some(WaitPidFlag::__WALL)).context("wait for a program")? {
                WaitStatus::PtraceEvent(process, _, event) => {
                    if event == Event::PTRACE_EVENT_EXIT as i32 {
                        peak = peak.max(high_water(process)?);
                    }
                    (process, None)
                }
                WaitStatus::Stopped(process, signal) => (process, Some(signal)),
                WaitStatus::Exited(process, 0) if process == child => return Ok(peak),
                WaitStatus::Exited(process, _) | WaitStatus::Signaled(process, ..) if process == child => {
                    return Err(Error::unexpected(format!("{}", command.get_program().display()), "failed"));
                }
                _ => continue,
            };
        ptrace::cont(process, signal).context("go on with a program")?;
    }
}

fn high_water(process: Pid) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).context(format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.map_or(0.0, |kilobytes| kilobytes * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_the_memory_of_a_grandchild() {
        let mut small = Command::new("/bin/true");
        let mut large = Command::new("/bin/sh");
        large.args(["-c", "head -c 40000000 /dev/zero | tail -c 40000000 >/dev/null; true"]);
        assert!(peak_memory(&small).unwrap() < 8e6);
        assert!(peak_memory(&large).unwrap() > 40e6);
        assert!(peak_memory(Command::new("/bin/sh").args(["-c", "exit 3"])).is_err());
        assert!(cost(&mut small).unwrap().wall > Duration::ZERO);
    }
}
