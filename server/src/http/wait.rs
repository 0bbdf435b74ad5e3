//! `Prefer: wait=N` on a GET of a key: the request is held until the key is there. (On a list of nodes: `nodes.rs`.)

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::HeaderValue;
use pairing_core::Refused;
use pairing_core::hub::Wake;
use pairing_core::store::Key;
use protocol::Pin;
use tokio::time::{Instant, timeout, timeout_at};

use super::answers::Reply;
use super::etag::etag;
use super::prefer::Wait;
use super::refusal::Refusal;
use crate::service::Service;

/// Waits for a key that was not there a moment ago. No commit is missed: the hub knows of the waiter before the store
/// is asked again, and hears of every change after reads can see it.
///
/// # Errors
/// The key did not come in time, the pin is unknown or went meanwhile, or the service cannot hold the request.
pub(super) async fn for_key(
    service: &Service,
    client: IpAddr,
    pin: Pin,
    name: Box<str>,
    wait: Wait,
) -> Result<Arc<Key>, Refusal> {
    let _hold = service.held_requests.hold(client).map_err(|_| Refusal::TooManyWaiters)?;
    let mut waiter = service.hub.wait(&pin, &name)?;
    match service.store.key(&pin, &name).await {
        Err(Refused::UnknownKey) => {}
        found => return Ok(found?),
    }
    let expires = service.store.cluster(&pin).await?.expires;
    let longest = wait.longest().min(expires.since(service.store.now()));
    match timeout(longest, waiter.woken()).await {
        Ok(Wake::Set(key)) => Ok(key),
        Ok(Wake::Gone | Wake::Nodes) | Err(_) => Err(Refusal::UnknownKey),
        Ok(Wake::Unreachable) => Err(Refusal::Unreachable),
        Ok(Wake::ShuttingDown) => Err(Refusal::ShuttingDown),
    }
}

