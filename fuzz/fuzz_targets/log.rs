#![no_main]

use cernvm_cluster_fuzz::write_seeds;
use libfuzzer_sys::fuzz_target;
use pairing_server::store::fuzzing::{log, log_seeds};

fuzz_target!(init: write_seeds(log_seeds()), |bytes: &[u8]| log(bytes));
