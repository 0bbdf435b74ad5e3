//! Heat: stacks.

use client::types::Method;
use serde_json::{Value, json};

use super::calls::Call;
use super::error::{CloudError, CloudService, one_line};
use super::session::Session;
use crate::stack::Stack;

/// How deep resources of nested stacks are listed: as deep as Heat lets stacks nest (`max_nested_stack_depth`).
const NESTED_DEPTH: u32 = 5;

/// A stack in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `CREATE_COMPLETE`, …
    pub status: String,
    /// Why, in Heat's words.
    pub reason: String,
}

/// How far a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackStatus {
    /// It is being made or changed.
    Building,
    /// It is as it should be.
    Built,
    /// Something of it failed.
    Failed,
    /// It is being deleted.
    Going,
    /// It is deleted.
    Gone,
}

impl StackStatus {
    /// What a status of Heat means.
    #[must_use]
    pub fn of(status: &str) -> Self {
        match status.rsplit_once('_') {
            _ if status == "DELETE_COMPLETE" => Self::Gone,
            _ if status.starts_with("DELETE_") && status != "DELETE_FAILED" => Self::Going,
            Some((_, "COMPLETE")) if status != "ROLLBACK_COMPLETE" => Self::Built,
            Some((_, "PROGRESS")) => Self::Building,
            _ => Self::Failed,
        }
    }
}

impl StackSummary {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> StackStatus {
        StackStatus::of(&self.status)
    }
}

/// A resource of a stack, or of one that is nested in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name in the template.
    pub name: String,
    /// `OS::Nova::Server`, …
    pub kind: String,
    /// The id of what it stands for; empty before that is made.
    pub physical_id: String,
    /// `CREATE_COMPLETE`, …
    pub status: String,
    /// Why, in Heat's words.
    pub reason: String,
}

impl Session {
    /// Asks Heat for a stack, and gives its id. It is made later.
    ///
    /// # Errors
    /// Heat refuses. After [`super::Cause::NoAnswer`] the stack may come all the same.
    pub fn create_stack(&mut self, name: &str, stack: &Stack) -> Result<String, CloudError> {
        let body = json!({
            "stack_name": name,
            "template": stack.template,
            "files": stack.files,
            "parameters": stack.parameters,
        });
        let call = Call { method: Method::POST, path: "stacks", body: Some(&body), version: None };
        let answer = self.json(CloudService::Heat, &call)?;
        let id = answer["stack"]["id"].as_str();
        id.map(str::to_owned).ok_or_else(|| CloudError::nonsense(CloudService::Heat, "a stack without an id"))
    }

    /// The stacks of the project.
    ///
    /// # Errors
    /// Heat does not tell them.
    pub fn stacks(&mut self) -> Result<Vec<StackSummary>, CloudError> {
        let answer = self.json(CloudService::Heat, &Call::get("stacks"))?;
        let Some(found) = answer["stacks"].as_array() else {
            return Err(CloudError::nonsense(CloudService::Heat, "no list of stacks"));
        };
        Ok(found.iter().filter_map(summary).collect())
    }

    /// One stack. A deleted one is shown as such for some time; `None` when Heat does not know it.
    ///
    /// # Errors
    /// Heat does not tell.
    pub fn show_stack(&mut self, name: &str, id: &str) -> Result<Option<StackSummary>, CloudError> {
        match self.json(CloudService::Heat, &Call::get(&format!("stacks/{name}/{id}"))) {
            Ok(answer) => match summary(&answer["stack"]) {
                Some(stack) => Ok(Some(stack)),
                None => Err(CloudError::nonsense(CloudService::Heat, "a stack without a status")),
            },
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The resources of a stack and of those nested in it.
    ///
    /// # Errors
    /// Heat does not tell.
    pub fn resources(&mut self, name: &str, id: &str) -> Result<Vec<Resource>, CloudError> {
        let path = format!("stacks/{name}/{id}/resources?nested_depth={NESTED_DEPTH}");
        let answer = self.json(CloudService::Heat, &Call::get(&path))?;
        let Some(found) = answer["resources"].as_array() else {
            return Err(CloudError::nonsense(CloudService::Heat, "no list of resources"));
        };
        Ok(found.iter().filter_map(resource).collect())
    }

    /// Asks Heat to delete a stack; it goes later. One that is not there is no error.
    ///
    /// # Errors
    /// Heat refuses.
    pub fn delete_stack(&mut self, name: &str, id: &str) -> Result<(), CloudError> {
        let path = format!("stacks/{name}/{id}");
        let call = Call { method: Method::DELETE, path: &path, body: None, version: None };
        match self.ask(CloudService::Heat, &call) {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }
}

fn summary(value: &Value) -> Option<StackSummary> {
    Some(StackSummary {
        id: value["id"].as_str()?.to_owned(),
        name: value["stack_name"].as_str()?.to_owned(),
        status: value["stack_status"].as_str()?.to_owned(),
        reason: one_line(value["stack_status_reason"].as_str().unwrap_or_default()),
    })
}

fn resource(value: &Value) -> Option<Resource> {
    let text = |key: &str| one_line(value[key].as_str().unwrap_or_default());
    Some(Resource {
        name: value["resource_name"].as_str()?.to_owned(),
        kind: value["resource_type"].as_str()?.to_owned(),
        physical_id: text("physical_resource_id"),
        status: text("resource_status"),
        reason: text("resource_status_reason"),
    })
}
