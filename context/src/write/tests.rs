use super::*;
use crate::yaml;

const PIN: &str = "ipfkrhe25pku";

fn written(context: &str, role: Role) -> Result<String, Error> {
    let pin = Pin::parse(PIN).unwrap();
    let service = ServiceUrl::parse("https://pair.example.org", false).unwrap();
    let trust = ServiceIdentity::Fingerprint(format!("sha256:{}", "ab".repeat(32)));
    ContextWriter { pin: &pin, secret: None, service: &service, trust }.write("f", context, role)
}

fn sealed(context: &str, secret: &Secret) -> String {
    let pin = Pin::parse(PIN).unwrap();
    let service = ServiceUrl::parse("http://pair.example.org", false).unwrap();
    let cluster =
        ContextWriter { pin: &pin, secret: Some(secret), service: &service, trust: ServiceIdentity::Public };
    cluster.write("f", context, Role::Master).unwrap()
}

#[test]
fn writes_the_secret_and_leaves_no_earlier_one() {
    let [secret, another] = [[1; 32], [2; 32]].map(Secret::from_bytes);
    let text = sealed("x\n", &secret);
    let line = |secret: &Secret| format!("cvm_cluster_secret={}\n", secret.reveal());
    assert!(text.contains(&line(&secret)), "{text}");
    let text = sealed(&text, &another);
    assert!(text.contains(&line(&another)) && !text.contains(&secret.reveal()), "{text}");
    let clear = written(&text, Role::Slave).unwrap();
    assert!(!clear.contains("cvm_cluster_secret"), "{clear}");
}

/// One section, the new settings and no old ones, and whatever was YAML stays YAML with the same tree.
#[track_caller]
fn check(context: &str) -> String {
    let mut slaves = String::new();
    for role in [Role::Master, Role::Slave] {
        let text = written(context, role).unwrap();
        assert_eq!(text.matches(BEGIN).count(), 1, "{text}");
        assert_eq!(text.matches(PIN).count(), 1, "{text}");
        assert!(!text.contains("<pin>") && !text.contains("enico1qq0oey"), "{text}");
        assert_eq!(text.contains("cvm_cluster_master"), role == Role::Master, "{text}");
        // Written once more, it stays the same.
        assert_eq!(written(&text, role).unwrap(), text);
        if context.starts_with("#cloud-config") {
            let tree = |text: &str| format!("{:?}", yaml::parse(text).unwrap().as_ref().map(without_places));
            assert_eq!(tree(context), tree(&text));
        }
        slaves = text;
    }
    slaves
}

fn without_places(node: &yaml::Node) -> Vec<String> {
    match node {
        yaml::Node::Scalar(scalar) => vec![scalar.text.clone()],
        yaml::Node::Sequence(items) => items.iter().flat_map(without_places).collect(),
        yaml::Node::Mapping(pairs) => pairs
            .iter()
            .flat_map(|(key, value)| [vec![key.text.clone()], without_places(value)].concat())
            .collect(),
    }
}

#[test]
fn writes_into_every_shipped_example() {
    for (name, context) in [
        ("htcondor-master", include_str!("../../../cloud-init/examples/htcondor-master.mime")),
        ("htcondor-slave", include_str!("../../../cloud-init/examples/htcondor-slave.mime")),
        ("k3s-master", include_str!("../../../cloud-init/examples/k3s-master.yaml")),
        ("k3s-slave", include_str!("../../../cloud-init/examples/k3s-slave.yaml")),
        ("slurm-master", include_str!("../../../cloud-init/examples/slurm-master.mime")),
        ("slurm-slave", include_str!("../../../cloud-init/examples/slurm-slave.mime")),
        ("amiconfig-master", include_str!("../../../cloud-init/examples/amiconfig-master.txt")),
        ("amiconfig-slave", include_str!("../../../cloud-init/examples/amiconfig-slave.txt")),
    ] {
        check(context);
        // Without a section it gets one.
        let section: String = context
            .split_inclusive('\n')
            .filter(|line| !line.contains("ucernvm-") && !line.contains("cvm_cluster_"))
            .collect();
        let text = check(&section);
        assert_eq!(text.contains("#[ucernvm-begin]"), context.starts_with('#'), "{name}");
    }
}

