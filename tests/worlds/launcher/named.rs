//! What answers name in the cloud: it is asked for before anything is ordered or made, and all that is missing is said at
//! once.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use worlds::mock_server::{MockServer, Reply};
use worlds::service::Service;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners, error};
use crate::home::{Home, launch};
use crate::things::{IMAGE, NETWORK, OTHER};

/// Each kind with a value that is there, one that is not, and what Heat says of that.
const KINDS: [(&str, &str, &str, &str); 11] = [
    ("nova.flavor", "m1.small", "m9", "No Flavor matching {'name': 'm9'}. (HTTP 404)"),
    ("nova.keypair", "key", "no/key", "The Key (no/key) could not be found."),
    ("nova.server", OTHER, "old", "The Server (old) could not be found."),
    ("glance.image", "tiny", "a b&c=d", "No images matching {'name': 'a b&c=d'}."),
    ("neutron.network", "outside", "inside", "Unable to find network with name or id 'inside'"),
    ("neutron.subnet", "outside", "x", "Unable to find subnet with name or id 'x'"),
    ("neutron.router", "outside", "x", "Unable to find router with name or id 'x'"),
    ("neutron.port", NETWORK, "x", "Unable to find port with name or id 'x'"),
    ("neutron.security_group", "outside", "x", "Unable to find security_group with name or id 'x'"),
    ("cinder.volume", OTHER, "data", "The Volume (data) could not be found."),
    ("cinder.vtype", "ssd", "tape", "The VolumeType (tape) could not be found."),
];

/// A catalogue with the type `every`, which has a parameter of each kind.
fn types(home: &Home) -> PathBuf {
    let folder = home.path().join("every/cluster-types-enabled/every");
    fs::create_dir_all(folder.join("components")).expect("a directory can be made");
    let definition =
        "title: t\ndescription: d\nkind: heat\norder: 1\nlogo_url: ''\ncomponents: [{name: c}]\n";
    fs::write(folder.join("cluster-type.yaml"), definition).expect("a file can be written");
    let mut component = "heat_template_version: 2021-04-16\nparameters:\n".to_owned();
    for (kind, ..) in KINDS {
        component += &format!("  {kind}: {{type: string, constraints: [{{custom_constraint: {kind}}}]}}\n");
    }
    component += "resources: {n: {type: OS::Neutron::Net}, r: {type: OS::Neutron::Router}}\n";
    fs::write(folder.join("components/c.yaml"), component).expect("a file can be written");
    home.path().join("every")
}

/// A service without a pin to give, for types that do not pair.
fn no_pairing() -> MockServer {
    MockServer::start(|_, _| Reply::status(500))
}

/// A request for a cluster of the type `every`, with an answer to each parameter.
fn every(cloud: &Cloud, answers: &[(&str, &str)]) -> Value {
    let mut body = request(cloud);
    body["cluster"]["cluster_type_id"] = json!("every");
    body["cluster"]["parameters"] =
        answers.iter().map(|(kind, value)| ((*kind).to_owned(), json!(value))).collect();
    body
}

/// The pointer and the detail of each error.
fn told(errors: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = errors["errors"].as_array().into_iter().flatten();
    errors.map(|error| (text(&error["source"]["pointer"]), text(&error["detail"]))).collect()
}

