//! A launch that `serve` has answered with an error although its stack came: to all who ask it is no cluster, and it goes.

use serde_json::json;
use worlds::mock_server::Reply;
use worlds::service::Service;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Create, Manners};
use crate::home::{Home, launch};

#[test]
fn an_abandoned_launch_is_no_cluster_and_its_name_is_free() {
    let manners = Manners { create: Some(Create::Silent), ..Manners::default() };
    let (service, cloud, home) = (Service::start(), Cloud::start(manners), Home::new());
    let url = service.url();
    let mut api = Api::with(&home, &cloud, &url, &["--cloud-timeout", "3"]);
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| api.ask("POST", "/clusters/", Some(&request(&cloud))));
        until("the stack is asked for", || (cloud.created() == 1).then_some(()));
        // Heat fails from now on, so that the stack cannot be deleted.
        cloud.behave(|manners| manners.heat = Some(Reply::status(503)));
        asked.join().expect("it answers")
    });
    assert_eq!((answer.status, &answer.json()["errors"][0]["title"]), (502, &json!("ConnectTimeout")));
    assert_eq!(home.records().len(), 1);
    assert_eq!(api.ask("GET", "/clusters/lab", None).status, 404);
    assert_eq!(api.ask("DELETE", "/clusters/lab", None).status, 404);
    assert_eq!(api.ask("GET", "/clusters/", None).json(), json!([]));
    api.stop();

    // The service is down, and the stack is still there.
    cloud.behave(|manners| (manners.heat, manners.create) = (None, None));
    home.run(&cloud, &["list", "--pairing-url", &url]).expect(0, "no clusters");
    for command in ["show", "delete"] {
        home.run(&cloud, &[command, "lab", "--pairing-url", &url]).expect(64, "no cluster lab");
    }
    let begun = home.run(&cloud, &launch("lab", &url, &["--timeout", "0"]));
    begun.expect(75, "asking for a cluster lab").expect(75, "the cluster lab is not ready");
    assert_eq!((cloud.created(), cloud.stacks().len(), home.records().len()), (2, 2, 2));
    home.run(&cloud, &launch("lab", &url, &["--timeout", "0"])).expect(75, "going on with the cluster lab");

    let kept = cloud.stacks()[1].name.clone();
    let mut api = Api::start(&home, &cloud, &url);
    until("what was abandoned is gone", || {
        (cloud.stacks().len() == 1 && home.records().len() == 1).then_some(())
    });
    assert_eq!(api.show("lab")["name"], json!(kept));
    api.stop();
}