#[test]
fn replaces_old_values_and_keeps_the_other_settings() {
    let old = "x\n[ucernvm-begin]\nCVM_CLUSTER_PIN = enico1qq0oey\ncvm_cluster_timeout=5\n#cvm_x\ncvm_service_ca=AA\n[ucernvm-end]\ny\n[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm-end]\nz\n";
    let text = check(old);
    assert_eq!(
        text,
        format!(
            "x\n[ucernvm-begin]\ncvm_cluster_pin={PIN}\ncvm_service_url=https://pair.example.org\ncvm_service_fingerprint=sha256:{}\ncvm_cluster_timeout=5\n#cvm_x\n[ucernvm-end]\ny\nz\n",
            "ab".repeat(32)
        )
    );
    check("#cloud-config\n # [ucernvm-begin]\n # cvm_cluster_pin=enico1qq0oey\n # [ucernvm-end]\na: b\n");
}

#[test]
fn finds_a_place_in_every_format() {
    assert!(check("").starts_with(BEGIN));
    assert!(check("[amiconfig]\nplugins=cernvm").contains("cernvm\n\n[ucernvm-begin]"));
    assert!(check("#!/bin/sh\necho\n").starts_with("#!/bin/sh\n#[ucernvm-begin]"));
    assert!(check("#cloud-config").starts_with("#cloud-config\n#[ucernvm-begin]"));
    let mime = "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n\nx\n--b--\n";
    assert!(check(mime).contains("x\n--b\nContent-Type: text/ucernvm"));
}

/// Every file of the tests' cases, which have errors of many kinds: the writer refuses it with what to do, or writes
/// what its reader takes, and adds no error of `check` to those that the file has.
#[test]
fn writes_into_every_case_or_refuses_it() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cases");
    let (mut wrote, mut refused) = (0, Vec::new());
    let directories = [directory.join("mime"), directory];
    for entry in directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap()) {
        let path = entry.unwrap().path();
        // `contexts` refuses what is no UTF-8.
        let Ok(context) = std::fs::read_to_string(&path) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for role in [Role::Master, Role::Slave] {
            let text = match written(&context, role) {
                Ok(text) => text,
                Err(error) => {
                    refused.push(format!("{name}: {}", error.problem()));
                    continue;
                }
            };
            wrote += 1;
            assert_eq!(written(&text, role).unwrap(), text, "{name}: a second run changes nothing");
            assert_eq!(text.matches(PIN).count(), 1, "{name}: {text}");
            let errors = |text: &str| {
                let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
                let findings = crate::check::check_document(&document);
                let errors = findings.into_iter().filter(|f| f.severity == crate::check::Severity::Error);
                errors.map(|finding| finding.what).collect::<Vec<_>>()
            };
            let before = errors(&context);
            let added: Vec<_> = errors(&text).into_iter().filter(|what| !before.contains(what)).collect();
            assert!(added.is_empty(), "{name} {role:?}: {added:?}\n{text}");
        }
    }
    assert!(wrote > 60, "{wrote}");
    refused.sort();
    refused.dedup();
    // The section of nearly all MIME cases is in base64.
    let is_encoded = |refused: &String| refused.contains("this section is encoded");
    assert!(refused.iter().any(|refused| refused.starts_with("03-base64-whole.txt") && is_encoded(refused)));
    refused.retain(|refused| !is_encoded(refused));
    let beginnings = [
        "22d-nbsp-before-marker.txt: \"\\u{a0}[ucernvm-begin]\" is not the line",
        "22l-timeout-25m.txt: cvm_cluster_timeout is not",
        "22m-hostname-master.txt: cvm_cluster_master_ip is no",
        "single-quoted.mime: its last boundary",
    ];
    assert!(
        refused.len() == beginnings.len()
            && refused.iter().zip(beginnings).all(|(refused, beginning)| refused.starts_with(beginning)),
        "{refused:?}"
    );
}

#[test]
fn refuses_what_it_cannot_write_into() {
    for context in
        ["[ucernvm-begin]\ncvm_cluster_pin=x\n", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n"]
    {
        assert!(written(context, Role::Slave).is_err(), "{context}");
    }
}
