#![no_main]

use cernvm_cluster_fuzz::write_seeds;
use context::document::fuzzing::{seeds, substitution};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| substitution(bytes));
