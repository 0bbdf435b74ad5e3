//! The contexts that the page makes of a person's own, and what it keeps from the service.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;
use worlds::binaries;
use worlds::browser::{Browser, ENTER};
use worlds::relay;
use worlds::service::Service;
use worlds::wait::until;

use crate::{make_pin, open_pin};

fn secret_of(context: &str) -> Option<String> {
    let line =
        context.lines().find_map(|line| line.trim_start_matches('#').strip_prefix("cvm_cluster_secret="))?;
    Some(line.to_owned())
}

/// Gives a role a context as someone does who pastes it.
fn paste(browser: &Browser, role: &str, context: &str) {
    browser.script(&format!(
        "const data = new DataTransfer(); data.setData('text', {}); const area = document.getElementById('{role}');
         area.focus(); area.select();
         const event = new ClipboardEvent('paste', {{ clipboardData: data, bubbles: true, cancelable: true }});
         if (area.dispatchEvent(event)) document.execCommand('insertText', false, data.getData('text'))",
        json!(context)
    ));
}

/// Waits until a role's context is as it should be, and gives it.
fn context_when(browser: &Browser, role: &str, what: &str, is: impl Fn(&str) -> bool) -> String {
    until(&format!("the {role}'s context {what}"), || Some(browser.value(role)).filter(|text| is(text)))
}

#[test]
fn what_a_person_has_written_stays_and_old_values_go() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    let secret = secret_of(&browser.value("master")).expect("the contexts are sealed");
    let context = "#cloud-config\n#[ucernvm-begin]\n#cvm_cluster_pin=enico1qq0oey\n#cvm_cluster_secret=of-another-cluster\n\
                   #cvm_cluster_timeout=60\n#[ucernvm-end]\nruncmd:\n- [join, '###MASTER_IP_PLACEHOLDER###']\n";
    paste(&browser, "slave", context);
    let filled = context_when(&browser, "slave", "has this pin", |text| {
        text.contains(&pin) && text.contains("runcmd")
    });
    assert_eq!(
        filled,
        format!(
            "#cloud-config\n#[ucernvm-begin]\n#cvm_cluster_pin={pin}\n#cvm_cluster_secret={secret}\n\
             #cvm_service_url={}\n#cvm_cluster_timeout=60\n#[ucernvm-end]\nruncmd:\n- [join, '###MASTER_IP_PLACEHOLDER###']\n",
            service.url()
        )
    );
    // A second paste, over a part of it.
    paste(&browser, "slave", "#!/bin/sh\njoin ###MASTER_IP_PLACEHOLDER###\n");
    let script = context_when(&browser, "slave", "is the script", |text| {
        text.starts_with("#!/bin/sh\n#[ucernvm-begin]\n")
    });
    assert!(script.ends_with("#[ucernvm-end]\njoin ###MASTER_IP_PLACEHOLDER###\n"), "{script}");
    // An emptied field gets the starter again.
    browser.enter("slave");
    browser.press("\u{e017}");
    browser.click("#copy-slave");
    context_when(&browser, "slave", "is the starter", |text| text.starts_with("[example_section]\n"));
}

