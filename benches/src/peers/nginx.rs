//! nginx: one process, a constant answer, no log.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Bench, Server, http, installed};
use crate::error::{Result, WithContext};
use crate::process::{Process, free_address};

pub(crate) fn start(bench: &Bench) -> Result<Server> {
    let body = bench.answer.rsplit("\r\n").next().unwrap_or_default();
    let content_type =
        bench.answer.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or("text/plain");
    let location = format!("location / {{ default_type '{content_type}'; return 200 '{body}'; }}");
    let (process, address, dir) = launch(bench, "", &location)?;
    Ok(Server::new(process, address, http::get("/api/v1/clusters/aaaaaaaaaaaa/keys/master_ip"), dir))
}

/// Starts nginx with these locations; `modules` are lines for the head of its configuration.
pub(super) fn launch(
    bench: &Bench,
    modules: &str,
    locations: &str,
) -> Result<(Process, std::net::SocketAddr, TempDir)> {
    let program = installed("nginx")?;
    let dir = bench.directory()?;
    let address = free_address()?;
    let root = dir.path().display();
    // One process without a master, so that its CPU time and memory are all there is; it may be asked forever over
    // one connection, as hyper may.
    let configuration = format!(
        "{modules}
        daemon off; master_process off; pid {root}/pid; error_log stderr error;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 19990; }}
        http {{
            access_log off; keepalive_requests 1000000000; keepalive_timeout 300; tcp_nodelay on;
            client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
            uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
            server {{ listen {address} backlog=4096; {locations} }}
        }}"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, configuration).context_on("write", &file)?;
    let mut process =
        Process::start("nginx", &mut command(&program, &file, dir.path()), bench.cores, dir.path())?;
    process.wait_for(address)?;
    Ok((process, address, dir))
}

fn command(program: &Path, file: &Path, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-p").arg(root).arg("-c").arg(file).args(["-e", "stderr"]);
    command
}
