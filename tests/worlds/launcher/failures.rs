//! What can go wrong with a launch: each has one clear sentence, an exit status, and leaves nothing behind.

use serde_json::json;
use worlds::mock_server::{MockServer, Reply};
use worlds::service::Service;
use worlds::wait::until;

use crate::cloud::{Cloud, Create, Manners, error};
use crate::cluster::{filled, nothing_is_left, stack};
use crate::home::{Home, finish, launch};

/// Failures before anything is made: no pin is asked for.
#[test]
fn what_is_wrong_beforehand_costs_nothing() {
    let cloud = Cloud::start(Manners::default());
    let poor = Cloud::start(Manners { instances: 2, ..Manners::default() });
    let down = Cloud::start(Manners { heat: Some(Reply::status(503)), ..Manners::default() });
    let slow = Cloud::start(Manners { heat: Some(Reply::Hang), ..Manners::default() });
    let closed = "http://127.0.0.1:1/v3";
    let (refuses, unreachable) = (77, 69);
    type Case<'a> = (&'a Cloud, &'a [(&'a str, &'a str)], &'a [&'a str], i32, &'a str);
    let cases: &[Case<'_>] = &[
        (&cloud, &[("OS_PASSWORD", "wrong")], &[], refuses, "Keystone refuses the credentials"),
        (&cloud, &[("OS_PROJECT_NAME", "nowhere")], &[], refuses, "Keystone refuses the credentials"),
        (
            &cloud,
            &[("OS_AUTH_URL", closed)],
            &[],
            unreachable,
            "Keystone cannot be reached: 127.0.0.1:1: connection refused",
        ),
        (&cloud, &[("OS_AUTH_URL", "fake")], &[], 64, "the address of Keystone cannot be used"),
        (&cloud, &[("OS_AUTH_URL", "")], &[], 64, "no cloud is named"),
        (&poor, &[], &[], refuses, "would exceed project's instances limit: requires 3, 2 available"),
        (
            &cloud,
            &[],
            &["--set", "worker-flavour=m1.none"],
            65,
            "No Flavor matching {'name': 'm1.none'}. (HTTP 404)",
        ),
        (&cloud, &[], &["--set", "worker-count=200"], 65, "worker-count: 1 to 100 workers"),
        (&cloud, &[], &["--set", "worker-count="], 65, "worker-count: "),
        (&down, &[], &[], unreachable, "Heat answers 503: Service Unavailable"),
        (
            &slow,
            &[],
            &["--cloud-timeout", "1"],
            75,
            "Heat does not answer: there was no whole answer in time",
        ),
    ];
    for (cloud, variables, more, status, words) in cases {
        let pairing = MockServer::start(|_, _| Reply::status(500));
        let home = Home::new();
        let url = pairing.url();
        let done = home.run_with(cloud, &launch("lab", &url, more), variables);
        done.expect(*status, words).expect(*status, "\n  next: ");
        assert_eq!(pairing.lines(), Vec::<String>::new(), "{words}: a pin was asked for");
        assert_eq!((cloud.created(), home.records().len()), (0, 0), "{words}");
        // The service of a test is on loopback, which is warned of.
        let others =
            ["asking for a cluster", "cernvm-cluster-launcher: warning: the machines of a cluster get"];
        let is_of_failure = |line: &&str| !others.iter().any(|other| line.starts_with(other));
        let sentences = done.stderr.lines().filter(is_of_failure).count();
        assert_eq!(sentences, 2, "a sentence and the next step:\n{}", done.stderr);
    }
}

#[test]
fn what_is_missing_from_the_command_line_is_named() {
    let (cloud, home) = (Cloud::start(Manners::default()), Home::new());
    home.run(&cloud, &["launch", "workers", "--name", "lab"])
        .expect(65, "Missing parameters: external-network, image");
    home.run(&cloud, &["launch", "nothing", "--name", "lab"]).expect(64, "Unknown cluster type: nothing");
    let mut command = launch("lab", "", &[]);
    command.drain(4..6);
    home.run(&cloud, &command).expect(64, "no pairing service is named");
    home.run(&cloud, &launch("1 lab", "http://127.0.0.1:1", &[]))
        .expect(64, "--name: a name begins with a letter");
    assert_eq!(cloud.lines(), Vec::<String>::new(), "the cloud was asked");
}

#[test]
fn a_pairing_service_that_is_away_is_named() {
    let (cloud, home) = (Cloud::start(Manners::default()), Home::new());
    home.run(&cloud, &launch("lab", "http://127.0.0.1:1", &[]))
        .expect(69, "cannot reach the pairing service http://127.0.0.1:1");
    assert_eq!((cloud.created(), home.records().len()), (0, 0));
}

