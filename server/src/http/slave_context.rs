//! `GET /c/<token>`: the slaves' context with the cluster's values in it, for VMs without the agent, whose cloud-init
//! asks for it because of `#include-once`.
//!
//! cloud-init gives up a request when nothing comes for five seconds, so the answer begins at once and a comment comes
//! every three seconds until the master is ready. Every answer that says something final is a 200: at any other status
//! cloud-init tries ten times more and then ends its network stage, in which the keys of sshd are made. What is not
//! final ends without the end of the body, so cloud-init asks again and keeps nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use context::document::Document;
use context::value::{self, Origin};
use futures_util::{StreamExt as _, stream};
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use pairing_core::Refused;
use pairing_core::hub::Wake;
use protocol::Pin;
use protocol::key::{MASTER_IP, MASTER_READY, is_ready_for};
use protocol::node::is_sealed;
use tokio::time::{Instant, timeout_at};

use super::answer_body::{AnswerBody, StreamCut};
use super::refusal::Refusal;
use crate::held_requests::HoldPermit;
use crate::hub::Hub;
use crate::service::Service;
use crate::slave_contexts::SLAVE_CONTEXT;
use crate::store::Store;

/// What cloud-init knows a cloud-config by.
const CLOUD_CONFIG: &str = "#cloud-config";
/// Between two comments.
const COMMENT: Duration = Duration::from_secs(3);
/// How long the master is waited for where the URL does not say, in seconds: as long as an agent waits.
const TIMEOUT: u64 = 1500;
/// The longest time that a URL can say, in seconds.
const MAX_TIMEOUT: u64 = 3600;
/// How long other keys are waited for after the master is ready.
const OTHER_KEYS: Duration = Duration::from_secs(60);

/// A context that waits for its cluster.
struct PendingContext {
    store: Arc<Store>,
    hub: Arc<Hub>,
    pin: Pin,
    _hold: HoldPermit,
    seconds: u64,
    deadline: Instant,
    /// When the master was ready, once it was.
    ready: Option<Instant>,
    over: bool,
}

/// What a look at the cluster gives.
enum RenderState {
    /// The context with its values.
    Rendered(Vec<u8>),
    /// Why there will be none.
    Impossible(String),
    /// This key has to come, or to change.
    WaitsFor(String),
}

/// Answers a request for the context of a token.
pub(super) async fn show(
    service: &Service,
    client: IpAddr,
    token: &str,
    query: &str,
    can_stream: bool,
) -> Response<AnswerBody> {
    match begin(service, client, token, query, can_stream).await {
        Ok(body) => answer(body),
        Err(refusal) => super::refuse(service, &refusal),
    }
}

async fn begin(
    service: &Service,
    client: IpAddr,
    token: &str,
    query: &str,
    can_stream: bool,
) -> Result<AnswerBody, Refusal> {
    let Ok(seconds) = parse_timeout(query) else {
        return Ok(whole(&failure(&format!(
            "timeout in the URL of the context is not a number of seconds from 1 to {MAX_TIMEOUT}. Next: correct the \
             user-data"
        ))));
    };
    let Some(pin) = service.slave_contexts.pin(token) else {
        service.metrics.refused(Refusal::UnknownPin.cause());
        service.rate_limits.unknown_pin(client).await;
        return Ok(whole(&failure(GONE)));
    };
    let rendered = render(&service.store, &pin).await?;
    let hold = match rendered {
        RenderState::Rendered(context) => return Ok(context.into()),
        RenderState::Impossible(why) => return Ok(whole(&failure(&why))),
        RenderState::WaitsFor(_) if !can_stream => {
            return Ok(whole(&failure(
                "the master is not ready, and this VM cannot wait: a proxy before the pairing service speaks HTTP/1.0. \
                 Next: have it speak HTTP/1.1 (in nginx, proxy_http_version 1.1)",
            )));
        }
        RenderState::WaitsFor(_) => {
            service.held_requests.hold(client).map_err(|_| Refusal::TooManyWaiters)?
        }
    };
    let pending = PendingContext {
        store: service.store.clone(),
        hub: service.hub.clone(),
        pin,
        _hold: hold,
        seconds,
        deadline: Instant::now() + Duration::from_secs(seconds),
        ready: None,
        over: false,
    };
    let head = Bytes::from_static(b"#cloud-config\n# The pairing service waits for the master.\n");
    let rest = stream::unfold(pending, PendingContext::next);
    Ok(AnswerBody::cut_stream(stream::iter([Ok(head)]).chain(rest)))
}

