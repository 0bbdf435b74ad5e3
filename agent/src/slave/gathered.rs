//! What a slave got, and what is missing of it.

use std::collections::BTreeMap;

use protocol::error::{Error, Status};

/// What a slave got.
#[derive(Debug, Default)]
pub struct GatheredValues {
    /// The keys that came, among them always `master_ip`; each fit to be substituted.
    pub values: BTreeMap<String, String>,
    /// Why the others did not.
    pub missing: BTreeMap<String, Error>,
}

impl GatheredValues {
    /// Takes what did not come from an earlier boot with the same master.
    pub(super) fn fill_from(&mut self, earlier: &BTreeMap<String, String>) {
        self.missing.retain(|key, error| {
            let Some(value) = earlier.get(key) else { return true };
            log::warn!("{error}; the value is that of an earlier boot");
            self.values.insert(key.clone(), value.clone());
            false
        });
    }

    /// Takes the values that came for missing, since it cannot be told whose they are.
    pub(super) fn distrust(&mut self, why: &Error) {
        for key in std::mem::take(&mut self.values).into_keys() {
            let what = format!("'{key}' came, but not whether the master is still the same: {why}");
            self.missing.insert(key, Error::new(why.status(), what, why.next_step().to_owned()));
        }
    }

    /// The error of a run that has substituted what came, if something did not.
    pub fn into_shortfall(mut self) -> Option<Error> {
        if self.missing.len() == 1 {
            return self.missing.pop_first().map(|(_, error)| error);
        }
        let (unsafe_values, absent): (Vec<_>, Vec<_>) =
            self.missing.into_iter().partition(|(_, error)| error.status() == Status::Nonsense);
        let names: Vec<String> = absent.iter().map(|(key, _)| format!("'{key}'")).collect();
        let first = unsafe_values.into_iter().chain(absent).next();
        first.map(|(_, error)| match error.tried() {
            Some(tried) => {
                let what = format!("no keys {} under the pin", names.join(", "));
                Error::timed_out(&what, tried, error.next_step().to_owned())
            }
            None => error,
        })
    }
}
