//! hyper with nothing around it: `src/bin/bare_hyper.rs`.

use std::fs;

use super::{Bench, Build, Server, Wait, Writes, http, ours};
use crate::error::{Result, WithContext};
use crate::process::{Process, free_address};

pub(crate) fn start(bench: &Bench, build: Build) -> Result<Server> {
    let program = bench.built("bare_hyper", build)?;
    let dir = bench.directory()?;
    let answer = dir.path().join("answer");
    fs::write(&answer, &bench.answer).context_on("write", &answer)?;
    let address = free_address()?;
    let mut command = bench.command(&program);
    command.arg(address.to_string()).arg(answer);
    let mut process = Process::start("bare_hyper", &mut command, bench.cores, dir.path())?;
    process.line_after("listening on ")?;
    // As long a path as the service's, so that both parse as much.
    let get = http::get("/api/v1/clusters/aaaaaaaaaaaa/keys/master_ip");
    let wait = Wait { wait: http::get("/wait"), greetings: 0, trigger: http::post("/wake", "{}") };
    Ok(Server::new(process, address, get, dir).waiting(wait))
}

/// The requests that create keys in the service.
pub(crate) fn writes() -> Writes {
    ours::writes_under(vec!["aaaaaaaaaaaa".to_owned()])
}
