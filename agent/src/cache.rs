//! What a VM keeps of a success, so that it boots again without the service.
//!
//! One JSON file per instance, for root only, since it has the pin in it. `files` writes it; here are its format and
//! the rule of when it counts. A file that does not fit in any way is as good as none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use protocol::key::MASTER_IP;
use protocol::limits::BYTES_PER_PIN;
use serde::{Deserialize, Serialize};

use context::settings::Settings;
use context::value::{self, Origin};

/// The permissions of the file.
pub const MODE: u32 = 0o600;
/// The format's number; a later format gets another.
const VERSION: u32 = 1;
/// Most bytes of the file: what a pin can hold, and room for JSON around it.
const MAX_BYTES: u64 = 2 * BYTES_PER_PIN as u64;

/// What was gathered, or pushed, and for whom that is true.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    version: u32,
    /// What tells this VM from a clone of it: cloud-init's instance-id, or the machine's product_uuid.
    instance: String,
    pin: String,
    services: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Cache {
    /// What this instance is to keep.
    #[must_use]
    pub fn new(instance: &str, settings: &Settings, values: BTreeMap<String, String>) -> Self {
        Self {
            version: VERSION,
            instance: instance.to_owned(),
            pin: settings.pin.reveal().to_owned(),
            services: services(settings),
            values,
        }
    }

    /// Reads a cache that counts: made by this instance for the context's pin and URLs, with `master_ip` and every one
    /// of these keys, each value as safe as one that comes from the service.
    #[must_use]
    pub fn read(path: &Path, instance: &str, settings: &Settings, keys: &[String]) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let cache: Self = serde_json::from_slice(&bytes).ok()?;
        cache.counts(instance, settings, keys).then_some(cache)
    }

    fn counts(&self, instance: &str, settings: &Settings, keys: &[String]) -> bool {
        self.version == VERSION
            && self.instance == instance
            && self.pin == settings.pin.reveal()
            && self.services == services(settings)
            && self.values.contains_key(MASTER_IP)
            && keys.iter().all(|key| self.values.contains_key(key))
            && self.values.iter().all(|(key, value)| value::check(key, value, Origin::Received).is_ok())
    }

    /// The values by their keys.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The file's content.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings serialize")
    }
}

fn services(settings: &Settings) -> Vec<String> {
    settings.services.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use context::settings::{AddressRule, DEFAULT_TIMEOUT, Keys, Role};
    use protocol::Pin;
    use protocol::Trust;
    use protocol::url::ServiceUrl;

    fn settings(pin: &str, url: &str) -> Settings {
        Settings {
            pin: Pin::parse(pin).unwrap(),
            role: Role::Slave,
            services: vec![ServiceUrl::parse(url, false).unwrap()],
            trust: Trust::WebPki,
            timeout: DEFAULT_TIMEOUT,
            keys: Keys::WithPlaceholder,
            address: AddressRule::Route,
            early: false,
            repair: false,
        }
    }

    fn ours() -> Settings {
        settings("enico1qq0oey", "http://pair:8000")
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// What the file of `bytes` gives to instance `i-1` with our settings that needs `token`.
    fn read(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Cache::read(file.path(), "i-1", &ours(), &["token".to_owned()]).map(|cache| cache.values)
    }

    #[test]
    fn gives_back_what_this_instance_kept() {
        let kept = values(&[("master_ip", "10.0.0.5"), ("token", "abc"), ("more", "x")]);
        assert_eq!(read(&Cache::new("i-1", &ours(), kept.clone()).to_bytes()), Some(kept));
    }

    #[test]
    fn gives_nothing_to_a_clone_or_for_another_context() {
        let kept = values(&[("master_ip", "10.0.0.5"), ("token", "abc")]);
        for (what, cache) in [
            ("another instance", Cache::new("i-2", &ours(), kept.clone())),
            ("another pin", Cache::new("i-1", &settings("enico1qq0oez", "http://pair:8000"), kept.clone())),
            ("another URL", Cache::new("i-1", &settings("enico1qq0oey", "http://pair:8001"), kept.clone())),
            ("a later format", Cache { version: VERSION + 1, ..Cache::new("i-1", &ours(), kept) }),
            ("no token", Cache::new("i-1", &ours(), values(&[("master_ip", "10.0.0.5")]))),
            ("no master_ip", Cache::new("i-1", &ours(), values(&[("token", "abc")]))),
            (
                "an unsafe value",
                Cache::new("i-1", &ours(), values(&[("master_ip", "$(reboot)"), ("token", "abc")])),
            ),
        ] {
            assert_eq!(read(&cache.to_bytes()), None, "{what}");
        }
    }

    #[test]
    fn gives_nothing_from_a_broken_file() {
        let whole =
            Cache::new("i-1", &ours(), values(&[("master_ip", "10.0.0.5"), ("token", "abc")])).to_bytes();
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "{cut} bytes");
        }
        assert_eq!(read(&vec![b' '; 1 << 22]), None);
        assert!(Cache::read(Path::new("/nonexistent"), "i-1", &ours(), &[]).is_none());
    }
}
