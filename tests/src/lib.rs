//! What the black-box tests and the demonstration share: the real binaries as processes, guests as directories, and clients
//! and servers that behave well, badly or as the original did.
//!
//! It knows the command lines and the API, and nothing of the crates. The tests are in `worlds/`.

pub mod api;
pub mod binaries;
pub mod boot;
pub mod browser;
pub mod etcd;
pub mod figures;
pub mod fixtures;
pub mod guest;
pub mod history;
pub mod http;
pub mod interrupt;
pub mod machine;
pub mod mock_server;
pub mod process;
pub mod rabbit;
pub mod relay;
pub mod service;
pub mod tls;
pub mod together;
pub mod wait;
pub mod writer;
