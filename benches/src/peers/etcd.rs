//! etcd, one member, through its JSON gateway: what a shell script in a guest could send.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Bench, KEY, Server, VALUE, Wait, Writes, http, installed};
use crate::error::Result;
use crate::load::Exchange;
use crate::load::connection::Target;
use crate::load::wire::Framing;
use crate::process::{Process, free_address};

pub(crate) fn start(bench: &Bench) -> Result<Server> {
    let dir = bench.directory()?;
    let (client, peer) = (free_address()?, free_address()?);
    let (clients, peers) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = Command::new(installed("etcd")?);
    command.arg("--data-dir").arg(dir.path().join("data"));
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("default={peers}"), "--log-level", "error"]);
    let mut process = Process::start("etcd", &mut command, bench.cores, dir.path())?;
    process.wait_for(client)?;
    http::ask(&Target { address: client, tls: None }, &put(KEY))?;
    let get = http::post("/v3/kv/range", &format!(r#"{{"key":"{}"}}"#, BASE64_STANDARD.encode(KEY)));
    let watch = format!(r#"{{"create_request":{{"key":"{}"}}}}"#, BASE64_STANDARD.encode("ready"));
    let wait = Wait {
        wait: Exchange { framing: Framing::HttpChunks, ..http::post("/v3/watch", &watch) },
        // The head, and the news that the watch was created.
        greetings: 2,
        trigger: put("ready"),
    };
    Ok(Server::new(process, client, get, dir).waiting(wait))
}

pub(crate) fn writes(places: usize) -> Writes {
    let mut number = 0_u64;
    Box::new(move |_, request| {
        number += 1;
        let key = format!("{:012}/k{number}", fastrand::usize(..places));
        request.extend_from_slice(&put(&key).request);
    })
}

fn put(key: &str) -> Exchange {
    let (key, value) = (BASE64_STANDARD.encode(key), BASE64_STANDARD.encode(VALUE));
    http::post("/v3/kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_in_base64() {
        let request = String::from_utf8(put("a").request).unwrap();
        assert!(request.ends_with(r#"{"key":"YQ==","value":"MTAuMjAuMzAuNDA="}"#), "{request}");
        assert_eq!(put("a").framing, Framing::Http);
    }
}
