//! The tags of parameters that pairing fills in.

/// The names of the parameters that are tagged for pairing. They are not shown in a form, and never missing: what makes
/// the cluster fills them in. Heat and the original take the tags for what they are, words without a meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairingTags {
    /// Tagged `pairing.pin`: the pin.
    pub pin: Vec<String>,
    /// Tagged `pairing.url`: the address of the pairing service.
    pub url: Vec<String>,
    /// Tagged `pairing.secret`: the secret that seals the cluster's values.
    pub secret: Vec<String>,
    /// Tagged `pairing.trust`: the line of the section by which the agents know the service,
    /// `cvm_service_fingerprint=…` or `cvm_service_ca=…`; empty for a public certificate.
    pub trust: Vec<String>,
}

impl PairingTags {
    /// The tags that have a meaning.
    pub const TAGS: [&str; 4] = ["pairing.pin", "pairing.url", "pairing.secret", "pairing.trust"];

    fn all(&self) -> [&Vec<String>; 4] {
        [&self.pin, &self.url, &self.secret, &self.trust]
    }

    /// Whether a parameter is one of them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.all().into_iter().flatten().any(|known| known == name)
    }

    /// Whether a cluster of the type pairs at all.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.all().into_iter().any(|names| !names.is_empty())
    }

    /// Notes that a parameter has a tag, which may be one without a meaning.
    pub(crate) fn add(&mut self, name: &str, tag: &str) {
        let names = match tag {
            "pairing.pin" => &mut self.pin,
            "pairing.url" => &mut self.url,
            "pairing.secret" => &mut self.secret,
            "pairing.trust" => &mut self.trust,
            _ => return,
        };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}
