//! The service's command.

use pairing_server::{Config, Server, listen};

#[tokio::main]
async fn main() {
    env_logger::init();
    let config = Config { value_max_chars: 1000, ..Config::default() };
    let server = Server::new(config).unwrap();
    let l = listen::bind("127.0.0.1:18000".parse().unwrap()).unwrap();
    println!("listening on http://{}", l.local_addr().unwrap());
    server.serve(vec![l], async { tokio::signal::ctrl_c().await.unwrap() }).await.unwrap();
}
