//! The µCernVM boot loader's builder: it makes one `/init` out of a tree of scripts.
//!
//! It follows what the builder of cernvm-micro does (`include/functions.sh`, `process_file`): every script has a BUILD
//! and a RUN part; lines are trimmed, those that are empty or begin with `#` are dropped; BUILD runs in bash on the
//! building machine with `require_package` and `DESTDIR`, RUN is appended to `/init`, so that all scripts share a shell.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a BUILD part may call: copying the tree of a package into the initramfs as it is.
const HELPERS: &str = r#"
require_package() {
    [ -d "${BASEDIR}/packages.d/$1" ] || { echo "there is no package $1" >&2; exit 1; }
    cp -a "${BASEDIR}/packages.d/$1/." "${DESTDIR}/"
}
"#;

/// Builds `DESTDIR/init` out of the tree `base`, and runs every script's BUILD part.
///
/// # Panics
/// When a BUILD part fails.
pub fn build(base: &Path, destdir: &Path) {
    let mut init = fs::read_to_string(base.join("include/runtime-init.sh")).expect("every tree has it");
    for script in scripts(base) {
        let text = fs::read_to_string(&script).expect("it was listed");
        let Parts { build, run } = split(&text);
        init.push_str(&run);
        let status = Command::new("bash")
            .args(["-c", &format!("{HELPERS}\n{build}")])
            .current_dir(base)
            .envs([("BASEDIR", base), ("DESTDIR", destdir)])
            .status();
        let status = status.expect("bash starts");
        assert!(status.success(), "the BUILD part of {}: {status}", script.display());
    }
    fs::write(destdir.join("init"), init).expect("the initramfs can be written");
    let status = Command::new("chmod").arg("755").arg(destdir.join("init")).status();
    assert!(status.is_ok_and(|status| status.success()), "chmod");
}

/// The scripts in their order.
fn scripts(base: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(base.join("scripts.d")).expect("every tree has scripts");
    let mut scripts: Vec<PathBuf> = listed.map(|entry| entry.expect("it can be listed").path()).collect();
    scripts.sort();
    scripts
}

/// The two halves of a script.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    build: String,
    run: String,
}

fn split(script: &str) -> Parts {
    let (mut build, mut run) = (String::new(), String::new());
    let mut current: Option<&mut String> = None;
    // The first line names an interpreter that is not used.
    for line in script.lines().skip(1).map(str::trim) {
        match line.strip_prefix('#').map(|rest| rest.trim_start().strip_prefix("FOR:")) {
            Some(Some("BUILD")) => current = Some(&mut build),
            Some(Some("RUN")) => current = Some(&mut run),
            Some(_) => {}
            None if line.is_empty() => {}
            None => {
                if let Some(part) = current.as_deref_mut() {
                    writeln!(part, "{line}").expect("a string takes all");
                }
            }
        }
    }
    Parts { build, run }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_trimmed_and_rid_of_comments() {
        let script = "#!/bin/sh\n#====\n#FOR:BUILD\n#====\n  require_package x\n\n# FOR:RUN\n\tif a; then\n\t  # why\n\tb # c\nfi\n";
        let expected = Parts { build: "require_package x\n".into(), run: "if a; then\nb # c\nfi\n".into() };
        assert_eq!(split(script), expected);
    }
}
