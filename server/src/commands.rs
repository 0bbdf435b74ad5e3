//! The commands of a user: they make pins, show and delete them, write contexts and look them over. All but `check` are
//! requests to a service, which may be far away.

mod agentless;
pub mod check;
pub mod connect;
pub mod contexts;
pub mod copy;
pub mod new;
pub mod watch;

use std::io::{self, BufRead as _};

use clap::Args;
use client::{PinContents, Pins};
use protocol::Pin;
use serde_json::json;

use crate::error::Error;
use connect::Connect;

/// Where to make a pin, and how to print it.
#[derive(Debug, Args)]
pub struct Create {
    /// Which service to talk to.
    #[command(flatten)]
    connect: Connect,
    /// Print a JSON object with the pin and the service's URL.
    #[arg(long)]
    json: bool,
}

/// Which pin to show, and how.
#[derive(Debug, Args)]
pub struct Show {
    /// Which service to talk to.
    #[command(flatten)]
    connect: Connect,
    /// The pin, or - to read it from standard input: every user of this machine sees the command line in `ps`.
    #[arg(value_name = "PIN|-")]
    pin: String,
    /// Print the values too. They may be secrets; master_ip and master_ready are always shown.
    #[arg(long)]
    values: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// What to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// Which service to talk to.
    #[command(flatten)]
    connect: Connect,
    /// The pin, or - to read it from standard input: every user of this machine sees the command line in `ps`.
    #[arg(value_name = "PIN|-")]
    pin: String,
    /// Delete this key alone, not the pin with all its keys.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Create {
    /// Makes a pin. Gives what to print.
    ///
    /// # Errors
    /// The service makes none.
    pub fn run(&self) -> Result<String, Error> {
        let url = self.connect.url()?;
        if url.is_loopback() {
            log::warn!(
                "{url} is for this machine alone; contexts need an address of it that the VMs can reach"
            );
        }
        let pin = self.connect.service()?.create()?;
        Ok(if self.json {
            json!({ "pin": pin.reveal(), "url": url.to_string() }).to_string()
        } else {
            pin.reveal().to_owned()
        })
    }
}

impl Show {
    /// Asks what is under a pin. Gives what to print.
    ///
    /// # Errors
    /// The service does not know the pin, or cannot be reached.
    pub fn run(&self) -> Result<String, Error> {
        let pin = read_pin(&self.pin)?;
        let contents = self.connect.service()?.show(&pin)?;
        Ok(if self.json { self.as_json(&pin, &contents) } else { self.as_text(&pin, &contents) })
    }

    /// The value, where it may be shown.
    fn value<'a>(&self, key: &str, value: &'a str) -> Option<&'a str> {
        let public = [protocol::key::MASTER_IP, protocol::key::MASTER_READY].contains(&key);
        (public || self.values).then_some(value)
    }

    fn as_text(&self, pin: &Pin, contents: &PinContents) -> String {
        let mut lines = vec![format!("{pin} since {}, keys: {}", contents.created, contents.keys.len())];
        lines.extend(contents.keys.iter().map(|(key, value)| match self.value(key, value) {
            Some(value) => format!("{key}: {value}"),
            None => format!("{key}: ({} characters; --values shows them)", value.chars().count()),
        }));
        lines.join("\n")
    }

    fn as_json(&self, pin: &Pin, contents: &PinContents) -> String {
        let keys: Vec<_> = contents
            .keys
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": self.value(key, value) }))
            .collect();
        json!({ "pin": pin.to_string(), "creation_time": contents.created, "keys": keys }).to_string()
    }
}

impl Delete {
    /// Deletes a pin or a key of it. Gives what to print.
    ///
    /// # Errors
    /// The service does not know the pin or the key, or cannot be reached.
    pub fn run(&self) -> Result<String, Error> {
        let pin = read_pin(&self.pin)?;
        let mut service: Pins = self.connect.service()?;
        service.delete(&pin, self.key.as_deref())?;
        Ok(match &self.key {
            Some(key) => format!("deleted '{key}' under {pin}"),
            None => format!("deleted {pin} with its keys"),
        })
    }
}

/// A pin from the command line, or from standard input.
fn read_pin(word: &str) -> Result<Pin, Error> {
    let mut line = String::new();
    let text = if word == "-" {
        io::stdin().lock().read_line(&mut line).map_err(Error::System)?;
        line.trim()
    } else {
        word
    };
    Pin::parse(text).map_err(Error::Pin)
}
