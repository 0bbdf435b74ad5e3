//! Whether the answers of a request are in order.

use serde_json::{Map, Value};

use crate::definition::{ClusterType, Kind};
use crate::stack;

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A parameter has neither an answer nor a default.
    Missing,
    /// An answer is refused.
    Value,
    /// The definition is at fault: Heat refuses whatever is answered.
    Definition,
}

/// Something that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is wrong with.
    pub kind: FaultKind,
    /// The parameter or the component.
    pub name: String,
    /// Where it is in the request: a JSON pointer.
    pub pointer: String,
    /// What is wrong, in Heat's words or the author's.
    pub message: String,
}

impl Fault {
    fn of_parameter(kind: FaultKind, name: &str, message: impl Into<String>) -> Self {
        Self { kind, name: name.to_owned(), pointer: pointer("parameters", name), message: message.into() }
    }
}

impl ClusterType {
    /// Everything that is wrong with a request's answers (by parameter) and selections (by optional component), in the
    /// order of the definition.
    #[must_use]
    pub fn check(&self, answers: &Map<String, Value>, selections: &Map<String, Value>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let missing = |name: &str| self.answer_or_default(answers, name).is_none();
        for name in self.asked(selections) {
            if missing(name) {
                let message = format!("The Parameter ({name}) was not provided.");
                faults.push(Fault::of_parameter(FaultKind::Missing, name, message));
            }
        }
        faults
    }

    /// The parameters that a request must answer, in order: those that are shown, of the components that are included.
    fn asked(&self, selections: &Map<String, Value>) -> Vec<&String> {
        if self.kind != Kind::Heat {
            return self.parameters.keys().collect();
        }
        let included = stack::parameters(&self.included(selections));
        let names = included.into_iter().map(|(name, _)| name);
        names.filter(|name| self.parameters.contains_key(*name)).collect()
    }
}

/// RFC 6901, 3: `~` and `/` are escaped.
fn pointer(part: &str, name: &str) -> String {
    format!("/cluster/{part}/{}", name.replace('~', "~0").replace('/', "~1"))
}
