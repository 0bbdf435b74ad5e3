//! Many clients create one key at the same moment: one of them does, the others are told that it exists.

use std::collections::BTreeMap;
use std::sync::Barrier;

use worlds::api::Api;
use worlds::figures;
use worlds::service::Service;

const CLIENTS: usize = 64;
const ROUNDS: usize = 50;

#[test]
fn lets_exactly_one_of_many_create_a_key() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut statuses = BTreeMap::new();
    for round in 0..ROUNDS {
        let key = format!("key_{round}");
        let answers = create_at_once(service.api(), &pin, &key);
        let created: Vec<_> = answers.iter().filter(|(_, status)| *status == 201).collect();
        let [(winner, _)] = created[..] else { panic!("created by {created:?}") };
        assert_eq!(service.api().value(&pin, &key).as_ref(), Some(winner));
        for (_, status) in answers {
            *statuses.entry(status).or_insert(0) += 1;
        }
    }
    figures::show(&format!("{ROUNDS} rounds of {CLIENTS} clients, answers by status: {statuses:?}"));
    assert_eq!(statuses, BTreeMap::from([(201, ROUNDS), (409, ROUNDS * (CLIENTS - 1))]));
}

/// What each client tried to store, and the status that it got.
fn create_at_once(api: Api, pin: &str, key: &str) -> Vec<(String, u16)> {
    let start = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let start = &start;
                scope.spawn(move || {
                    let value = format!("of client {client}");
                    start.wait();
                    let answer = api.post_key(pin, key, &value).expect("the service answers");
                    (value, answer.status)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    })
}