const GONE: &str = "the pairing service knows no context of this token: the cluster has expired or was deleted, or the \
                    URL is mistyped. Next: launch this VM with the context of a cluster that is there";

impl PendingContext {
    /// What is sent next; `None` when that was all.
    async fn next(mut self) -> Option<(Result<Bytes, StreamCut>, Self)> {
        if self.over {
            return None;
        }
        let comment = Instant::now() + COMMENT;
        let (sent, over) = loop {
            let Some(awaited) = self.try_render().await else { break (Err(StreamCut), true) };
            let key = match awaited {
                RenderState::Rendered(context) => break (Ok(context.into()), true),
                RenderState::Impossible(why) => break (Ok(failure(&why).into()), true),
                RenderState::WaitsFor(key) => key,
            };
            if key != MASTER_READY && key != MASTER_IP {
                self.ready.get_or_insert_with(Instant::now);
            }
            let deadline = match self.ready {
                Some(ready) => self.deadline.min(ready + OTHER_KEYS),
                None => self.deadline,
            };
            if Instant::now() >= deadline {
                break (Ok(failure(&self.too_late(&key)).into()), true);
            }
            // No change is missed: the hub knows of the waiter before the store is asked again.
            let Ok(mut waiter) = self.hub.wait(&self.pin, &key) else { break (Err(StreamCut), true) };
            match render(&self.store, &self.pin).await {
                Ok(RenderState::WaitsFor(still)) if still == key => {}
                _ => continue,
            }
            match timeout_at(comment.min(deadline), waiter.woken()).await {
                Ok(Wake::ShuttingDown | Wake::Unreachable) => break (Err(StreamCut), true),
                Ok(_) => {}
                Err(_) if Instant::now() >= deadline => {}
                Err(_) => break (Ok(Bytes::from_static(b"# It is not ready yet.\n")), false),
            }
        };
        self.over = over;
        Some((sent, self))
    }

    /// A look at the cluster; `None` when the store cannot tell.
    async fn try_render(&self) -> Option<RenderState> {
        match render(&self.store, &self.pin).await {
            Ok(look) => Some(look),
            Err(Refused::UnknownPin) => Some(RenderState::Impossible(GONE.to_owned())),
            Err(_) => None,
        }
    }

    fn too_late(&self, key: &str) -> String {
        let after = match self.ready {
            Some(_) => format!("{} s after the master was ready", OTHER_KEYS.as_secs()),
            None => format!("{} s", self.seconds),
        };
        format!(
            "the cluster has no usable {key} after {after}, so this VM runs without its context. Next: look at the \
             master, then run cloud-init clean --reboot here"
        )
    }
}

