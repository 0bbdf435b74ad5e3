//! `make demo`'s program: it succeeds, and leaves nothing behind, however it ends.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use worlds::process::Process;

fn start(temporary: &TempDir) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-demo"));
    command.env_clear().env("TMPDIR", temporary.path()).stdin(Stdio::null());
    Process::start("demo", &mut command)
}

#[track_caller]
fn leaves_nothing_behind(temporary: &TempDir, service: &str) {
    let left: Vec<_> = temporary.path().read_dir().expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
    let service: SocketAddr = service.parse().expect("an address");
    assert!(TcpStream::connect(service).is_err(), "the service still listens");
}

#[test]
fn tells_its_story_to_a_good_end() {
    let temporary = TempDir::new().expect("a temporary directory can be made");
    let mut demo = start(&temporary);
    let service = demo.line_after("service: listening on http://");
    let status = demo.wait();
    assert!(status.success(), "{status}: {}", demo.stderr());
    assert!(demo.stdout().contains("   - my_master_ip=###MASTER_IP_PLACEHOLDER###\n   + my_master_ip="));
    leaves_nothing_behind(&temporary, &service);
}

#[test]
fn stops_what_it_started_at_ctrl_c() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let temporary = TempDir::new().expect("a temporary directory can be made");
        let mut demo = start(&temporary);
        let service = demo.line_after("service: listening on http://");
        demo.signal(signal);
        let status = demo.wait();
        assert_eq!((status.code(), status.signal()), (Some(130), None), "{}", demo.stderr());
        leaves_nothing_behind(&temporary, &service);
    }
}
