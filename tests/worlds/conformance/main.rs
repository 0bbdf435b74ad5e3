//! The original service, recorded, played against ours.
//!
//! Each file of `tests/conformance/` is a scenario: requests in order, and what the reference (CernVM Online's REST
//! application, 2016 to 2020) answered. What it did that no new service should be held to is marked as a quirk and
//! not sent; `quirks.rs` says what ours does instead. `docs/api.md` describes the contract in words.

mod compare;
mod play;
mod record;
mod template;

use std::path::Path;

use worlds::figures;
use worlds::service::Service;

use crate::play::Player;
use crate::record::Scenario;

/// A lost or newly excused record must not pass unseen: 462 exchanges, and 17 of the two scenarios that age a pin.
const EXCHANGES: usize = 462 + 17;

#[test]
fn answers_every_recorded_exchange_as_the_original_did() {
    // The original's limit, which some records walk along.
    let service = Service::with(&["--max-value-length", "1000"]);
    let mut player = Player::new(service);
    for scenario in Scenario::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")) {
        player.play(&scenario);
    }
    let failed = player.failed();
    figures::show(&format!("{} exchanges passed, {} failed", player.passed(), failed.len()));
    assert!(failed.is_empty(), "{} exchanges differ:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(player.passed(), EXCHANGES);
}