/// Looks whether the cluster has everything that its slaves' context needs, by the rules of the agent.
async fn render(store: &Store, pin: &Pin) -> Result<RenderState, Refused> {
    let read = async |key: &str| match store.key(pin, key).await {
        Ok(found) => Ok(Some(found)),
        Err(Refused::UnknownKey) => Ok(None),
        Err(refused) => Err(refused),
    };
    let impossible = |why: String| Ok(RenderState::Impossible(why));
    let Some(template) = read(SLAVE_CONTEXT).await? else { return impossible(GONE.to_owned()) };
    let Some(ready) = read(MASTER_READY).await? else {
        return Ok(RenderState::WaitsFor(MASTER_READY.to_owned()));
    };
    let Some(address) = read(MASTER_IP).await? else {
        return Ok(RenderState::WaitsFor(MASTER_IP.to_owned()));
    };
    if is_sealed(&address.value) || is_sealed(&ready.value) {
        return impossible(
            "the cluster's values are sealed, and only cernvm-cluster-agent can open them. Next: take cvm_cluster_secret \
             out of the master's context"
                .to_owned(),
        );
    }
    if !is_ready_for(&ready.value, &address.value) {
        return Ok(RenderState::WaitsFor(MASTER_READY.to_owned()));
    }
    if template.value.lines().next().map(str::trim_end) != Some(CLOUD_CONFIG) {
        return impossible(format!(
            "{SLAVE_CONTEXT} does not begin with the line {CLOUD_CONFIG}. Next: publish one that does"
        ));
    }
    // Nothing in a context of this size is slow, so it needs no thread of its own.
    let document = match Document::parse(SLAVE_CONTEXT, template.value.clone().into_bytes()) {
        Ok(document) => document,
        Err(err) => return impossible(err.to_string()),
    };
    let mut wanted: BTreeSet<String> = document.placeholders().iter().map(|found| found.key()).collect();
    wanted.insert(MASTER_IP.to_owned());
    let mut values = BTreeMap::new();
    for key in wanted {
        let Some(found) = read(&key).await? else { return Ok(RenderState::WaitsFor(key)) };
        if let Err(err) = value::check(&key, &found.value, Origin::Received) {
            return impossible(err.to_string());
        }
        values.insert(key, found.value.clone());
    }
    match document.substitute(&values) {
        Ok(done) => Ok(RenderState::Rendered(done.bytes)),
        Err(err) => impossible(err.to_string()),
    }
}

/// `timeout=SECONDS`; other members are ignored.
fn parse_timeout(query: &str) -> Result<u64, ()> {
    let Some((_, value)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "timeout")
    else {
        return Ok(TIMEOUT);
    };
    value.parse().ok().filter(|seconds| (1..=MAX_TIMEOUT).contains(seconds)).ok_or(())
}

/// A cloud-config that does nothing but say on the console why it does nothing, at every boot.
fn failure(why: &str) -> String {
    let said = serde_json::to_string(&format!("cernvm-cluster: {why}")).expect("a text serialises");
    format!("{CLOUD_CONFIG}\nbootcmd:\n- [sh, -c, 'echo \"$0\" | tee /dev/console', {said}]\n")
}

fn whole(text: &str) -> AnswerBody {
    text.as_bytes().to_vec().into()
}

