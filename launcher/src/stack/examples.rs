//! The example types: valid, launchable, and with contexts that `check` finds in order.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use context::check::Severity;
use context::document::Document;
use context::settings::{FoundSection, Role, Settings};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::Stack;
use crate::catalogue::Catalogue;
use crate::definition::ClusterType;

const PIN: &str = "abcdefghijkl";
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const URL: &str = "https://pairing.example.org";
const FINGERPRINT: &str =
    "cvm_service_fingerprint=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn examples() -> (TempDir, Catalogue) {
    let dir = tempfile::tempdir().unwrap();
    symlink(repository().join("packaging/examples/cluster-types"), dir.path().join("cluster-types-enabled"))
        .unwrap();
    let catalogue = Catalogue::new(dir.path().to_owned());
    (dir, catalogue)
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn stack(found: &ClusterType, trust: &str, selections: &Value) -> Stack {
    let answers = map(&json!({
        "image": "tiny", "key": "key", "master-flavour": "m1.small", "worker-flavour": "m1.tiny", "worker-count": 3,
        "external-network": "outside",
    }));
    assert_eq!(found.check(&answers, &map(selections)), []);
    let pairing = found.pairing();
    let mut filled = Map::new();
    for (names, value) in
        [(pairing.pin, PIN), (pairing.secret, SECRET), (pairing.url, URL), (pairing.trust, trust)]
    {
        assert_eq!(names.len(), 1, "{}", found.id);
        filled.insert(names[0].clone(), value.into());
    }
    found.stack(&answers, &map(selections), &filled).unwrap()
}

#[test]
fn are_valid_and_have_nothing_to_warn_of() {
    let (_dir, catalogue) = examples();
    let listing = catalogue.read().unwrap();
    assert_eq!(
        listing.types.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(),
        ["workers", "slurm", "k3s"]
    );
    assert!(listing.broken.is_empty(), "{:?}", listing.broken);
    for found in &listing.types {
        assert_eq!(found.warnings, [], "{}", found.id);
        let grouped = found
            .parameter_groups
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["parameters"].as_array().unwrap());
        let mut grouped: Vec<_> = grouped.map(|name| name.as_str().unwrap()).collect();
        let mut shown: Vec<_> = found.parameters.keys().map(String::as_str).collect();
        grouped.sort_unstable();
        shown.sort_unstable();
        assert_eq!(grouped, shown, "every parameter that is shown is in a group");
    }
}

#[test]
fn have_contexts_that_are_in_order() {
    let (_dir, catalogue) = examples();
    for found in catalogue.read().unwrap().types {
        for trust in ["", FINGERPRINT] {
            let stack = stack(&found, trust, &json!({"address": true}));
            let worse: Vec<_> =
                stack.check_contexts().into_iter().filter(|found| found.severity != Severity::Note).collect();
            assert_eq!(worse, [], "{}", found.id);
            let contexts = stack.contexts();
            assert_eq!(
                contexts.iter().map(|context| context.resource.as_str()).collect::<Vec<_>>(),
                ["master", "workers"]
            );
            for (context, role) in contexts.into_iter().zip([Role::Master, Role::Slave]) {
                let document = Document::parse(&context.resource, context.user_data.into_bytes()).unwrap();
                let section = document.section().unwrap().unwrap();
                let FoundSection::Cluster(settings) = Settings::from_sections(&[section]).unwrap() else {
                    panic!("{}: no section of a cluster", found.id);
                };
                assert_eq!((settings.pin.reveal(), settings.role), (PIN, role));
                assert_eq!(
                    settings.secret.map(|secret| secret.reveal().to_string()).as_deref(),
                    Some(SECRET)
                );
            }
        }
    }
}

#[test]
fn a_context_that_is_wrong_is_found() {
    let (_dir, catalogue) = examples();
    let found = catalogue.find("workers").unwrap();
    let mut stack = stack(&found, "", &json!({}));
    stack.parameters["pairing-pin"] = "no pin!".into();
    let findings = stack.check_contexts();
    assert!(
        findings
            .iter()
            .any(|finding| finding.severity == Severity::Error && finding.place.contains("master"))
    );
    assert!(findings.iter().all(|finding| !finding.to_string().contains(SECRET)));
}

#[test]
fn need_a_server_for_the_master_and_each_worker() {
    let (_dir, catalogue) = examples();
    for found in catalogue.read().unwrap().types {
        let needs = stack(&found, "", &json!({"address": false})).needs(crate::quota::Counted::All);
        assert_eq!((needs.instances, needs.volumes, needs.uncounted.len()), (4, 0, 0), "{}", found.id);
        assert_eq!((needs.flavours["m1.small"].servers, needs.flavours["m1.tiny"].servers), (1, 3));
    }
}

#[test]
fn have_the_contexts_of_cloud_init_s_examples() {
    for (ours, theirs) in [
        ("slurm/user_data/master.mime", "slurm-master.mime"),
        ("slurm/user_data/worker.mime", "slurm-slave.mime"),
        ("k3s/user_data/master.yaml", "k3s-master.yaml"),
        ("k3s/user_data/worker.yaml", "k3s-slave.yaml"),
    ] {
        let ours =
            fs::read_to_string(repository().join("packaging/examples/cluster-types").join(ours)).unwrap();
        let filled = ["cvm_cluster_secret=<secret>", "cvm_service_url=<url>", "<trust>"];
        let without: String = ours
            .split_inclusive('\n')
            .filter(|line| !filled.contains(&line.trim_start_matches('#').trim_end()))
            .collect();
        assert_eq!(without.lines().count() + filled.len(), ours.lines().count());
        assert_eq!(
            without,
            fs::read_to_string(repository().join("cloud-init/examples").join(theirs)).unwrap()
        );
    }
}

#[test]
fn differ_in_their_contexts_alone() {
    let component = |id: &str, name: &str| {
        let file = repository().join(format!("packaging/examples/cluster-types/{id}/components/{name}.yaml"));
        fs::read_to_string(file).unwrap().replace(".mime}", ".yaml}")
    };
    for name in ["network", "master", "workers", "address"] {
        for id in ["slurm", "k3s"] {
            assert_eq!(component(id, name), component("workers", name), "{id} {name}");
        }
    }
}
