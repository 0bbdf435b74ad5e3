//! What a journal in etcd counts; nothing without one.

use std::fmt;
use std::time::Duration;

use pairing_etcd::{BOUNDS, JournalStats};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

pub(super) fn encode(mut encoder: DescriptorEncoder<'_>, stats: &JournalStats) -> fmt::Result {
    let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
    let bounds = BOUNDS.iter().map(|&bound| seconds(bound)).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(stats.commits).collect();
    let count = stats.commits.iter().sum();
    encoder
        .encode_descriptor(
            "journal_commit",
            "Time until a transaction has succeeded in etcd and the watch has delivered it",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?
        .encode_histogram::<NoLabelSet>(seconds(stats.commit_micros), count, &buckets, None)?;
    encoder
        .encode_descriptor(
            "journal_watch_lag",
            "Time by which the watch was behind etcd when that was last looked at",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?
        .encode_gauge(&seconds(stats.lag_micros))?;
    encoder
        .encode_descriptor(
            "journal_cut_off",
            "1 if the majority of etcd cannot be reached; else 0",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&u64::from(stats.cut_off))?;
    for (name, help, value) in [
        (
            "journal_conflicts",
            "Transactions that were evaluated again since another server was faster",
            stats.conflicts,
        ),
        (
            "journal_retries",
            "Requests that were sent again since a member of etcd did not answer",
            stats.retries,
        ),
        ("journal_reloads", "Times that all of the store was loaded, the start among them", stats.reloads),
        ("journal_watches", "Times that a watch was begun, the start among them", stats.watches),
        ("journal_read_indexes", "Read indexes that etcd was asked for", stats.read_indexes),
        ("journal_reads", "Reads that shared the read indexes", stats.reads),
    ] {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}
