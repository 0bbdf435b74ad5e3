//! Custom constraints that name something in the cloud.

/// A custom constraint that only the cloud can answer: whether something of this kind and name or id is in the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The constraint: one of [`Lookup::KINDS`].
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

/// The services with constraints in Heat. A constraint of theirs that is not among [`Lookup::KINDS`] is left to Heat.
const SERVICES: [&str; 20] = [
    "aodh",
    "barbican",
    "blazar",
    "cinder",
    "designate",
    "glance",
    "ironic",
    "keystone",
    "magnum",
    "manila",
    "mistral",
    "monasca",
    "neutron",
    "nova",
    "octavia",
    "sahara",
    "senlin",
    "swift",
    "trove",
    "zaqar",
];

impl Lookup {
    /// The constraints that can be looked up, by name or id in the project.
    pub const KINDS: [&str; 11] = [
        "nova.flavor",
        "nova.keypair",
        "nova.server",
        "glance.image",
        "neutron.network",
        "neutron.subnet",
        "neutron.router",
        "neutron.port",
        "neutron.security_group",
        "cinder.volume",
        "cinder.vtype",
    ];

    /// What is said when the project has nothing of this name or id: the author's words, or Heat's.
    #[must_use]
    pub fn refusal(&self) -> String {
        let Self { kind, value, .. } = self;
        let could_not = |what: &str| format!("The {what} ({value}) could not be found.");
        let words = match kind.as_str() {
            "nova.flavor" => format!("No Flavor matching {{'name': '{value}'}}. (HTTP 404)"),
            "nova.keypair" => could_not("Key"),
            "nova.server" => could_not("Server"),
            "glance.image" => format!("No images matching {{'name': '{value}'}}."),
            "cinder.volume" => could_not("Volume"),
            "cinder.vtype" => could_not("VolumeType"),
            kind => {
                format!("Unable to find {} with name or id '{value}'", word(kind))
            }
        };
        self.words(&words)
    }

    /// What is said when several have this name: the author's words, or Heat's.
    #[must_use]
    pub fn ambiguity(&self) -> String {
        let Self { kind, value, .. } = self;
        self.words(&match kind.as_str() {
            "glance.image" => format!("No images unique match found for {{'name': '{value}'}}."),
            kind => {
                let what = word(kind);
                format!("Multiple {what} matches found for name '{value}', use an ID to be more specific.")
            }
        })
    }

    fn words(&self, heat: &str) -> String {
        match &self.description {
            Some(description) => description.clone(),
            None => format!("Error validating value '{}': {heat}", self.value),
        }
    }
}

/// What Neutron calls something of a kind.
fn word(kind: &str) -> &str {
    kind.strip_prefix("neutron.").unwrap_or(kind)
}

/// Whether a constraint is among [`Lookup::KINDS`].
pub(crate) fn is_answerable(kind: &str) -> bool {
    Lookup::KINDS.contains(&kind)
}

/// Whether Heat knows a constraint of this name, as far as can be told.
pub(super) fn is_known(kind: &str) -> bool {
    let service = kind.split_once('.').map(|(service, _)| service);
    kind == "heat.resource_type" || service.is_some_and(|service| SERVICES.contains(&service))
}
