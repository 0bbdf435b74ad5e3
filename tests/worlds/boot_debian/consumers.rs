//! A context in which everything that reads user-data on a cloud-init machine has a placeholder, and what each of these
//! consumers made of it.
//!
//! Each of them writes what it has got into a file of its own. What runs at every boot writes again at every boot.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use worlds::boot::root::Root;

/// Where the consumers write.
const SEEN: &str = "/var/lib/seen";
/// What cloud-init's later stages read.
const CLOUD_CONFIG: &str = "/var/lib/cloud/instance/cloud-config.txt";
const PLACEHOLDER: &str = "###MASTER_IP_PLACEHOLDER###";

/// The consumers in the order of the table, by the names of their files.
pub(crate) const CONSUMERS: [&str; 19] = [
    "bootcmd",
    "boothook",
    "part_handler_code",
    "part_handler_payload",
    "write_files",
    "write_files_append",
    "write_files_base64",
    "write_files_deferred",
    "runcmd",
    "runcmd_list",
    "runcmd_unquoted",
    "runcmd_other_key",
    "script",
    "script_base64",
    "script_quoted_printable",
    "script_in_archive",
    "script_jinja",
    "script_per_boot",
    "script_per_instance",
];

const CLOUD_CONFIG_PART: &str = r####"#cloud-config
locale: false
ssh_deletekeys: false
ssh_genkeytypes: []
bootcmd:
  - mkdir -p SEEN
  - echo "###MASTER_IP_PLACEHOLDER###" >SEEN/bootcmd
write_files:
  - path: SEEN/write_files
    content: "###MASTER_IP_PLACEHOLDER###"
  - path: SEEN/write_files_append
    append: true
    content: |
      ###MASTER_IP_PLACEHOLDER###
  - path: SEEN/write_files_base64
    encoding: b64
    content: BASE64
  - path: SEEN/write_files_deferred
    defer: true
    content: "###MASTER_IP_PLACEHOLDER###"
runcmd:
  - echo "###MASTER_IP_PLACEHOLDER###" >SEEN/runcmd
  - [ sh, -c, "echo ${0#k=} >SEEN/runcmd_list", "k=###MASTER_IP_PLACEHOLDER###" ]
  - echo ###MASTER_IP_PLACEHOLDER### >SEEN/runcmd_unquoted
  - echo "###JOIN_TOKEN_PLACEHOLDER###" >SEEN/runcmd_other_key
"####;

const PART_HANDLER: &str = r####"#part-handler
def list_types():
    return ["text/x-payload"]

def handle_part(data, content_type, filename, payload):
    if content_type == "__begin__":
        write("part_handler_code", "###MASTER_IP_PLACEHOLDER###")
    elif content_type == "text/x-payload":
        write("part_handler_payload", payload)

def write(name, content):
    import os
    os.makedirs("SEEN", exist_ok=True)
    with open("SEEN/" + name, "w") as file:
        file.write(content)
"####;

/// The parts of a user-data, encoded as users' tools encode them.
struct Parts(String);

impl Parts {
    fn new() -> Self {
        Self("Content-Type: multipart/mixed; boundary=\"=====\"\nMIME-Version: 1.0\n\n".into())
    }

    fn add(&mut self, kind: &str, encoding: &str, body: &str) {
        let head = format!("--=====\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n");
        writeln!(self.0, "{head}{body}").expect("a string takes all");
    }

    fn plain(&mut self, kind: &str, body: &str) {
        self.add(kind, "7bit", &body.replace("SEEN", SEEN));
    }

    fn finish(self) -> String {
        self.0 + "--=====--\n"
    }
}

/// A script that writes what it has got.
fn script(name: &str) -> String {
    format!("#!/bin/sh\nmkdir -p {SEEN}\necho \"{PLACEHOLDER}\" >{SEEN}/{name}\n")
}