#[test]
fn findings_name_their_lines_and_lead_there() {
    let service = Service::start();
    let browser = Browser::start();
    make_pin(&browser, &service);
    paste(&browser, "slave", "#!/bin/sh\njoin ###MASTER-IP_PLACEHOLDER###\n");
    browser.wait_for("slave-findings", "###MASTER-IP_PLACEHOLDER### is no placeholder");
    let line = 1 + context_when(&browser, "slave", "is filled in", |text| text.contains("ucernvm-end"))
        .lines()
        .position(|line| line.starts_with("join"))
        .expect("the line is there");
    let marked = format!("#slave-lines span:nth-child({line})");
    browser.wait_until(
        "the line stands out",
        &format!("return document.querySelector('{marked}').className !== ''"),
    );
    let button = format!(
        "[...document.querySelectorAll('#slave-findings button')].find((it) => it.innerText === 'Line {line}')"
    );
    browser.script(&format!("{button}.click()"));
    let selected = browser.script(
        "const it = document.activeElement; return it.value.slice(it.selectionStart, it.selectionEnd)",
    );
    assert_eq!(selected, "join ###MASTER-IP_PLACEHOLDER###");
    // What cannot be filled in stays as it is, and says why.
    paste(&browser, "master", "[ucernvm-begin]\ncvm_cluster_pin=x\n");
    browser.wait_for("master-findings", "[ucernvm-begin] has no [ucernvm-end]");
    assert_eq!(browser.value("master"), "[ucernvm-begin]\ncvm_cluster_pin=x\n");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_file_is_opened_and_the_result_is_copied_and_downloaded() {
    let service = Service::with(&["--public-url", "https://pair.example.org"]);
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    let dir = TempDir::new().expect("a temporary directory can be made");
    let own = dir.path().join("mine.yaml");
    fs::write(&own, "#cloud-config\nruncmd:\n- [join, '###MASTER_IP_PLACEHOLDER###']\n")
        .expect("it can be written");
    browser.choose("slave-file", &own);
    let slave = context_when(&browser, "slave", "is the file's", |text| {
        text.contains("runcmd") && text.contains(&pin)
    });
    assert!(slave.starts_with("#cloud-config\n#[ucernvm-begin]\n"), "{slave}");
    // Another is dropped on the master's.
    browser.script(
        "const data = new DataTransfer(); data.items.add(new File(['#!/bin/sh\\ntrue\\n'], 'boot.sh'));
         document.getElementById('master').dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }))",
    );
    let start = "#!/bin/sh\n#[ucernvm-begin]\n#cvm_cluster_master=yes\n";
    context_when(&browser, "master", "is the file's", |text| text.starts_with(start));
    for role in ["master", "slave"] {
        browser.click(&format!("#save-{role}"));
        let saved = browser.downloaded(&format!("{role}-context.txt"));
        assert_eq!(saved, browser.value(role));
        let path = dir.path().join(role);
        fs::write(&path, saved).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is the test's own");
    }
    // What was downloaded passes the check of the agent.
    let mut check = Command::new(binaries::agent());
    check.env_clear().current_dir(dir.path()).args(["check", "master", "slave"]);
    let output = check.output().expect("the agent can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("2 files, 0 errors"), "{said}");

    browser.tab_to("#copy-slave");
    browser.press(ENTER);
    browser.wait_for("copy-slave", "Copied");
    assert_eq!(clipboard(&browser), slave);
    browser.click("[value=qemu]");
    browser.click("#copy-commands");
    browser.wait_for("copy-commands", "Copied");
    let commands = clipboard(&browser);
    for file in ["master-context.txt", "slave-context.txt", "instance-id: %s"] {
        assert!(commands.contains(file), "{commands}");
    }
}

/// What a person gets who pastes now.
fn clipboard(browser: &Browser) -> String {
    browser.script("document.querySelector('main').append(Object.assign(document.createElement('textarea'), { id: 'probe' }))");
    browser.enter("probe");
    browser.press_with_control("v");
    let text = until("something is pasted", || Some(browser.value("probe")).filter(|text| !text.is_empty()));
    browser.script("document.getElementById('probe').remove()");
    text
}

#[test]
fn launch_commands_are_a_shells_and_count_the_slaves() {
    let service = Service::start();
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.enter("slaves");
    browser.press("12");
    for (tool, count) in [("openstack", "--max 12 "), ("libvirt", "seq 12"), ("qemu", "seq 12")] {
        browser.click(&format!("[value={tool}]"));
        browser.wait_for("commands", count);
        let check = Command::new("bash").args(["-n", "-c", &browser.text("commands")]).output();
        let check = check.expect("bash can be started");
        assert!(check.status.success(), "{tool}: {}", String::from_utf8_lossy(&check.stderr));
    }
}

/// A directory with what the page's commands expect: both contexts, as they are downloaded, and an image.
fn launch_directory(browser: &Browser) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory can be made");
    for role in ["master", "slave"] {
        browser.click(&format!("#save-{role}"));
        let file = format!("{role}-context.txt");
        fs::write(dir.path().join(&file), browser.downloaded(&file)).expect("it can be written");
    }
    run_in(&dir, "qemu-img create -q -f qcow2 IMAGE.qcow2 1G");
    dir
}

/// Runs commands as a person does who pastes them into a shell. Gives what they print.
fn run_in(dir: &TempDir, commands: &str) -> String {
    let mut bash = Command::new("bash");
    // libvirt's own test driver: a host on which machines are defined and started, and none runs.
    bash.env("LIBVIRT_DEFAULT_URI", "test:///default").current_dir(dir.path());
    let ran = bash.args(["-euo", "pipefail", "-c", commands]).output().expect("bash can be started");
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(ran.status.success(), "{commands}\n{said}");
    said
}

