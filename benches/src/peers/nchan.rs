//! nchan: nginx' module for long polls, subscribers of one channel woken by one publication.

use std::path::Path;

use super::{Bench, KEY, Server, VALUE, Wait, http, nginx};
use crate::error::{Error, Result};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub(crate) fn start(bench: &Bench) -> Result<Server> {
    if !Path::new(MODULE).exists() {
        return Err(Error::Missing("libnginx-mod-nchan".into()));
    }
    let locations = "
        location /get { return 200 'ok'; }
        location ~ ^/wait/(.+)$ { nchan_subscriber longpoll; nchan_channel_id $1; nchan_subscriber_timeout 300; }
        location ~ ^/put/(.+)$ { nchan_publisher; nchan_channel_id $1; }";
    let (process, address, dir) = nginx::launch(bench, &format!("load_module {MODULE};"), locations)?;
    let wait = Wait {
        wait: http::get(&format!("/wait/{KEY}")),
        greetings: 0,
        trigger: http::post(&format!("/put/{KEY}"), VALUE),
    };
    Ok(Server::new(process, address, http::get("/get"), dir).waiting(wait))
}
