//! Notifications of the real Heat and Nova, by the cloud's own RabbitMQ.

use std::time::Instant;

use worlds::boot::lab::Lab;
use worlds::process::Process;
use worlds::wait::until;

use crate::cloud::DEMO;
use crate::{World, text};

/// A launcher that looks at a cluster by itself once an hour sees the stack built, and then deleted by another program.
#[test]
#[ignore = "needs root and an OpenStack: make test-openstack"]
fn notifications_of_the_cloud_show_a_change_at_once() {
    let lab = Lab::new();
    let world = World::new(&lab);
    let password = lab.dir().join("rabbitmq-password");
    std::fs::write(&password, "guest\n").expect("there is room");
    let password = password.display().to_string();
    // It ends as soon as Heat has taken the request.
    let began = Instant::now();
    let launch = world.launch(DEMO, "workers", "told", &["--timeout", "0"]).output().expect("nsenter starts");
    assert_eq!(launch.status.code(), Some(75), "{}", text(&launch.stderr));
    let mut serve = world.launcher(DEMO, &["serve", "--listen", "127.0.0.1:0", "--poll-interval", "3600"]);
    serve.args(["--notifications-url", "amqp://guest@127.0.0.1:5672"]);
    let serve = Process::start("serve", serve.args(["--notifications-password-file", &password]));
    let says = |words: &str| {
        until(&format!("the launcher says {words:?}"), || serve.stderr().contains(words).then_some(()));
    };
    says("exchange heat, nova");
    says(" is building: ");
    says(" is joining: ");
    println!("# built after {:?}", began.elapsed());
    let servers = world.servers_of("told", 3);
    let stack = servers.iter().find_map(|server| server.name.strip_suffix("-master"));
    let stack = stack.expect("the master is named after the stack");
    let began = Instant::now();
    world.cloud.delete_stack(DEMO, stack);
    says(" is gone: ");
    println!("# gone after {:?}", began.elapsed());
    drop(serve);
    assert!(world.run(DEMO, &["delete", "told"]).status.success());
    world.assert_nothing_is_left("told");
}