#[test]
fn the_commands_for_virt_install_make_and_start_each_machine() {
    let service = Service::start();
    let browser = Browser::start();
    make_pin(&browser, &service);
    let dir = launch_directory(&browser);
    browser.enter("slaves");
    browser.press("2");
    browser.click("[value=libvirt]");
    browser.wait_for("commands", "seq 2)");
    let said = run_in(&dir, &browser.text("commands"));
    assert_eq!(said.matches("Domain creation completed.").count(), 3, "{said}");
    let meta = fs::read_to_string(dir.path().join("slave2-meta")).expect("it was made");
    assert_eq!(meta, "instance-id: slave2\nlocal-hostname: slave2\n");
}

/// They run as they are but for what this machine may not have: KVM and libvirt's bridge. The machines stop before their
/// first instruction, since the image is empty.
#[test]
fn the_commands_for_qemu_make_seeds_and_disks_and_start_each_machine() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    let dir = launch_directory(&browser);
    browser.enter("slaves");
    browser.press("2");
    browser.click("[value=qemu]");
    browser.wait_for("commands", "seq 2)");
    let mut commands = browser.text("commands");
    for (here, instead) in
        [("-enable-kvm", "-accel tcg -S -pidfile $(mktemp -u XXXX.pid)"), ("bridge,br=virbr0,", "user,")]
    {
        assert!(commands.contains(here), "{commands}");
        commands = commands.replace(here, instead);
    }
    run_in(&dir, &commands);
    let ended = run_in(&dir, "pids=$(cat *.pid); kill $pids; wc -w <<<$pids");
    assert_eq!(ended.trim(), "3");
    for name in ["master", "slave1", "slave2"] {
        let seed = fs::read(dir.path().join(format!("{name}-seed.img"))).expect("it was made");
        let has = |word: &str| seed.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        assert!(has(&pin) && has(&format!("local-hostname: {name}")), "{name}");
        assert!(dir.path().join(format!("{name}.qcow2")).exists(), "{name}");
    }
}

