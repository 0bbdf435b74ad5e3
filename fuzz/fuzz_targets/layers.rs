#![no_main]

use cernvm_cluster_fuzz::write_seeds;
use context::document::fuzzing::{layers, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| layers(bytes));
