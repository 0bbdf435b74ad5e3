//! Machines that really boot: Debian under systemd-nspawn, and micro VMs under QEMU, on a network of their own.
//!
//! Everything here needs root. A [`lab::Lab`] holds the network, the mounts and the processes of one test and takes all
//! of them with it, even when the test is killed.

pub mod debian;
pub mod full;
mod group;
pub mod lab;
pub mod microvm;
pub mod nspawn;
pub mod root;
pub mod service;
pub mod ucernvm;
pub mod worked;
