//! The billing service that some clouds have beside them: credits, and an order for each cluster.
//!
//! It is called only at an address that the operator of the launcher has allowed, with a token of the launcher's own.

use std::time::Duration;

use client::types::Method;
use client::{Web, WebRequest};
use protocol::Trust;
use protocol::url::ServiceUrl;
use serde_json::{Value, json};

use super::records::Record;
use super::refused::Refused;
use crate::token::TokenKey;

/// Longest time for one call.
const LIMIT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("cernvm-cluster-launcher/", env!("CARGO_PKG_VERSION"));
/// Statuses after which the original asks once more.
const AGAIN: [u16; 5] = [401, 403, 405, 407, 408];

/// An account at a billing service.
pub struct Billing {
    web: Web,
    key: TokenKey,
    account: String,
}

/// An order that was made.
#[derive(Debug)]
pub struct Order(Value);

impl Billing {
    /// An account at the service of this address.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(url: &str, key: TokenKey, account: String) -> Result<Self, Refused> {
        let unusable =
            |problem: String| Refused::Billing(format!("the address of the billing service {problem}"));
        let base = ServiceUrl::parse(url, false).map_err(unusable)?;
        let web = Web::new(base, &Trust::WebPki, USER_AGENT, "--middleware-url");
        let web = web.map_err(|error| Refused::Billing(error.to_string()))?;
        Ok(Self { web, key, account })
    }

    /// Looks whether the account has credits: 1 at least.
    ///
    /// # Errors
    /// It has none, or the service does not tell.
    pub fn check_credits(&mut self) -> Result<(), Refused> {
        let answer =
            self.call("get_credits", &json!({ "credits": { "billing_account_id": self.account } }))?;
        // As an integer: half a credit is none, and digits in a text count.
        let credits = match &answer["credits"] {
            Value::Number(number) => number.as_f64().map(f64::trunc),
            Value::String(text) => text.trim().parse::<f64>().ok().filter(|number| number.fract() == 0.0),
            _ => None,
        };
        match credits {
            Some(credits) if credits >= 1.0 => Ok(()),
            Some(_) => Err(Refused::NoCredits),
            None => Err(Refused::Billing(
                "the billing service does not say how many credits there are".to_owned(),
            )),
        }
    }

    /// Makes an order.
    ///
    /// # Errors
    /// The service makes none.
    pub fn order(&mut self) -> Result<Order, Refused> {
        let answer =
            self.call("create_order", &json!({ "order": { "billing_account_id": self.account } }))?;
        match &answer["order"] {
            Value::Null => Err(Refused::Billing("the billing service gives no order".to_owned())),
            order => Ok(Order(order.clone())),
        }
    }

    /// Takes an order back. What made that necessary is worth more to the caller than a failure here, which is logged.
    pub fn delete(&mut self, order: &Order) {
        if let Err(Refused::Billing(problem)) =
            self.call("delete_order", &json!({ "order": { "order_id": order.0 } }))
        {
            log::error!("the order {} stays at the billing service: {problem}", order.0);
        }
    }

    /// Tells the service which stack an order is for. The stack is there: a failure is logged.
    pub fn tag(&mut self, order: &Order, record: &Record) {
        let id = record.stack_id.as_deref().unwrap_or_default();
        for (name, value) in
            [("openstack_stack_id", id), ("openstack_stack_name", record.stack_name.as_str())]
        {
            let tag = json!({ "tag": { "order_id": order.0, "tag_name": name, "tag_value": value } });
            if let Err(Refused::Billing(problem)) = self.call("add_order_tag", &tag) {
                log::error!("the order {} has no {name} at the billing service: {problem}", order.0);
            }
        }
    }

    fn call(&mut self, path: &str, body: &Value) -> Result<Value, Refused> {
        let (mut status, mut answer) = self.call_once(path, body)?;
        if AGAIN.contains(&status) {
            (status, answer) = self.call_once(path, body)?;
        }
        match status {
            204 => Ok(Value::Null),
            200 | 201 => {
                serde_json::from_slice::<Value>(&answer).ok().filter(Value::is_object).ok_or_else(|| {
                    Refused::Billing(format!("the billing service answers {path} without a JSON object"))
                })
            }
            _ => Err(Refused::Billing(format!("the billing service answers {status} to {path}"))),
        }
    }

    fn call_once(&mut self, path: &str, body: &Value) -> Result<(u16, Vec<u8>), Refused> {
        let authorization = format!("Bearer {}", self.key.sign());
        let body = body.to_string();
        let headers = [("authorization", authorization.as_str())];
        let request = WebRequest { method: Method::POST, path, headers: &headers, body: Some(&body) };
        match self.web.send(&request, LIMIT) {
            Ok(answer) => Ok((answer.status, answer.body)),
            Err(_) => Err(Refused::Billing(format!("the billing service does not answer {path}"))),
        }
    }
}
