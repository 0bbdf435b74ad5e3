//! How many bytes the agent adds to an image.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Run, figure, names};
use crate::error::{Result, WithContext};

pub(super) fn run(run: &mut Run) -> Result<()> {
    let repeats = std::mem::replace(&mut run.plan.repeats, 1);
    let programs = ["cernvm-cluster-agent", "bare_ureq"];
    run.interleave(names::SIZE, &["agent", "bare ureq"], |bench, _, subject| {
        let path = bench.small(programs[usize::from(*subject != "agent")])?;
        let bytes = fs::read(&path).context_on("read", &path)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let gzipped = gzip.write_all(&bytes).and_then(|()| gzip.finish()).context_on("compress", &path)?;
        let megabytes = |bytes: &[u8]| bytes.len() as f64 / 1e6;
        Ok(vec![figure("stripped, MB", megabytes(&bytes)), figure("gzipped, MB", megabytes(&gzipped))])
    });
    run.plan.repeats = repeats;
    Ok(())
}