/// The slave's context: every consumer, and the section.
pub(crate) fn slave(section: &str) -> String {
    let mut parts = Parts::new();
    parts.plain("text/x-ucernvm", section);
    parts.plain(
        "text/cloud-config",
        &CLOUD_CONFIG_PART.replace("BASE64", &BASE64_STANDARD.encode(PLACEHOLDER)),
    );
    parts.plain("text/part-handler", PART_HANDLER);
    parts.plain("text/x-payload", PLACEHOLDER);
    parts.plain("text/cloud-boothook", &script("boothook"));
    parts.plain("text/x-shellscript", &script("script"));
    parts.add("text/x-shellscript", "base64", &BASE64_STANDARD.encode(script("script_base64")));
    let quoted =
        format!("#!/bin/sh\n# caf=C3=A9\necho \"{PLACEHOLDER}\" =\n>{SEEN}/script_quoted_printable\n");
    parts.add("text/x-shellscript; charset=utf-8", "quoted-printable", &quoted);
    let in_archive = script("script_in_archive").replace('\n', "\n      ");
    parts.plain(
        "text/cloud-config-archive",
        &format!("#cloud-config-archive\n- type: text/x-shellscript\n  content: |\n      {in_archive}\n"),
    );
    let templated = script("script_jinja").replace("echo", "{{ 'echo' }}");
    parts.plain("text/jinja2", &format!("## template: jinja\n{templated}"));
    parts.plain("text/x-shellscript-per-boot", &script("script_per_boot"));
    parts.plain("text/x-shellscript-per-instance", &script("script_per_instance"));
    parts.finish()
}

/// The master's context: it publishes a further key before it is ready.
pub(crate) fn master(section: &str, token: &str) -> String {
    let mut parts = Parts::new();
    parts.plain("text/x-ucernvm", section);
    parts.plain(
        "text/cloud-config",
        &format!(
            "#cloud-config\nlocale: false\nssh_deletekeys: false\nssh_genkeytypes: []\nruncmd:\n\
             \x20 - echo '{token}' | cernvm-cluster-agent publish join_token -\n"
        ),
    );
    parts.finish()
}

/// What a consumer made of its placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has the value.
    Right,
    /// It has the placeholder as it was.
    Placeholder,
    /// It did not run in this boot, or its placeholder was lost.
    Nothing,
    /// It has something else.
    Wrong,
}

impl Outcome {
    fn of(content: Option<&str>, value: &str) -> Self {
        match content.map(str::trim) {
            None | Some("") => Self::Nothing,
            Some(content) if content == value => Self::Right,
            Some(PLACEHOLDER) => Self::Placeholder,
            Some(_) => Self::Wrong,
        }
    }
}

/// Forgets what was seen, so that only what runs again is there after the next boot.
pub(crate) fn forget(root: &Root<'_>) {
    root.sh(&format!("rm -rf {SEEN}"));
}

/// What the consumers have made of a master's address and the token.
pub(crate) fn outcomes(root: &Root<'_>, master: &str, token: &str) -> Vec<Outcome> {
    let outcome = |name: &&str| {
        let value = if *name == "runcmd_other_key" { token } else { master };
        Outcome::of(root.read(&format!("{SEEN}/{name}")).as_deref(), value)
    };
    CONSUMERS.iter().map(outcome).collect()
}

/// Whether the file that cloud-init's later stages read has this address, and no placeholder any more.
pub(crate) fn is_contextualized(root: &Root<'_>, master: &str) -> bool {
    let config = root.read(CLOUD_CONFIG).expect("cloud-init has made it");
    config.contains(master) && !config.contains("_PLACEHOLDER###")
}

/// Whether that file has its placeholders still.
pub(crate) fn is_bare(root: &Root<'_>) -> bool {
    root.read(CLOUD_CONFIG).expect("cloud-init has made it").contains(PLACEHOLDER)
}

/// A table for a person: one row a consumer, one column a boot.
pub(crate) fn table(title: &str, columns: &[(&str, &[Outcome])]) -> String {
    let mut table = format!("{title:26}");
    for (name, _) in columns {
        write!(table, " {name:>12}").expect("a string takes all");
    }
    for (row, consumer) in CONSUMERS.iter().enumerate() {
        write!(table, "\n{consumer:26}").expect("a string takes all");
        for (_, outcomes) in columns {
            let word = match outcomes[row] {
                Outcome::Right => "ok",
                Outcome::Placeholder => "placeholder",
                Outcome::Nothing => "-",
                Outcome::Wrong => "WRONG",
            };
            write!(table, " {word:>12}").expect("a string takes all");
        }
    }
    table
}