#[test]
fn all_that_is_missing_is_said_in_heat_s_words_before_anything_is_ordered() {
    let (cloud, home, pairing) = (Cloud::start(Manners::default()), Home::new(), no_pairing());
    let billing = MockServer::start(|seen, _| match seen.path.as_str() {
        "/get_credits" => Reply::json(200, &json!({ "credits": 100 })),
        "/create_order" => Reply::json(200, &json!({ "order": "order-1" })),
        _ => Reply::json(200, &json!({ "success": true })),
    });
    let (folder, middleware) = (types(&home).display().to_string(), billing.url());
    let more = ["--types", &folder, "--middleware-url", &middleware];
    let mut api = Api::with(&home, &cloud, &pairing.url(), &more);
    let ask = |answers: &[(&str, &str)]| {
        let mut body = every(&cloud, answers);
        body["middleware_url"] = json!(middleware);
        api.ask("POST", "/clusters/", Some(&body))
    };

    let wrong: Vec<_> = KINDS.iter().map(|(kind, _, wrong, _)| (*kind, *wrong)).collect();
    let refused = ask(&wrong);
    assert_eq!(refused.status, 400, "{}", refused.text());
    let wanted: Vec<_> = KINDS
        .iter()
        .map(|(kind, _, wrong, words)| {
            (format!("/cluster/parameters/{kind}"), format!("Error validating value '{wrong}': {words}"))
        })
        .collect();
    assert_eq!(told(&refused.json()), wanted);
    assert_eq!(billing.lines(), ["POST /get_credits"], "an order was made");
    assert_eq!((cloud.created(), home.records().len()), (0, 0));

    // A name that two have is none.
    let mut twins: Vec<_> = KINDS.iter().map(|(kind, right, ..)| (*kind, *right)).collect();
    for (kind, value) in &mut twins {
        if ["glance.image", "neutron.network"].contains(kind) {
            *value = "twin";
        }
    }
    let image = "Error validating value 'twin': No images unique match found for {'name': 'twin'}.";
    let network = "Error validating value 'twin': Multiple network matches found for name 'twin', \
                   use an ID to be more specific.";
    assert_eq!(
        told(&ask(&twins).json()),
        [
            ("/cluster/parameters/glance.image".to_owned(), image.to_owned()),
            ("/cluster/parameters/neutron.network".to_owned(), network.to_owned()),
        ]
    );

    let mut right: Vec<_> = KINDS.iter().map(|(kind, right, ..)| (*kind, *right)).collect();
    assert_eq!(ask(&right).status, 201);
    // An id is as good as a name, and to Heat no key is a key.
    for (kind, value) in &mut right {
        match *kind {
            "glance.image" => *value = IMAGE,
            "neutron.network" => *value = NETWORK,
            "nova.keypair" => *value = "",
            _ => {}
        }
    }
    assert_eq!(ask(&right).status, 201);
    assert_eq!(cloud.created(), 2);
    api.stop();
}

#[test]
fn what_the_cloud_does_not_tell_is_left_to_heat() {
    let broken = vec![
        ("nova/os-keypairs", error(403, "Forbidden", "Policy doesn't allow it.")),
        ("glance", Reply::status(503)),
        ("cinder/v3/project-1/types", Reply::of(200, "text/html", "<html>")),
    ];
    let manners = Manners { broken, without: vec!["network"], ..Manners::default() };
    let (cloud, home, pairing) = (Cloud::start(manners), Home::new(), no_pairing());
    let folder = types(&home).display().to_string();
    let mut api = Api::with(&home, &cloud, &pairing.url(), &["--types", &folder]);
    let answers: Vec<_> = KINDS
        .iter()
        .map(|(kind, right, wrong, _)| match *kind {
            "nova.flavor" | "nova.server" | "cinder.volume" => (*kind, *right),
            kind => (kind, *wrong),
        })
        .collect();
    let answer = api.ask("POST", "/clusters/", Some(&every(&cloud, &answers)));
    assert_eq!(answer.status, 201, "{}", answer.text());
    api.stop();
}

#[test]
fn the_command_names_all_and_the_lists_to_choose_from() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let url = service.url();
    let wrong = [
        "--set",
        "image=none",
        "--set",
        "key=lost",
        "--set",
        "worker-flavour=m9",
        "--set",
        "external-network=x",
    ];
    let done = home.run(&cloud, &launch("lab", &url, &wrong));
    for words in [
        "image: Error validating value 'none': No images matching {'name': 'none'}.; ",
        "key: Error validating value 'lost': The Key (lost) could not be found.",
        "worker-flavour: Error validating value 'm9': No Flavor matching {'name': 'm9'}. (HTTP 404)",
        "external-network: Error validating value 'x': Unable to find network with name or id 'x'",
        "`openstack image list`",
        "`openstack keypair list`",
    ] {
        done.expect(65, words);
    }
    assert_eq!((cloud.created(), home.records().len()), (0, 0));
}
