//! A cluster type: what its definition says.

use std::time::SystemTime;

use serde_json::{Map, Number, Value, json};

use crate::component::Component;
use crate::parameter::PairingTags;
use crate::review::Problem;

/// What makes the clusters of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Heat stack of components.
    Heat,
    /// A Magnum cluster template.
    Magnum,
    /// A Sahara cluster template.
    Sahara,
}

impl Kind {
    /// As a definition writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Heat => "heat",
            Self::Magnum => "magnum",
            Self::Sahara => "sahara",
        }
    }
}

/// A text for the people who use a cluster, in Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What the text is about, for programs: `launch`, `usage`, …
    pub id: String,
    /// Its heading.
    pub title: String,
    /// The text, in Markdown.
    pub text: String,
}

/// A valid definition of a cluster type.
#[derive(Debug, Clone)]
pub struct ClusterType {
    /// The name of its folder.
    pub id: String,
    /// What a list of types calls it.
    pub title: String,
    /// One paragraph or several, in Markdown.
    pub description: String,
    /// What makes its clusters.
    pub kind: Kind,
    /// Its place in a list of types: first by this number, then by `id`.
    pub order: Number,
    /// The address of a picture; it may be empty.
    pub logo_url: String,
    /// What a form asks for, in the author's order: each name with its schema, as written. Parameters that are
    /// hard-coded or filled in by pairing are not among them.
    pub parameters: Map<String, Value>,
    /// How a form groups them, as written; a list, empty where there is none.
    pub parameter_groups: Value,
    /// Texts for the people who use a cluster.
    pub instructions: Vec<Instruction>,
    /// When its definition or one of its components was changed last.
    pub last_modified: SystemTime,
    /// The name of the cluster template of Magnum or Sahara; `None` for Heat.
    pub cluster_template: Option<String>,
    /// What does not make the definition invalid, but does not work or has no effect.
    pub warnings: Vec<Problem>,
    pub(crate) components: Vec<Component>,
    pub(crate) hardcoded: Map<String, Value>,
}

impl ClusterType {
    /// Which parameters pairing fills in. A name that is tagged in one component is so in all.
    #[must_use]
    pub fn pairing(&self) -> PairingTags {
        let mut pairing = PairingTags::default();
        for (name, schema) in self.components.iter().flat_map(|component| &component.parameters) {
            for tag in schema["tags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !self.hardcoded.contains_key(name) {
                    pairing.add(name, tag);
                }
            }
        }
        pairing
    }

    /// What clients of the catalogue see of it.
    #[must_use]
    pub fn public(&self) -> Value {
        let instructions: Vec<Value> = self
            .instructions
            .iter()
            .map(|i| json!({ "id": i.id, "title": i.title, "text": i.text }))
            .collect();
        json!({
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "order": self.order,
            "logo_url": self.logo_url,
            "parameters": self.parameters,
            "parameter_groups": self.parameter_groups,
            "instructions": instructions,
            "last_modified": httpdate::fmt_http_date(self.last_modified),
        })
    }
}