/// Heat refuses: the pin was made, and is taken back.
#[test]
fn what_heat_refuses_is_told_in_its_words_and_taken_back() {
    let refusals = [
        (
            error(
                400,
                "Bad Request",
                "Parameter 'image' is invalid: Error validating value 'tiny': No images found",
            ),
            65,
            "image: Error validating value 'tiny': No images found",
        ),
        (
            error(
                400,
                "Bad Request",
                "Parameter 'pairing-pin' is invalid: \"abcdefghijkl\" does not match pattern",
            ),
            65,
            "\"…\" does not match pattern",
        ),
        (
            error(403, "Forbidden", "You are not authorized to use this resource"),
            77,
            "You are not authorized",
        ),
    ];
    for (reply, status, words) in refusals {
        let manners = Manners { create: Some(Create::Refuse(reply)), ..Manners::default() };
        let (cloud, home) = (Cloud::start(manners), Home::new());
        let pairing = pairing();
        let url = pairing.url();
        home.run(&cloud, &launch("lab", &url, &[])).expect(status, words);
        assert_eq!(pairing.lines(), ["POST /api/v1/clusters", "DELETE /api/v1/clusters/abcdefghijkl"]);
        assert_eq!((cloud.stacks().len(), home.records().len()), (0, 0));
    }
}

/// A pairing service that makes one pin.
fn pairing() -> MockServer {
    MockServer::start(|seen, _| match seen.method.as_str() {
        "POST" => {
            Reply::json(201, &json!({ "pin": "abcdefghijkl", "creation_time": "2026-01-01T00:00:00Z" }))
        }
        _ => Reply::status(204),
    })
}

#[test]
fn a_stack_that_fails_half_way_is_removed_unless_it_is_to_be_kept() {
    let reason =
        "ResourceInError: resources.worker-1: Went to status ERROR due to \"No valid host was found.\"";
    let manners = Manners { fails: Some(reason.to_owned()), ..Manners::default() };
    let (service, cloud, home) = (Service::start(), Cloud::start(manners), Home::new());
    let url = service.url();
    let running = home.start(&cloud, &launch("lab", &url, &["--keep-on-failure"]));
    let pin = filled(&stack(&cloud), "pairing-pin");
    let done = finish(running);
    done.expect(77, "the cluster lab failed: the stack is CREATE_FAILED: ").expect(77, reason);
    assert_eq!((cloud.stacks().len(), home.records().len()), (1, 1), "it is to be kept");
    // Without the flag the same stack is looked at again, and goes.
    home.run(&cloud, &launch("lab", &url, &[])).expect(77, "nothing is left of it");
    nothing_is_left(&cloud, &home, &service, &pin);
}

#[test]
fn a_stack_that_somebody_deletes_ends_the_launch() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let url = service.url();
    let running = home.start(&cloud, &launch("lab", &url, &[]));
    let pin = filled(&stack(&cloud), "pairing-pin");
    until("the stack is complete", || running.stderr().contains("CREATE_COMPLETE").then_some(()));
    cloud.lose_stacks();
    finish(running).expect(77, "the stack is deleted");
    nothing_is_left(&cloud, &home, &service, &pin);
}

#[test]
fn a_node_that_fails_ends_the_launch_with_its_own_words() {
    use worlds::machine::put;
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let url = service.url();
    // In the clear, so that the test can report: k3s has no secret to fill in where the type leaves it out.
    let types = home.path().join("clear/cluster-types-enabled");
    copy_without_secret(&types);
    let folder = types.parent().expect("it has one").display().to_string();
    let running = home.start_with(&cloud, &launch("lab", &url, &["--types", &folder]), &[]);
    let made = stack(&cloud);
    let pin = filled(&made, "pairing-pin");
    let detail = "the master is not ready yet after 600 s";
    put(
        service.api(),
        &pin,
        "a",
        &json!({ "name": "worker-0", "role": "slave", "state": "failed", "detail": detail }),
    );
    finish(running).expect(77, &format!("the node worker-0 failed: {detail}"));
    nothing_is_left(&cloud, &home, &service, &pin);
}

/// The example without a sealed cluster.
fn copy_without_secret(to: &std::path::Path) {
    let from = crate::home::repository().join("packaging/examples/cluster-types/workers");
    for folder in ["", "components", "user_data"] {
        std::fs::create_dir_all(to.join("workers").join(folder)).expect("a directory can be made");
        for entry in std::fs::read_dir(from.join(folder)).expect("it is there").flatten() {
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            let kept: Vec<_> = text.lines().filter(|line| !line.contains("secret")).collect();
            let file = to.join("workers").join(folder).join(entry.file_name());
            std::fs::write(file, kept.join("\n") + "\n").expect("a file can be written");
        }
    }
}
