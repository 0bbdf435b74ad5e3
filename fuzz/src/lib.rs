//! What the fuzzers have in common.

use std::path::PathBuf;

/// Writes the seeds into the directory that `SEEDS` names, before libFuzzer reads it. They are made of what is in the
/// tree anyway, so they are stored nowhere else.
pub fn write_seeds(seeds: Vec<Vec<u8>>) {
    let Some(directory) = std::env::var_os("SEEDS").map(PathBuf::from) else { return };
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{number:03}")), seed)
            .expect("the directory can be written");
    }
}
