//! What a parameter's value must be besides its type.

/// A custom constraint that only the cloud can answer: whether something of this kind and name or id is in the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The constraint: `nova.flavor`, `nova.keypair`, `glance.image`, `neutron.network`, …
    pub kind: String,
    /// The name or id that was answered.
    pub value: String,
    /// The parameter.
    pub parameter: String,
    /// Where it is in the request: a JSON pointer.
    pub pointer: String,
    /// What the author wants to be said instead of Heat's words.
    pub description: Option<String>,
}
