//! What a name or an id means in a project: how custom constraints are answered, by the calls that Heat makes for them.
//!
//! Only what a service says plainly is an answer. A list that it does not give is an error, which is not "there is none".

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::calls::Call;
use super::error::{CloudError, CloudService};
use super::session::Session;

/// How many things have a name or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matches {
    /// Nothing.
    None,
    /// One, which is meant.
    One,
    /// Several, so that none is meant.
    Several,
}

impl Matches {
    fn of(count: usize) -> Self {
        match count {
            0 => Self::None,
            1 => Self::One,
            _ => Self::Several,
        }
    }

    fn of_bool(is_there: bool) -> Self {
        Self::of(usize::from(is_there))
    }
}

impl Session {
    /// What a name or an id means, of one of [`crate::constraint::Lookup::KINDS`] but `nova.flavor`, which
    /// [`Session::flavours`] tells.
    ///
    /// # Errors
    /// The service does not tell.
    pub fn matches(&mut self, kind: &str, value: &str) -> Result<Matches, CloudError> {
        let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        match kind {
            "nova.keypair" => {
                let keys = self.list(CloudService::Nova, "os-keypairs", "keypairs")?;
                Ok(Matches::of_bool(keys.iter().any(|key| key["keypair"]["name"] == value)))
            }
            // These have no names as far as Heat goes.
            "nova.server" => {
                self.has(CloudService::Nova, &format!("servers/{encoded}")).map(Matches::of_bool)
            }
            "cinder.volume" => {
                self.has(CloudService::Cinder, &format!("volumes/{encoded}")).map(Matches::of_bool)
            }
            "cinder.vtype" => {
                let types = self.list(CloudService::Cinder, "types", "volume_types")?;
                let is_meant = |found: &Value| found["name"] == value || found["id"] == value;
                Ok(Matches::of_bool(types.iter().any(is_meant)))
            }
            "glance.image" => {
                if is_uuid(value) && self.has(CloudService::Glance, &format!("images/{encoded}"))? {
                    return Ok(Matches::One);
                }
                let named =
                    self.list(CloudService::Glance, &format!("images?name={encoded}&limit=2"), "images")?;
                Ok(Matches::of(named.len()))
            }
            kind => {
                let (path, key) = match kind.strip_prefix("neutron.") {
                    Some("network") => ("networks", "networks"),
                    Some("subnet") => ("subnets", "subnets"),
                    Some("router") => ("routers", "routers"),
                    Some("port") => ("ports", "ports"),
                    Some("security_group") => ("security-groups", "security_groups"),
                    _ => {
                        return Err(CloudError::nonsense(
                            CloudService::Heat,
                            format!("no constraint {kind}"),
                        ));
                    }
                };
                let mut by = |what: &str| {
                    self.list(CloudService::Neutron, &format!("{path}?{what}={encoded}&fields=id"), key)
                };
                if by("id")?.is_empty() {
                    return Ok(Matches::of(by("name")?.len()));
                }
                Ok(Matches::One)
            }
        }
    }

    fn list(&mut self, service: CloudService, path: &str, key: &str) -> Result<Vec<Value>, CloudError> {
        match self.json(service, &Call::get(path))?[key].take() {
            Value::Array(list) => Ok(list),
            _ => Err(CloudError::nonsense(service, format!("no list of {key}"))),
        }
    }
}

/// Whether a text may be the id of an image: other ids Glance does not give.
fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
