use super::*;
use protocol::error::Status;

fn words(line: &str) -> Result<Args, Error> {
    parse(line.split_whitespace().map(OsString::from))
}

fn command(line: &str) -> Command {
    words(line).unwrap().command
}

#[test]
fn reads_every_command() {
    let files = |files: &[&str], wait| {
        Command::Contextualize(SubstituteIn::Files { files: files.iter().map(PathBuf::from).collect(), wait })
    };
    assert_eq!(command("contextualize"), files(&[], true));
    assert_eq!(command("contextualize --no-wait a b"), files(&["a", "b"], false));
    let cloud_init = |files: &[&str]| {
        Command::Contextualize(SubstituteIn::CloudInit { files: files.iter().map(PathBuf::from).collect() })
    };
    assert_eq!(command("contextualize --cloud-init"), cloud_init(&[]));
    assert_eq!(command("contextualize --cloud-init part"), cloud_init(&["part"]));
    let early = SubstituteIn::Early { parts: ["a", "b"].map(PathBuf::from).into() };
    assert_eq!(command("contextualize --early a b"), Command::Contextualize(early));
    assert_eq!(command("contextualize --bootloader"), Command::Contextualize(SubstituteIn::Bootloader));
    assert_eq!(command("follow"), Command::Follow);
    assert_eq!(command("master-ready"), Command::MasterReady { force: false });
    assert_eq!(command("master-ready --force"), Command::MasterReady { force: true });
    assert_eq!(command("master-ready --withdraw"), Command::WithdrawReady);
    for (word, value) in [
        ("v", ValueSource::Literal("v".into())),
        ("@f", ValueSource::File("f".into())),
        ("-", ValueSource::StandardInput),
    ] {
        assert_eq!(
            command(&format!("publish k {word}")),
            Command::Publish { key: "k".into(), value, secret_file: None }
        );
    }
    assert_eq!(command("get k --wait"), Command::Get { key: "k".into(), wait: true, secret_file: None });
    let secret_file = Some(PathBuf::from("f"));
    assert_eq!(command("get --secret-file f k"), Command::Get { key: "k".into(), wait: false, secret_file });
    assert_eq!(
        command("nodes --format hosts --write /etc/hosts"),
        Command::Nodes {
            cluster: ClusterSource::default(),
            format: NodeFormat::Hosts,
            write: Some("/etc/hosts".into())
        }
    );
    let cluster = ClusterSource {
        url: Some("http://x".into()),
        pin: Some("abc".into()),
        secret_file: Some("s".into()),
    };
    let wanted = BarrierArgs {
        nodes: Some(5),
        at_least: Some(3),
        time: Some(Duration::from_secs(60)),
        state: NodeState::Joined,
        role: Some(NodeRole::Slave),
        expect: Some("f".into()),
    };
    assert_eq!(
        command(
            "wait --url http://x --pin abc --secret-file s --nodes 5 --at-least 3 --for 60 --state joined \
             --role slave --expect f"
        ),
        Command::Wait { cluster, wanted }
    );
    let all = Command::Status {
        cluster: ClusterSource { pin: Some("abc".into()), ..ClusterSource::default() },
        nodes: Some(3),
        timeout: Some(Duration::from_secs(60)),
        format: OutputFormat::Json,
    };
    assert_eq!(command("status --nodes 3 --timeout 60 --json --pin abc"), all);
    let none = ClusterSource::default();
    let plain = Command::Status { cluster: none, nodes: None, timeout: None, format: OutputFormat::Text };
    assert_eq!(command("status"), plain);
    let check = |format| Command::Check { files: vec!["a".into()], format, strict: false };
    assert_eq!(command("check a"), check(OutputFormat::Text));
    assert_eq!(command("check --json a"), check(OutputFormat::Json));
    let strict = Command::Check { files: vec!["a".into()], format: OutputFormat::Text, strict: true };
    assert_eq!(command("check --strict a"), strict);
    assert_eq!(command("doctor"), Command::Doctor(OutputFormat::Text));
    assert_eq!(command("doctor --json"), Command::Doctor(OutputFormat::Json));
    assert_eq!(command("--help"), Command::Help(None));
    assert_eq!(command("help"), Command::Help(None));
    for line in ["get --help", "help get", "--help get key"] {
        let Command::Help(Some(of)) = command(line) else { panic!("{line}") };
        assert_eq!(of.name, "get");
    }
}

#[test]
fn says_what_is_wrong_with_a_command_line() {
    for (line, says) in [
        ("", "which command?"),
        ("frobnicate", "no command 'frobnicate'"),
        ("contextualise", "did you mean 'contextualize'?"),
        ("master_ready", "did you mean 'master-ready'?"),
        ("help pubish", "did you mean 'publish'?"),
        ("contextualize --cloudinit", "did you mean '--cloud-init'?"),
        ("get --strict a", "belongs to 'check'"),
        ("doctor --secret-file f", "belongs to 'publish' and 'get' and 'nodes' and 'wait' and 'status'"),
        ("get --nodes 3 a", "--nodes belongs to 'wait' and 'status'"),
        ("get --timeout 3 a", "--timeout belongs to 'status'"),
        ("status --timeout 0", "--timeout is a number of seconds from 1 on"),
        ("status --timeout 5m", "--timeout is a number, not '5m'"),
        ("status --nodes 0", "--nodes is a number from 1 to 10000"),
        ("status --url http://x", "--url goes with --pin"),
        ("status now", "does not take 'now'"),
        ("nodes --format xml", "one of table, json, hosts, known_hosts, hostfile, not 'xml'"),
        ("nodes --write /etc/hosts", "--write goes with --format hosts"),
        ("nodes --url http://x", "--url goes with --pin"),
        ("--user-data f nodes --pin abc", "exclude each other"),
        ("wait", "'wait' needs --nodes N, or --expect FILE"),
        ("wait --nodes 10001", "--nodes is a number from 1 to 10000: a cluster has no more"),
        ("wait --nodes 0", "--nodes is a number from 1 to 10000"),
        ("wait --nodes many", "--nodes is a number, not 'many'"),
        ("wait --nodes 3 --state failed", "--state is joined or ready, not 'failed'"),
        ("wait --nodes 3 --role nurse", "--role is master or slave, not 'nurse'"),
        ("wait --nodes 3 --at-least 2", "--at-least M goes with --for SECONDS"),
        ("wait --nodes 3 --at-least 4 --for 5", "is at most --nodes"),
        ("wait --nodes 3 --for 3601", "--for is a number of seconds from 1 to 3600"),
        ("get --json a", "belongs to 'status' and 'check' and 'doctor'"),
        ("get", "which key?"),
        ("get a.b", "cannot be a key"),
        ("publish k", "which value?"),
        ("check", "needs a file"),
        ("master-ready --wait", "belongs to 'get'"),
        ("publish k v --force", "belongs to 'master-ready'"),
        ("master-ready --force --withdraw", "exclude each other"),
        ("contextualize --cloud-init --bootloader", "exclude each other"),
        ("contextualize --cloud-init --early", "exclude each other"),
        ("contextualize --bootloader file", "does not take 'file'"),
        ("doctor now", "does not take 'now'"),
        ("--frob", "--frob"),
    ] {
        let error = words(line).unwrap_err();
        assert!(error.to_string().contains(says), "{line}: {error}");
        assert_eq!(error.status(), Status::Usage);
    }
}
