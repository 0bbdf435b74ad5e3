use super::*;
use protocol::Secret;
use protocol::url::ServiceUrl;

fn settings(role: Role, pin: &str, urls: &[&str]) -> Settings {
    let services = urls.iter().map(|url| ServiceUrl::parse(url, false).unwrap()).collect();
    Settings { role, services, ..crate::testing::settings(pin) }
}

const PIN: &str = "enico1qq0oey";
const URL: &str = "http://pair:8000";

fn ours() -> Settings {
    settings(Role::Slave, PIN, &[URL])
}

fn sealed(secret: u8) -> Settings {
    Settings { secret: Some(Secret::from_bytes([secret; 32])), ..ours() }
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A directory with the cache of one instance.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn binding(&self, instance: &str) -> Binding {
        Binding { file: self.0.path().join("cache.json"), instance: instance.to_owned() }
    }

    fn open(&self, instance: &str, settings: &Settings) -> Cache {
        Cache::open(
            &Root::from(self.0.path().as_os_str().to_owned()),
            Some(&self.binding(instance)),
            settings,
        )
    }

    fn write(&self, bytes: &[u8]) {
        std::fs::write(self.binding("").file, bytes).unwrap();
    }
}

#[test]
fn gives_back_what_this_instance_kept() {
    let disk = Disk::new();
    disk.open("i-1", &ours()).learn(&values(&[("master_ip", "10.0.0.5"), ("token", "abc")]));
    disk.open("i-1", &ours()).learn(&values(&[("token", "new")]));
    let kept = values(&[("master_ip", "10.0.0.5"), ("token", "new")]);
    assert_eq!(disk.open("i-1", &ours()).values(), &kept);
    // Another URL beside the one that it came from changes nothing.
    let more = settings(Role::Slave, PIN, &["http://other", URL]);
    assert_eq!(disk.open("i-1", &more).values(), &kept);
}

#[test]
fn keeps_no_value_of_a_master_that_was_replaced() {
    let disk = Disk::new();
    disk.open("i-1", &ours()).learn(&values(&[("master_ip", "10.0.0.5"), ("token", "abc")]));
    disk.open("i-1", &ours()).learn(&values(&[("master_ip", "10.0.0.6")]));
    assert_eq!(disk.open("i-1", &ours()).values(), &values(&[("master_ip", "10.0.0.6")]));
}

#[test]
fn gives_nothing_to_a_clone_or_for_another_context() {
    let disk = Disk::new();
    disk.open("i-1", &ours()).learn(&values(&[("master_ip", "10.0.0.5")]));
    let nothing = values(&[]);
    assert_eq!(disk.open("i-2", &ours()).values(), &nothing, "another instance");
    for (what, other) in [
        ("another pin", settings(Role::Slave, "enico1qq0oez", &[URL])),
        ("another URL", settings(Role::Slave, PIN, &["http://pair:8001"])),
        ("a secret", sealed(1)),
        ("another role", settings(Role::Master, PIN, &[URL])),
    ] {
        assert_eq!(disk.open("i-1", &other).values(), &nothing, "{what}");
    }
    assert!(Cache::open(&Root::default(), None, &ours()).values().is_empty());
    disk.open("i-1", &sealed(1)).learn(&values(&[("master_ip", "10.0.0.5")]));
    for (what, other) in [("no secret", ours()), ("another secret", sealed(2))] {
        assert_eq!(disk.open("i-1", &other).values(), &nothing, "{what}");
    }
    assert_eq!(disk.open("i-1", &sealed(1)).values().len(), 1);
}

#[test]
fn keeps_what_reports_need_for_this_machine_alone() {
    let disk = Disk::new();
    disk.open("i-1", &ours()).note_node(|node| node.service = Some(URL.to_owned()));
    assert_eq!(disk.open("i-1", &ours()).node().service.as_deref(), Some(URL));
    assert_eq!(disk.open("i-2", &ours()).node(), &Node::default());
}

#[test]
fn keeps_no_secret() {
    let disk = Disk::new();
    disk.open("i-1", &sealed(1)).learn(&values(&[("master_ip", "10.0.0.5")]));
    let kept = std::fs::read_to_string(disk.binding("").file).unwrap();
    assert!(!kept.contains(&Secret::from_bytes([1; 32]).reveal()), "{kept}");
}

#[test]
fn tells_a_master_that_it_is_a_clone_of_the_clusters() {
    let disk = Disk::new();
    let master = settings(Role::Master, PIN, &[URL]);
    disk.open("i-1", &master).keep(MasterRecord::default());
    assert_eq!(disk.open("i-1", &master).record(), &MasterRecord::default());
    assert_eq!(disk.open("i-2", &master).record(), &MasterRecord::of_clone());
    // It stays one when it keeps something itself.
    let mut clone = disk.open("i-2", &master);
    let record = clone.record().clone();
    clone.keep(record);
    assert_eq!(disk.open("i-2", &master).record(), &MasterRecord::of_clone());
    let other = settings(Role::Master, "enico1qq0oez", &[URL]);
    assert_eq!(disk.open("i-3", &other).record(), &MasterRecord::default(), "another cluster");
}

#[test]
fn one_value_that_is_unsafe_does_not_take_away_the_others() {
    let disk = Disk::new();
    disk.write(
        br#"{"version":2,"role":"slave","instance":"i-1","pin":"enico1qq0oey","services":["http://pair:8000"],
            "values":{"master_ip":"10.0.0.5","token":"$(reboot)"}}"#,
    );
    assert_eq!(disk.open("i-1", &ours()).values(), &values(&[("master_ip", "10.0.0.5")]));
}

#[test]
fn reads_the_first_format_for_a_slave_and_ignores_later_ones() {
    let disk = Disk::new();
    let file = |version: u32| {
        format!(
            r#"{{"version":{version},"instance":"i-1","pin":"{PIN}","services":["{URL}"],"values":{{"master_ip":"10.0.0.5"}}}}"#
        )
    };
    disk.write(file(1).as_bytes());
    assert_eq!(disk.open("i-1", &ours()).values(), &values(&[("master_ip", "10.0.0.5")]));
    let master = settings(Role::Master, PIN, &[URL]);
    assert!(disk.open("i-1", &master).values().is_empty());
    assert!(!disk.open("i-1", &master).record().was_confirmed());
    disk.write(file(3).as_bytes());
    assert!(disk.open("i-1", &ours()).values().is_empty());
}

#[test]
fn gives_nothing_from_a_broken_file() {
    let disk = Disk::new();
    disk.open("i-1", &ours()).learn(&values(&[("master_ip", "10.0.0.5"), ("token", "abc")]));
    let whole = std::fs::read(disk.binding("").file).unwrap();
    for cut in 0..whole.len() {
        disk.write(&whole[..cut]);
        assert!(disk.open("i-1", &ours()).values().is_empty(), "{cut} bytes");
    }
    disk.write(&vec![b' '; 1 << 22]);
    assert!(disk.open("i-1", &ours()).values().is_empty());
}
