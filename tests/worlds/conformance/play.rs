//! Playing scenarios: send, take variables out of the answer, compare.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pairing_server::clock::SystemClock;
use pairing_server::store::{Limits, Store};
use protocol::Pin;
use regex_lite::Regex;
use worlds::http::{Headers, Request, Response};
use worlds::service::Service;

use crate::compare::differences;
use crate::record::{Capture, Exchange, Part, RequestBody, Scenario, Step};
use crate::template::{Variables, fill};

/// A service, and how it has done so far.
pub(crate) struct Player {
    service: Service,
    passed: usize,
    failed: Vec<String>,
}

impl Player {
    pub(crate) fn new(service: Service) -> Self {
        Self { service, passed: 0, failed: Vec::new() }
    }

    pub(crate) fn passed(&self) -> usize {
        self.passed
    }

    /// A line for each exchange that went otherwise than recorded.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// Plays what is not a quirk.
    pub(crate) fn play(&mut self, scenario: &Scenario) {
        let mut variables = Variables::new();
        for step in &scenario.exchanges {
            match step {
                Step::Control { control } => self.control(control, &variables),
                Step::Exchange(exchange) if exchange.quirk => {}
                Step::Exchange(exchange) => match self.exchange(exchange, &mut variables).as_slice() {
                    [] => self.passed += 1,
                    found => {
                        let request = &exchange.request;
                        self.failed.push(format!(
                            "{}#{} {} {:.80}: {}",
                            scenario.scenario,
                            exchange.id,
                            request.method,
                            request.path,
                            found.join("; ")
                        ));
                    }
                },
            }
        }
    }

    /// A pin is made older in the store itself, while no service runs on it: the service has no door for that.
    fn control(&mut self, words: &[String], variables: &Variables) {
        let words: Vec<_> = words.iter().map(|word| fill(word, variables)).collect();
        self.service.stop();
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["restart"] => {}
            ["age", pin, seconds] => {
                let pin = Pin::parse(pin).expect("captured from an answer");
                let age = Duration::from_secs(seconds.parse().expect("a number in the record"));
                backdate(&self.service.data_dir(), &pin, age);
            }
            _ => panic!("no such control step: {words:?}"),
        }
        self.service.resume();
    }

    fn exchange(&self, exchange: &Exchange, variables: &mut Variables) -> Vec<String> {
        let answer = match to_request(exchange, variables).send(self.service.address()) {
            Ok(answer) => answer,
            Err(e) => return vec![format!("no answer: {e}")],
        };
        let mut found = Vec::new();
        for (name, capture) in &exchange.capture {
            found.extend(take(name, capture, &answer, variables).err());
        }
        found.extend(differences(&exchange.response, &answer, &exchange.request.method, variables));
        found
    }
}

fn backdate(data_dir: &Path, pin: &Pin, age: Duration) {
    let store = Store::open(data_dir, Limits::default(), Arc::new(SystemClock), Arc::new(()));
    let store = store.expect("the stopped service's store opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    runtime.block_on(store.backdate(pin, age)).expect("the pin is in the store");
}

fn to_request(exchange: &Exchange, variables: &Variables) -> Request {
    let recorded = &exchange.request;
    let headers = recorded.headers.iter().map(|(name, value)| (name.clone(), fill(value, variables)));
    Request {
        method: recorded.method.clone(),
        path: fill(&recorded.path, variables),
        headers: Headers(headers.collect()),
        body: recorded.body.as_ref().map(|body| body_bytes(body, variables)),
        chunked: recorded.chunked,
    }
}

fn body_bytes(body: &RequestBody, variables: &Variables) -> Vec<u8> {
    match body {
        RequestBody::Text(text) => fill(text, variables).into_bytes(),
        RequestBody::Base64(text) => BASE64_STANDARD.decode(text).expect("the record is base64"),
        RequestBody::Parts(parts) => parts
            .iter()
            .flat_map(|part| match part {
                Part::Text { text } => fill(text, variables).into_bytes(),
                Part::Repeat { repeat, count } => repeat.repeat(*count).into_bytes(),
            })
            .collect(),
    }
}

/// Takes a variable out of a JSON answer, or says what is wrong with it.
fn take(name: &str, capture: &Capture, answer: &Response, variables: &mut Variables) -> Result<(), String> {
    let json = answer.json();
    let value = json[&capture.field].as_str().ok_or_else(|| format!("no text in field {}", capture.field))?;
    let pattern = Regex::new(&format!("^(?:{})$", capture.pattern)).expect("the record's pattern compiles");
    if !pattern.is_match(value) {
        return Err(format!("{} {value:?} does not match {}", capture.field, capture.pattern));
    }
    let is_pin = |name: &str| name.starts_with("pin");
    if is_pin(name) && variables.iter().any(|(other, known)| is_pin(other) && known == value) {
        return Err(format!("{} is {value} again", capture.field));
    }
    variables.insert(name.to_owned(), value.to_owned());
    Ok(())
}