#[test]
fn no_secret_is_sent_to_the_service() {
    let service = Service::start();
    let proxy = relay::recorded(service.api());
    let browser = Browser::start();
    browser.open(&format!("{}/cluster_pairing", proxy.url()));
    browser.click("#create");
    let master = context_when(&browser, "master", "is sealed", |text| secret_of(text).is_some());
    let secret = secret_of(&master).expect("it is sealed");
    assert_eq!(secret.len(), 43);
    let pin = browser.value("pin");

    // A context with it, and one of another cluster with that one's.
    paste(&browser, "master", &format!("# {secret}\n{master}"));
    context_when(&browser, "master", "is filled in", |text| {
        text.starts_with(&format!("# {secret}\n[ucernvm-begin]"))
    });
    let other = "oS3cr3tOfAnotherCluster_-AAAAAAAAAAAAAAAAAA";
    let context = format!(
        "x\n[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\ncvm_cluster_secret={other}\n[ucernvm-end]\n"
    );
    paste(&browser, "slave", &context);
    let slave =
        context_when(&browser, "slave", "has this pin", |text| text.starts_with('x') && text.contains(&pin));
    assert_eq!(secret_of(&slave), Some(secret.clone()));

    // One of this cluster brings its own.
    paste(&browser, "slave", &context.replace("enico1qq0oey", &pin));
    context_when(&browser, "master", "has the other secret", |text| {
        secret_of(text).as_deref() == Some(other)
    });
    context_when(&browser, "slave", "has the other secret", |text| secret_of(text).as_deref() == Some(other));

    // Where it is encoded, nothing is sent at all.
    let before = proxy.seen().len();
    let encoded = STANDARD.encode(&slave);
    paste(&browser, "slave", &format!("Content-Transfer-Encoding: base64\n\n{encoded}\n"));
    browser.wait_for("slave-findings", "An encoded part has a cvm_cluster_secret");
    assert!(proxy.seen()[before..].iter().all(|seen| !seen.path.ends_with("/contexts")));

    // Without a seal there is none, and a new seal has a new one.
    browser.click("#another");
    browser.click("#create");
    context_when(&browser, "slave", "is sealed", |text| secret_of(text).is_some());
    browser.click("#sealed");
    context_when(&browser, "slave", "is not sealed", |text| {
        secret_of(text).is_none() && text.contains("ucernvm")
    });
    browser.click("#sealed");
    let again = context_when(&browser, "slave", "is sealed again", |text| secret_of(text).is_some());
    let again = secret_of(&again).expect("it is sealed");
    assert!(again != secret && again != other);
    for seen in proxy.seen() {
        let body = String::from_utf8_lossy(&seen.body);
        let all = format!("{} {:?} {body}", seen.path, seen.headers);
        for secret in [&secret, other, &again] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Base64 in lines, as MIME has it.
fn wrapped(bytes: &[u8]) -> String {
    let lines = STANDARD.encode(bytes).into_bytes();
    lines.chunks(76).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
}

/// The page looks into what is encoded or compressed. Where it cannot, or finds a secret, nothing is sent at all.
#[test]
fn a_secret_in_a_part_that_is_encoded_or_compressed_is_not_sent() {
    let service = Service::start();
    let proxy = relay::recorded(service.api());
    let browser = Browser::start();
    browser.open(&format!("{}/cluster_pairing", proxy.url()));
    browser.click("#create");
    let own = context_when(&browser, "slave", "is sealed", |text| secret_of(text).is_some());
    let secret = secret_of(&own).expect("it is sealed");
    let asked = || proxy.seen().iter().filter(|seen| seen.path.ends_with("/contexts")).count();
    let part =
        |encoded: &str| format!("Content-Type: text/x\nContent-Transfer-Encoding: base64\n\n{encoded}");
    let mut cut = gzip(&own);
    cut.truncate(cut.len() / 2);
    let broken = own.replace(&secret, &format!("3D{}=\n{}", &secret[..20], &secret[20..]));
    let hiding = [
        part(&wrapped(&gzip(&own))),
        part(&format!("{}--end--\n", wrapped(gzip(&own).as_slice()))),
        format!(
            "#cloud-config\nwrite_files:\n- encoding: gz+b64\n  content: {}\n  path: /x\n",
            STANDARD.encode(gzip(&own))
        ),
        format!(
            "#cloud-config\nwrite_files:\n- content: !!binary |\n    {}",
            wrapped(&gzip(&own)).replace('\n', "\n    ")
        ),
        // Of the secret alone nothing tells what it is.
        part(&wrapped(format!("token {secret}\n").as_bytes())),
        part(&wrapped(&gzip(&part(&wrapped(own.as_bytes()))))),
        part(&wrapped(part(&wrapped(&gzip(&own))).as_bytes())),
        // What stands before it could be base64 too.
        format!("longerThanMostWords\n{}", wrapped(&gzip(&own))),
        part(&wrapped(&cut)),
        format!("Content-Transfer-Encoding: quoted-printable\n\n{broken}"),
    ];
    for (number, context) in hiding.iter().enumerate() {
        let before = asked();
        paste(&browser, "slave", context);
        browser.wait_for("slave-findings", "has a cvm_cluster_secret, or cannot be looked into");
        assert_eq!(asked(), before, "{number}");
        assert_eq!(&browser.value("slave"), context, "{number}");
        // The next one is told from this one. It has something compressed too, which hides nothing.
        let plain = part(&wrapped(&gzip(&format!("#!/bin/sh\necho {number}\n"))));
        paste(&browser, "slave", &plain);
        until("the service is asked", || (asked() > before).then_some(()));
        until("that is said", || (!browser.text("slave-findings").contains("looked into")).then_some(()));
    }
    let dir = TempDir::new().expect("a temporary directory can be made");
    let packed = dir.path().join("user-data.gz");
    fs::write(&packed, gzip(&own)).expect("it can be written");
    let before = asked();
    browser.choose("slave-file", &packed);
    browser.wait_for("slave-findings", "has a cvm_cluster_secret, or cannot be looked into");
    assert_eq!(asked(), before);
    for seen in proxy.seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains(&secret), "{}", seen.path);
    }
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_context_that_could_not_be_filled_in_is_when_the_service_is_back() {
    let mut service = Service::start();
    let browser = Browser::start();
    let pin = service.api().new_pin();
    open_pin(&browser, &service, &pin);
    context_when(&browser, "slave", "is filled in", |text| text.contains(&pin));
    service.stop();
    paste(&browser, "slave", "mine\n");
    browser.wait_for("slave-findings", "The service cannot be reached.");
    assert_eq!(browser.value("slave"), "mine\n");
    service.resume();
    context_when(&browser, "slave", "is filled in", |text| text.starts_with("mine\n") && text.contains(&pin));
}
