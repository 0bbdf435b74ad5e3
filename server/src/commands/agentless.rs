//! The contexts of VMs without the agent (`contexts --agentless`).

use context::document::Document;
use protocol::Pin;
use protocol::error::{Error, Status};
use protocol::limits::VALUE_MAX_CHARS;
use protocol::url::ServiceUrl;

use crate::slave_contexts;

/// The slaves' context where the user brings none.
pub(super) const SAMPLE: &str = "\
#cloud-config
write_files:
  - path: /etc/cluster.conf
    content: |
      master=###MASTER_IP_PLACEHOLDER###
";

/// What the master runs at the end of its boot. The service's answer goes over a socket whose address is that under
/// which the slaves reach the master too.
const MASTER: &str = r#"#!/bin/sh
# The master of a cluster whose slaves have no cernvm-cluster-agent. Put what makes the master ready before the last
# line.
set -eu
service=@SERVICE@
pin=@PIN@

# In the configuration, which comes through standard input, the pin is not seen in ps.
send() {
    printf 'url = "%s/api/v1/clusters/%s/%s"\n' "$service" "$pin" "$2" |
        curl --config - --silent --show-error --fail --output /dev/null --max-time 30 \
            --retry 60 --retry-delay 2 --retry-connrefused \
            --request "$1" --data-urlencode "key=$3" --data-urlencode "value=$4"
}
publish() {
    send POST keys "$1" "$2" || send PUT "keys/$1" "$1" "$2"
}

address=$(curl --silent --show-error --fail --output /dev/null --max-time 30 \
    --retry 60 --retry-delay 2 --retry-connrefused --write-out '%{local_ip}' "$service/healthz")
publish master_ip "$address"
publish master_ready "$address"
"#;

/// Whether the service can make the slaves' contexts of a text.
///
/// # Errors
/// [`Status::BadContext`] with the reason.
pub(super) fn check(name: &str, text: &str) -> Result<(), Error> {
    let document = Document::parse(name, text.as_bytes().to_vec())?;
    let (what, next) = if text.lines().next().map(str::trim_end) != Some("#cloud-config") {
        ("its first line is not #cloud-config", "for images without the agent, write a cloud-config")
    } else if document.section()?.is_some() {
        ("it has a ucernvm section, which only the agent reads", "take the section out")
    } else if text.chars().count() > VALUE_MAX_CHARS {
        (
            "it is longer than the service keeps a context (65536 characters)",
            "let the slaves download the rest",
        )
    } else {
        return Ok(());
    };
    Err(Error::new(Status::BadContext, format!("{name}: {what}"), next))
}

/// The master's context.
pub(super) fn master(pin: &Pin, service: &ServiceUrl) -> String {
    MASTER.replace("@SERVICE@", &service.to_string()).replace("@PIN@", pin.reveal())
}

/// The slaves' user-data.
pub(super) fn slave(pin: &Pin, service: &ServiceUrl) -> String {
    let (path, token) = (slave_contexts::PATH, slave_contexts::token(pin));
    format!("#include-once\n{service}{path}{token}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_slaves_a_token_and_the_master_the_pin() {
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let service = ServiceUrl::parse("http://pair.example.org:8000/below", false).unwrap();
        assert_eq!(
            slave(&pin, &service),
            "#include-once\nhttp://pair.example.org:8000/below/c/a03c5068027abfb91aaf8c337e1cc909\n"
        );
        let master = master(&pin, &service);
        assert!(
            master.contains("\nservice=http://pair.example.org:8000/below\npin=enico1qq0oey\n"),
            "{master}"
        );
    }

    #[test]
    fn takes_a_cloud_config_without_a_section() {
        assert!(check("sample", SAMPLE).is_ok());
        let section = format!("{SAMPLE}#[ucernvm-begin]\n#cvm_cluster_pin=enico1qq0oey\n#[ucernvm-end]\n");
        let long = format!("{SAMPLE}#{}\n", "x".repeat(VALUE_MAX_CHARS));
        for (text, said) in [
            ("#!/bin/sh\n", "is not #cloud-config"),
            (section.as_str(), "has a ucernvm section"),
            (long.as_str(), "longer than"),
        ] {
            let error = check("file", text).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