fn answer(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/cloud-config; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Has nginx pass on each comment as it comes.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::slave_contexts::token;
    use crate::store::Update;
    use crate::testing::Harness;

    const TEMPLATE: &str =
        "#cloud-config\nruncmd:\n- 'join ###MASTER_IP_PLACEHOLDER### ###TOKEN_PLACEHOLDER###'\n";
    const RENDERED: &str = "#cloud-config\nruncmd:\n- 'join 10.0.0.1 t0k:en'\n";

    fn path(world: &Harness, query: &str) -> String {
        format!("/c/{}{query}", token(&world.pin))
    }

    /// The body up to its end, and whether it was cut off.
    async fn read(world: &Harness, path: &str) -> (String, bool) {
        let answer = world.send("GET", path, &[], "").await;
        assert_eq!(answer.status(), 200);
        let (mut body, mut text) = (answer.into_body(), String::new());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text.push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap()),
                Err(StreamCut) => return (text, true),
            }
        }
        (text, false)
    }

    #[tokio::test(start_paused = true)]
    async fn sends_comments_until_the_master_is_ready_then_the_context() {
        let world = Harness::new().await;
        world.set(SLAVE_CONTEXT, TEMPLATE).await;
        world.set("token", "t0k:en").await;
        world.set(MASTER_READY, "10.0.0.9").await;
        let begun = Instant::now();
        let master = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            // The address of a master that was replaced, at first.
            world.set(MASTER_IP, "10.0.0.1").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let update = Update { name: None, value: Some("10.0.0.1".to_owned()) };
            world.service.store.update_key(&world.pin, MASTER_READY, update).await.unwrap();
        };
        let path = path(&world, "");
        let ((text, cut), ()) = tokio::join!(read(&world, &path), master);
        assert_eq!(begun.elapsed(), Duration::from_secs(11));
        assert!(!cut && text.starts_with("#cloud-config\n# "), "{text}");
        assert_eq!(text.matches("# It is not ready yet.\n").count(), 3, "{text}");
        assert!(text.ends_with(RENDERED), "{text}");
        // The next one does not wait.
        assert_eq!(read(&world, &path).await, (RENDERED.to_owned(), false));
        assert_eq!(world.ask("POST", &path, &[], "").await.status, 405);
    }

    #[tokio::test(start_paused = true)]
    async fn says_on_the_console_what_is_final() {
        let world = Harness::new().await;
        world.set(SLAVE_CONTEXT, TEMPLATE).await;
        let begun = Instant::now();
        let (late, cut) = read(&world, &path(&world, "?timeout=8")).await;
        assert_eq!((begun.elapsed(), cut), (Duration::from_secs(8), false));
        assert!(
            late.contains("bootcmd:\n- [sh, -c") && late.contains("no usable master_ready after 8 s"),
            "{late}"
        );

        world.set(MASTER_IP, "10.0.0.1").await;
        world.set(MASTER_READY, "10.0.0.1").await;
        let (late, _) = read(&world, &path(&world, "")).await;
        assert!(late.contains("no usable token after 60 s after the master was ready"), "{late}");

        world.set("token", "$(reboot)").await;
        let (wrong, _) = read(&world, &path(&world, "")).await;
        assert!(wrong.contains("syntax") && !wrong.contains("reboot)"), "{wrong}");
        for query in ["?timeout=0", "?timeout=3601", "?timeout=soon"] {
            assert!(read(&world, &path(&world, query)).await.0.contains("from 1 to 3600"), "{query}");
        }
        let unknown = format!("/c/{}", "0".repeat(32));
        assert!(read(&world, &unknown).await.0.contains("knows no context of this token"));
        assert_eq!(world.ask("GET", "/c/short", &[], "").await.status, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_what_is_sealed_or_no_cloud_config() {
        let world = Harness::new().await;
        world.set(SLAVE_CONTEXT, "#!/bin/sh\n").await;
        world.set(MASTER_READY, "yes").await;
        world.set(MASTER_IP, "10.0.0.1").await;
        assert!(
            read(&world, &path(&world, "")).await.0.contains("does not begin with the line #cloud-config")
        );
        let sealed = format!("v1.{}", "A".repeat(60));
        let update = Update { name: None, value: Some(sealed) };
        world.service.store.update_key(&world.pin, MASTER_IP, update).await.unwrap();
        assert!(read(&world, &path(&world, "")).await.0.contains("sealed"));
    }

    #[tokio::test(start_paused = true)]
    async fn ends_without_an_end_when_the_service_ends_and_in_words_when_the_cluster_does() {
        for ends in [true, false] {
            let world = Harness::new().await;
            world.set(SLAVE_CONTEXT, TEMPLATE).await;
            let end = async {
                tokio::time::sleep(Duration::from_secs(4)).await;
                if ends {
                    world.service.hub.close();
                } else {
                    world.service.store.delete_cluster(&world.pin).await.unwrap();
                }
            };
            let path = path(&world, "");
            let ((text, cut), ()) = tokio::join!(read(&world, &path), end);
            assert_eq!(cut, ends, "{text}");
            assert_eq!(text.contains("knows no context"), !ends, "{text}");
        }
    }
}
