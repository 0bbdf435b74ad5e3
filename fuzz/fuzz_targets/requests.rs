#![no_main]

use cernvm_cluster_fuzz::write_seeds;
use libfuzzer_sys::fuzz_target;
use pairing_server::fuzzing::{requests, seeds};

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| requests(bytes));
