//! The user-data of a stack's servers, as Heat will hand it to Nova, and what `check` says of it.

use context::check::{self, Finding, Severity};
use context::document::Document;
use serde_json::Value;

use super::Stack;
use super::expression::Scope;

/// The user-data of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Context {
    /// The server's name in its template, with the groups and templates around it: `workers/worker`. Servers of a group
    /// have one context, in which `%index%` is not replaced.
    pub resource: String,
    /// The text. It holds the pin and the secret of the cluster.
    pub user_data: String,
}

impl Stack {
    /// The contexts of its servers. A server without user-data has none, nor has one whose user-data only Heat can tell.
    #[must_use]
    pub fn contexts(&self) -> Vec<Context> {
        let mut contexts = Vec::new();
        self.resources(&Scope::of_stack(self), "", &mut contexts);
        contexts
    }

    /// What `check` says of the contexts, each by itself and all as those of one cluster. Shows no pin and no secret.
    #[must_use]
    pub fn check_contexts(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut documents = Vec::new();
        for Context { resource, user_data } in self.contexts() {
            match Document::parse(&resource, user_data.into_bytes()) {
                Ok(document) => documents.push(document),
                Err(error) => findings.push(Finding {
                    severity: Severity::Error,
                    place: error.place().unwrap_or(&resource).to_owned(),
                    what: error.problem().to_owned(),
                    next: error.next_step().to_owned(),
                }),
            }
        }
        findings.extend(check::check_documents(&documents));
        findings
    }

    fn resources(&self, scope: &Scope<'_>, around: &str, contexts: &mut Vec<Context>) {
        for (name, resource) in scope.template["resources"].as_object().into_iter().flatten() {
            if scope.condition(resource) {
                self.resource(&format!("{around}{name}"), resource, scope, contexts);
            }
        }
    }

    fn resource(&self, name: &str, resource: &Value, scope: &Scope<'_>, contexts: &mut Vec<Context>) {
        let properties = &resource["properties"];
        match resource["type"].as_str() {
            Some("OS::Nova::Server") => {
                let user_data = properties.get("user_data").and_then(|expression| scope.value(expression));
                if let Some(text) = user_data.and_then(|known| Some(known.value.as_str()?.to_owned())) {
                    contexts.push(Context { resource: name.to_owned(), user_data: text });
                }
            }
            Some("OS::Heat::ResourceGroup") => {
                self.resource(name, &properties["resource_def"], scope, contexts)
            }
            Some("OS::Heat::AutoScalingGroup") => {
                self.resource(name, &properties["resource"], scope, contexts)
            }
            Some(address) => {
                let nested =
                    self.files.get(address).and_then(|text| serde_json::from_str::<Value>(text).ok());
                if let Some(template) = nested {
                    self.resources(&scope.of_nested(&template, properties), &format!("{name}/"), contexts);
                }
            }
            None => {}
        }
    }
}