/// Waits until a key is another one than the client has.
///
/// # Errors
/// The key or the pin has gone, or the service cannot hold the request.
pub(super) async fn for_change(
    service: &Service,
    client: IpAddr,
    pin: Pin,
    name: Box<str>,
    known: HeaderValue,
    wait: Wait,
) -> Result<Reply, Refusal> {
    let _hold = service.held_requests.hold(client).map_err(|_| Refusal::TooManyWaiters)?;
    let end = Instant::now() + wait.longest();
    loop {
        let mut waiter = service.hub.wait(&pin, &name)?;
        let key = service.store.key(&pin, &name).await?;
        if etag(&key).as_ref() != Some(&known) {
            return Ok(Reply::Key(key));
        }
        let expires = service.store.cluster(&pin).await?.expires;
        let end = end.min(Instant::now() + expires.since(service.store.now()));
        match timeout_at(end, waiter.woken()).await {
            Ok(Wake::Set(_) | Wake::Nodes) => {}
            Ok(Wake::Gone) => return Err(Refusal::UnknownKey),
            Ok(Wake::ShuttingDown) => return Err(Refusal::ShuttingDown),
            Ok(Wake::Unreachable) => return Err(Refusal::Unreachable),
            // It may have been deleted meanwhile, which wakes no one.
            Err(_) => {
                return service
                    .store
                    .key(&pin, &name)
                    .await
                    .map(|_| Reply::Unchanged(known))
                    .map_err(Refusal::from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;
    use crate::http::etag;
    use crate::return_times::ReturnTimes;
    use crate::store::{Limits, Update};
    use crate::testing::{Harness, TestAnswer};

    const WAIT: &[(&str, &str)] = &[("prefer", "wait=20")];

    /// Asks for `master_ip` and waits; once that hangs, does `meanwhile`.
    async fn waiting(world: &Harness, meanwhile: impl Future<Output = ()>) -> TestAnswer {
        let path = world.key("master_ip");
        let mut asked = pin!(world.ask("GET", &path, WAIT, ""));
        tokio::select! {
            biased;
            asked = asked.as_mut() => panic!("{} before anything happened", asked.status),
            () = yield_now() => {}
        }
        meanwhile.await;
        asked.await
    }

    fn check(asked: &TestAnswer, status: u16, body: &str) {
        assert_eq!((asked.status, asked.body.as_str()), (status, body));
        assert_eq!(asked.header("preference-applied"), "wait=20");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_the_moment_the_key_is_there() {
        let world = Harness::new().await;
        let begun = Instant::now();
        check(&waiting(&world, world.set("master_ip", "10.0.0.1")).await, 200, "master_ip: 10.0.0.1");
        check(&world.ask("GET", &world.key("master_ip"), WAIT, "").await, 200, "master_ip: 10.0.0.1");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn sees_a_key_that_came_between_the_first_look_and_the_wait() {
        let world = Harness::new().await;
        world.set("master_ip", "10.0.0.1").await;
        let begun = Instant::now();
        let (client, wait) = ([127, 0, 0, 1].into(), Wait { seconds: 20 });
        let key = for_key(&world.service, client, world.pin.clone(), "master_ip".into(), wait).await.unwrap();
        assert_eq!((key.value.as_str(), begun.elapsed()), ("10.0.0.1", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_the_moment_another_key_gets_the_name() {
        for value in [None, Some("2".to_owned())] {
            let world = Harness::new().await;
            world.set("other", "1").await;
            let expected = format!("master_ip: {}", value.as_deref().unwrap_or("1"));
            let renamed = waiting(&world, async {
                let update = Update { name: Some("master_ip".to_owned()), value };
                world.service.store.update_key(&world.pin, "other", update).await.unwrap();
            });
            check(&renamed.await, 200, &expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn says_404_when_the_time_is_up() {
        let world = Harness::new().await;
        let begun = Instant::now();
        check(&waiting(&world, world.set("other", "1")).await, 404, "");
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn says_404_at_once_when_the_pin_is_unknown_or_goes() {
        let world = Harness::new().await;
        let begun = Instant::now();
        let unknown = "/api/v1/clusters/zzzzzzzzzzzz/keys/master_ip";
        check(&world.ask("GET", unknown, WAIT, "").await, 404, "");
        let deletion = async { world.service.store.delete_cluster(&world.pin).await.unwrap() };
        check(&waiting(&world, deletion).await, 404, "");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_no_longer_than_the_pin_lives() {
        let world = Harness::new().await;
        world.clock.advance(Limits::default().lifetime - Duration::from_secs(3));
        let begun = Instant::now();
        check(&waiting(&world, async {}).await, 404, "");
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn hears_of_the_end_of_a_pin_from_the_sweeper() {
        let world = Harness::new().await;
        let begun = Instant::now();
        let sweep = async {
            world.clock.advance(Limits::default().lifetime);
            world.service.store.sweep().await.unwrap();
        };
        check(&waiting(&world, sweep).await, 404, "");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn sends_waiters_away_when_the_service_ends() {
        let world = Harness::new().await;
        let asked = waiting(&world, async { world.service.hub.close() }).await;
        check(&asked, 503, "");
        assert_eq!(asked.header("retry-after"), "1");
        check(&world.ask("GET", &world.key("master_ip"), WAIT, "").await, 503, "");
    }

    #[tokio::test(start_paused = true)]
    async fn sends_many_waiters_away_for_several_times() {
        let mut world = Harness::new().await;
        Arc::get_mut(&mut world.service).unwrap().return_times = ReturnTimes::slow();
        let path = world.key("master_ip");
        let mut asked = pin!(join_all((0..64).map(|_| world.ask("GET", &path, WAIT, ""))));
        tokio::select! {
            biased;
            _ = asked.as_mut() => panic!("answered before anything happened"),
            () = yield_now() => {}
        }
        world.service.hub.close();
        let mut seconds: Vec<u64> =
            asked.await.iter().map(|asked| asked.header("retry-after").parse().unwrap()).collect();
        seconds.sort_unstable();
        // 64 that come back one a second, each after up to twice as long as it is told: half of that time, 30 s at most.
        assert!(seconds[0] >= 1 && seconds[63] <= 30 && seconds[0] < seconds[63], "{seconds:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn tells_a_client_that_has_the_value_only_of_another_one() {
        let world = Harness::new().await;
        world.set("master_ip", "10.0.0.1").await;
        let path = world.key("master_ip");
        let tag = world.ask("GET", &path, &[], "").await.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'));
        let known = [("if-none-match", tag.as_str())];
        let same = world.ask("GET", &path, &known, "").await;
        assert_eq!((same.status, same.body.as_str(), same.header("etag")), (304, "", tag.as_str()));
        assert_eq!(world.ask("GET", &path, &[("if-none-match", "\"x\"")], "").await.status, 200);
        let set = |value: &'static str| {
            let update = Update { value: Some(value.to_owned()), ..Update::default() };
            let world = &world;
            async move {
                world.service.store.update_key(&world.pin, "master_ip", update).await.unwrap();
            }
        };
        let waits = [("if-none-match", tag.as_str()), ("prefer", "wait=20")];
        let begun = Instant::now();
        let (asked, ()) = tokio::join!(world.ask("GET", &path, &waits, ""), async {
            yield_now().await;
            set("10.0.0.2").await;
        });
        check(&asked, 200, "master_ip: 10.0.0.2");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(world.ask("GET", &path, &waits, "").await.status, 200, "it is another one already");
        let tag = asked.header("etag").to_owned();
        let waits = [("if-none-match", tag.as_str()), ("prefer", "wait=20")];
        check(&world.ask("GET", &path, &waits, "").await, 304, "");
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
        let (asked, ()) = tokio::join!(world.ask("GET", &path, &waits, ""), async {
            yield_now().await;
            world.service.store.delete_cluster(&world.pin).await.unwrap();
        });
        check(&asked, 404, "");
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
        let long = "x".repeat(etag::TAGGED + 1);
        let world = Harness::new().await;
        world.set("long", &long).await;
        assert_eq!(world.ask("GET", &world.key("long"), &[], "").await.header("etag"), "");
    }

    #[tokio::test(start_paused = true)]
    async fn tells_what_it_grants_in_every_answer() {
        let world = Harness::new().await;
        world.set("a", "1").await;
        for (prefer, granted) in [
            ("wait=50", "wait=50"),
            ("wait=51", "wait=50"),
            ("wait=4000000000", "wait=50"),
            ("wait=0", "wait=0"),
            ("respond-async, Wait = \"7\"", "wait=7"),
            ("wait=soon", ""),
            ("return=minimal", ""),
        ] {
            for (path, accept) in
                [(world.key("a"), "*/*"), (world.key("b"), "*/*"), (world.key("a"), "image/png")]
            {
                let asked = world.ask("GET", &path, &[("prefer", prefer), ("accept", accept)], "").await;
                assert_eq!(asked.header("preference-applied"), granted, "{prefer} {path}");
            }
        }
        assert_eq!(world.ask("GET", &world.cluster(), WAIT, "").await.header("preference-applied"), "");
        assert_eq!(world.ask("DELETE", &world.key("a"), WAIT, "").await.header("preference-applied"), "");
    }
}
