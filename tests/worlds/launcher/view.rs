//! What is shown of servers while they live: Nova is asked for what has changed, and now and then for all.

use serde_json::Value;
use worlds::service::Service;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::home::Home;

#[test]
fn changes_of_servers_are_seen_by_the_cloud_s_clock_and_what_nova_does_not_call_one_a_little_later() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let mut api = Api::start(&home, &cloud, &service.url());
    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&cloud))).status, 201);
    let statuses = |cluster: &Value| -> Vec<String> {
        let servers = cluster["servers"].as_array().into_iter().flatten();
        servers.map(|server| server["status"].as_str().unwrap_or_default().to_owned()).collect()
    };
    until("the servers run", || (statuses(&api.show("lab")) == ["ACTIVE"; 3]).then_some(()));
    until("there is a list of changes without any", || {
        cloud.servers(|servers| servers.told.contains(&0)).then_some(())
    });
    assert_eq!(statuses(&api.show("lab")), ["ACTIVE"; 3], "what has not changed is still there");

    cloud.servers(|servers| servers.attach("master", "203.0.113.9"));
    until("the address is shown", || {
        api.show("lab")["servers"].to_string().contains("203.0.113.9").then_some(())
    });

    cloud.servers(|servers| servers.change("worker-1", "ERROR", Some("No valid host was found.")));
    let failed =
        |words: &str| until(words, || api.show("lab")["detail"].to_string().contains(words).then_some(()));
    failed("the server worker-1 is ERROR: No valid host was found.");
    cloud.servers(|servers| servers.change("worker-0", "DELETED", None));
    failed("the server worker-0 is DELETED");

    let lists = cloud.lines().into_iter().filter(|line| line.starts_with("GET /nova/servers/detail"));
    let (changes, all): (Vec<_>, Vec<_>) = lists.partition(|line| line.contains("changes-since=2031-05-01T"));
    assert!(!all.is_empty() && all.iter().all(|line| line == "GET /nova/servers/detail"), "{all:?}");
    assert!(changes.len() >= all.len(), "{} lists of changes, {} of all", changes.len(), all.len());
    api.stop();
}
