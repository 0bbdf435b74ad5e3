//! What cloud-init runs once per instance with the placeholders that it finds, and whether it has.
//!
//! A boot that ends without the values leaves the placeholders literal, and the config and final stages act on them. At
//! the next boot cloud-init writes the files again and the agent substitutes, but a module with a semaphore does not run
//! again (cloud-init 20.4 to 26.2: `instance/sem/config_<module>`, `sem/config_<module>.once`). So the semaphores tell
//! what a literal placeholder has spoiled, and removing one makes cloud-init run the module again.

use std::path::PathBuf;

use context::document::Document;
use context::placeholder;

use super::cloud_init::{Instance, entries};
use crate::record::Placeholders;

/// The modules that a top-level key of a cloud-config makes act, where they are not named after it.
const MODULES: [(&str, &[&str]); 13] = [
    // The config stage writes a script, which the final stage runs.
    ("runcmd", &["runcmd", "scripts_user"]),
    // It runs at every boot, and before the agent.
    ("bootcmd", &[]),
    ("packages", &["package_update_upgrade_install"]),
    ("chpasswd", &["set_passwords"]),
    ("password", &["set_passwords"]),
    ("users", &["users_groups"]),
    ("groups", &["users_groups"]),
    ("ssh_authorized_keys", &["ssh"]),
    ("apt", &["apt_configure"]),
    ("yum_repos", &["yum_add_repo"]),
    ("fs_setup", &["disk_setup"]),
    ("power_state", &["power_state_change"]),
    // What it wrote is substituted in place, except for deferred entries.
    ("write_files", &[]),
];
const DEFERRED: &str = "write_files_deferred";

/// The placeholders that each module would find now.
pub(super) fn consumers(instance: &Instance) -> Placeholders {
    let mut found = Placeholders::new();
    for name in super::cloud_init::CONFIGURATIONS {
        let config = std::fs::read(instance.dir.join(name)).unwrap_or_default();
        in_cloud_config(&String::from_utf8_lossy(&config), &mut found);
    }
    for (directory, module) in [
        (instance.dir.join("scripts"), "scripts_user"),
        (instance.dir.join("scripts/vendor"), "scripts_vendor"),
        (instance.cloud_dir.join("scripts/per-instance"), "scripts_per_instance"),
        (instance.cloud_dir.join("scripts/per-once"), "scripts_per_once"),
    ] {
        for file in entries(&directory).into_iter().filter(|file| file.is_file()) {
            let Ok(document) = Document::read(&file) else { continue };
            // The config stage of an earlier boot wrote it; the key of the cloud-config stands for it.
            if !file.ends_with("scripts/runcmd") {
                add(&mut found, module, document.placeholders().iter().map(ToString::to_string));
            }
        }
    }
    found
}

fn add(found: &mut Placeholders, module: &str, names: impl Iterator<Item = String>) {
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        found.entry(module.to_owned()).or_default().extend(names);
    }
}

/// cloud-init's own dump has each top-level key in the first column, and the entries of a list after `-` in it.
fn in_cloud_config(dump: &str, found: &mut Placeholders) {
    let mut key = "";
    let mut entry: Vec<&str> = Vec::new();
    for line in dump.lines().chain(["end:"]) {
        let is_key =
            line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '"' || first == '\'');
        if is_key || line.starts_with('-') {
            of_entry(key, &entry, found);
            entry.clear();
        }
        if let Some((name, _)) = line.split_once(':').filter(|_| is_key) {
            key = name.trim_matches(['"', '\'']);
        }
        entry.push(line);
    }
}

fn of_entry(key: &str, lines: &[&str], found: &mut Placeholders) {
    let names: Vec<String> = lines
        .iter()
        .flat_map(|line| placeholder::find(line.as_bytes()).map(|found| found.placeholder.to_string()))
        .collect();
    if names.is_empty() || key.is_empty() {
        return;
    }
    let named_after_it = key.replace('-', "_");
    let own: &[&str] = &[named_after_it.as_str()];
    let is_deferred = |line: &&str| line.trim_start_matches(['-', ' ']) == "defer: true";
    let modules = match MODULES.iter().find(|(name, _)| *name == key) {
        Some(("write_files", _)) if lines.iter().any(is_deferred) => &[DEFERRED],
        Some((_, modules)) => *modules,
        None => own,
    };
    for module in modules {
        add(found, module, names.iter().cloned());
    }
}

/// The semaphores that keep a module from running again.
pub(super) fn semaphores(instance: &Instance, module: &str) -> Vec<PathBuf> {
    let per_instance = instance.dir.join("sem").join(format!("config_{module}"));
    let once = instance.cloud_dir.join("sem").join(format!("config_{module}.once"));
    [per_instance, once].into_iter().filter(|semaphore| semaphore.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_module_of_each_placeholder_in_cloud_inits_dump() {
        let dump = "#cloud-config\n\n# from 1 files\n\n---\nbootcmd:\n- echo '###MASTER_IP_PLACEHOLDER###'\n\
            chpasswd:\n    list: 'root:###PW_PLACEHOLDER###'\nntp:\n    servers:\n    - '###MASTER_IP_PLACEHOLDER###'\n\
            runcmd:\n- echo one\n-   - join\n    - '###TOKEN_PLACEHOLDER###'\ntimezone: UTC\nwrite_files:\n\
            -   content: '###NOW_PLACEHOLDER###'\n    path: /etc/one\n-   content: '###LATER_PLACEHOLDER###'\n\
            \u{20}   defer: true\n    path: /etc/two\n...\n";
        let mut found = Placeholders::new();
        in_cloud_config(dump, &mut found);
        let lines: Vec<String> = found
            .iter()
            .map(|(module, names)| {
                format!("{module} {}", names.iter().cloned().collect::<Vec<_>>().join(" "))
            })
            .collect();
        let expected = [
            "ntp ###MASTER_IP_PLACEHOLDER###",
            "runcmd ###TOKEN_PLACEHOLDER###",
            "scripts_user ###TOKEN_PLACEHOLDER###",
            "set_passwords ###PW_PLACEHOLDER###",
            "write_files_deferred ###LATER_PLACEHOLDER###",
        ];
        assert_eq!(lines, expected);
    }
}
