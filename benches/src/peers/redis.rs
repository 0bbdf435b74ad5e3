//! redis: one hash of bytes, every write in the append-only file and synced before it is answered.

use std::io::Write;
use std::process::Command;

use super::{Bench, KEY, Server, VALUE, Wait, Writes, installed};
use crate::error::Result;
use crate::load::Exchange;
use crate::load::connection::Target;
use crate::load::wire::Framing;
use crate::process::{Process, free_address};

pub(crate) fn start(bench: &Bench) -> Result<Server> {
    let dir = bench.directory()?;
    let address = free_address()?;
    let mut command = Command::new(installed("redis-server")?);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--tcp-backlog", "4096"]);
    command.args(["--maxclients", "19900", "--timeout", "0", "--daemonize", "no", "--dir"]).arg(dir.path());
    // No snapshot and no rewriting of its file in the middle of a measurement: in its favour.
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.args(["--auto-aof-rewrite-percentage", "0", "--logfile", "redis.log"]);
    let mut process = Process::start("redis", &mut command, bench.cores, dir.path())?;
    process.wait_for(address)?;
    let target = Target { address, tls: None };
    super::http::ask(&target, &exchange(&["SET", KEY, VALUE]))?;
    let wait = Wait {
        wait: exchange(&["SUBSCRIBE", "ready"]),
        greetings: 1,
        trigger: exchange(&["PUBLISH", "ready", VALUE]),
    };
    Ok(Server::new(process, address, exchange(&["GET", KEY]), dir).waiting(wait))
}

pub(crate) fn writes(places: usize) -> Writes {
    let mut number = 0_u64;
    Box::new(move |_, request| {
        number += 1;
        let key = format!("{:012}/k{number}", fastrand::usize(..places));
        command(request, &["SET", &key, VALUE]);
    })
}

fn exchange(words: &[&str]) -> Exchange {
    let mut request = Vec::new();
    command(&mut request, words);
    Exchange { request, framing: Framing::Resp }
}

fn command(request: &mut Vec<u8>, words: &[&str]) {
    let mut write = |text: String| request.write_all(text.as_bytes()).expect("a Vec takes everything");
    write(format!("*{}\r\n", words.len()));
    for word in words {
        write(format!("${}\r\n{word}\r\n", word.len()));
    }
}
