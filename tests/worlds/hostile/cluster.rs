//! A sealed cluster at a service, as its users make it.

use worlds::fixtures;
use worlds::guest::Guest;

use crate::service::{Hostile, honest};

/// 32 bytes, in base64url.
pub(crate) const SECRET: &str = "hS3cr3tOfTheCluster_-AAAAAAAAAAAAAAAAAAAAAA";
/// A pin that a service could have made, and another.
pub(crate) const PIN: &str = "enico1qq0oey";
pub(crate) const OTHER_PIN: &str = "yeo0qq1ocine";
/// Addresses of documentation (RFC 5737). The master had the first one before the second.
pub(crate) const OLD_ADDRESS: &str = "192.0.2.11";
pub(crate) const MOVED_TO: &str = "192.0.2.12";
/// What the master has published, first and last.
pub(crate) const OLD_TOKEN: &str = "K10-old-token";
pub(crate) const TOKEN: &str = "K10-the-token-of-today";

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) pin: String,
    url: String,
}

impl Cluster {
    pub(crate) fn at(service: &Hostile, pin: &str) -> Self {
        Self { pin: pin.to_owned(), url: service.url() }
    }

    /// A cluster whose master was replaced and has published every key twice, beside another one of the same secret.
    pub(crate) fn that_has_moved(service: &Hostile) -> Self {
        service.play(honest);
        for (pin, addresses) in [(OTHER_PIN, ["192.0.2.21"; 2]), (PIN, [OLD_ADDRESS, MOVED_TO])] {
            let cluster = Self::at(service, pin);
            for (address, token) in addresses.iter().zip([OLD_TOKEN, TOKEN]) {
                let master = cluster.master(address, "master");
                master.run(&["contextualize"]).expect(0);
                master.run_with_input(&["publish", "k3s_token", "-"], token.as_bytes()).expect(0);
                master.run_with_input(&["publish", "another_token", "-"], b"other").expect(0);
                master.run(&["master-ready"]).expect(0);
            }
        }
        Self::at(service, PIN)
    }

    /// The lines of every section of this cluster.
    pub(crate) fn sealed(&self, context: &str) -> String {
        fixtures::with_settings(context, &[&format!("cvm_cluster_secret={SECRET}"), "cvm_cluster_timeout=5"])
    }

    /// A master at this address, in a machine of its own.
    pub(crate) fn master(&self, address: &str, name: &str) -> Guest {
        Guest::new(name, self.master_context(address))
    }

    pub(crate) fn master_context(&self, address: &str) -> String {
        self.sealed(&self.clear_master_context(address))
    }

    /// The same with a context that has no secret.
    pub(crate) fn clear_master(&self, address: &str) -> Guest {
        Guest::new("clear-master", self.clear_master_context(address))
    }

    fn clear_master_context(&self, address: &str) -> String {
        let context = fixtures::master(&self.pin, &self.url);
        fixtures::with_settings(&context, &[&format!("cvm_cluster_master_ip={address}")])
    }

    /// The context of a slave that needs the address and both tokens, without a secret.
    pub(crate) fn clear_slave_context(&self) -> String {
        let context = fixtures::slave(&self.pin, &self.url);
        let tokens = "token=###K3S_TOKEN_PLACEHOLDER###\nother=###ANOTHER_TOKEN_PLACEHOLDER###\n[amiconfig]";
        context.replace("[amiconfig]", tokens)
    }

    pub(crate) fn slave_context(&self) -> String {
        self.sealed(&self.clear_slave_context())
    }

    pub(crate) fn slave(&self) -> Guest {
        Guest::new("slave", self.slave_context())
    }
}
