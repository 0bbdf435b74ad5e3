//! What does not fit into a project: the API refuses what the original refuses, and the command all that is sure to fail.

use std::fs;

use serde_json::json;
use worlds::mock_server::{MockServer, Reply};

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::home::Home;

/// A type with so many servers that only Heat makes: the original does not count them.
fn scaled(home: &Home) -> String {
    let folder = home.path().join("scaled/cluster-types-enabled/scaled");
    fs::create_dir_all(folder.join("components")).expect("a directory can be made");
    let definition =
        "title: t\ndescription: d\nkind: heat\norder: 1\nlogo_url: ''\ncomponents: [{name: c}]\n";
    fs::write(folder.join("cluster-type.yaml"), definition).expect("a file can be written");
    let component = "heat_template_version: 2021-04-16\nresources:\n  n: {type: OS::Neutron::Net}\n  \
                     r: {type: OS::Neutron::Router}\n  s: {type: OS::Heat::AutoScalingGroup, properties: {min_size: 3, \
                     max_size: 9, resource: {type: OS::Nova::Server, properties: {flavor: m1.small}}}}\n";
    fs::write(folder.join("components/c.yaml"), component).expect("a file can be written");
    home.path().join("scaled").display().to_string()
}

#[test]
fn what_the_original_does_not_count_is_a_doubt_to_the_api_and_a_refusal_to_the_command() {
    let words = "would exceed project's instances limit: requires 3, 2 available";
    let cloud = Cloud::start(Manners { instances: 2, ..Manners::default() });
    let (home, pairing) = (Home::new(), MockServer::start(|_, _| Reply::status(500)));
    let types = scaled(&home);
    home.run(&cloud, &["launch", "scaled", "--name", "lab", "--types", &types]).expect(77, words);
    assert_eq!((cloud.created(), home.records().len()), (0, 0));

    let mut api = Api::with(&home, &cloud, &pairing.url(), &["--types", &types]);
    let mut body = request(&cloud);
    body["cluster"]["cluster_type_id"] = json!("scaled");
    body["cluster"]["parameters"] = json!({});
    assert_eq!(api.ask("POST", "/clusters/", Some(&body)).status, 201);
    let log = api.show("lab")["log"].to_string();
    assert!(log.contains(&format!("the stack may fail, for the project's limits: {words}")), "{log}");
    api.stop();

    // The servers of the template itself and of a resource group are counted by both.
    let mut api = Api::start(&home, &cloud, &pairing.url());
    let refused = api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!((refused.status, &refused.json()["errors"][0]["detail"]), (400, &json!(words)));
    api.stop();
}
