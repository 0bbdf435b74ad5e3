//! The members of the etcd cluster: a connection to each, and the one that is asked at the moment.
//!
//! A member that does not answer in time is left for the next. Asking again is safe: reads change nothing, and a
//! transaction compares what it was evaluated against, so it happens once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, LeaseClient, TlsOptions, Txn,
    TxnResponse,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::Config;
use crate::error::{Error, Failure};
use crate::stats::Counters;

/// How long one member may take to answer. A disk that takes longer is as good as a member that is gone.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Pause before the next member is asked.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a connection is tried that carries nothing: etcd allows no more.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The largest message that is taken from etcd: a page of the store, or what a watch has to catch up with.
const MESSAGE: usize = 256 << 20;

pub(crate) struct Members {
    members: Vec<Member>,
    current: AtomicUsize,
    pub(crate) counters: Arc<Counters>,
}

struct Member {
    url: String,
    options: ConnectOptions,
    user: Option<String>,
    client: Mutex<Option<Arc<Client>>>,
}

impl Member {
    /// A connection, made when it is first asked for. Shared, since a copy of a client is many copies of its channel.
    async fn client(&self) -> Result<Arc<Client>, Failure> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        // With a user, this asks for a token.
        let made = Client::connect([&self.url], Some(self.options.clone())).await?;
        Ok(client.insert(Arc::new(made)).clone())
    }
}

impl Members {
    pub(crate) fn new(config: &Config, counters: Arc<Counters>) -> Self {
        let options = options(config);
        let user = config.user.as_ref().map(|(name, _)| name.clone());
        let member = |url: &String| Member {
            url: url.clone(),
            options: options.clone(),
            user: user.clone(),
            client: Mutex::new(None),
        };
        Self { members: config.urls.iter().map(member).collect(), current: AtomicUsize::new(0), counters }
    }

    /// How many members there are.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// Which member is asked now.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    pub(crate) fn url(&self, member: usize) -> &str {
        &self.members[member].url
    }

    /// The member `failed` has not answered: the next is asked from now on.
    pub(crate) fn leave(&self, failed: usize) {
        let next = (failed + 1) % self.members.len();
        // Another call may have left it already.
        let _ = self.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// This member has answered: it is asked first.
    pub(crate) fn prefer(&self, member: usize) {
        self.current.store(member, Ordering::Relaxed);
    }

    /// A connection to a member.
    ///
    /// # Errors
    /// None can be made.
    pub(crate) async fn client(&self, member: usize) -> Result<Arc<Client>, Failure> {
        let connected = timeout(ATTEMPT, self.members[member].client()).await;
        connected.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Asks one member.
    ///
    /// # Errors
    /// What it answers instead, or that it does not answer.
    pub(crate) async fn call<T, F>(
        &self,
        member: usize,
        call: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let called = timeout(ATTEMPT, async { Ok(call(self.members[member].client().await?).await?) });
        called.await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Asks one member after the other until `deadline`.
    ///
    /// # Errors
    /// What the last one answers instead.
    pub(crate) async fn call_any<T, F>(
        &self,
        deadline: Instant,
        call: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        loop {
            let member = self.current();
            let answer = timeout_at(deadline, self.call(member, &call)).await;
            match answer.unwrap_or_else(|_| Err(no_answer())) {
                Err(Failure::Unreachable(problem)) => {
                    self.leave(member);
                    self.counters.update(|stats| stats.retries += 1);
                    log::debug!("{}: {problem}", self.members[member].url);
                    if Instant::now() + PAUSE >= deadline {
                        return Err(Failure::Unreachable(format!("{}: {problem}", self.members[member].url)));
                    }
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn get(
        &self,
        deadline: Instant,
        key: &str,
        options: Option<GetOptions>,
    ) -> Result<GetResponse, Failure> {
        let get = |client: Arc<Client>| {
            let (key, options) = (key.to_owned(), options.clone());
            async move { client.kv_client().max_decoding_message_size(MESSAGE).get(key, options).await }
        };
        self.call_any(deadline, get).await
    }

    pub(crate) async fn txn(&self, deadline: Instant, txn: &Txn) -> Result<TxnResponse, Failure> {
        self.call_any(deadline, |client: Arc<Client>| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        })
        .await
    }

    /// A lease that ends after so long; its number.
    pub(crate) async fn lease(&self, deadline: Instant, lasts: Duration) -> Result<i64, Failure> {
        let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
        let grant = |client: Arc<Client>| async move {
            let mut leases: LeaseClient = client.lease_client();
            leases.grant(seconds, None).await
        };
        self.call_any(deadline, grant).await.map(|granted| granted.id())
    }

    /// What a failure with a member means for the start; `None`: it may go away.
    pub(crate) fn start_error(&self, member: usize, failure: &Failure) -> Option<Error> {
        let member = &self.members[member];
        let url = member.url.clone();
        match failure {
            Failure::Access(problem) => {
                let who = member.user.as_ref().map_or_else(
                    || "a client without a user's name".to_owned(),
                    |user| format!("the user {user}"),
                );
                Some(Error::Access { url, who, problem: problem.clone() })
            }
            Failure::Tls(problem) => Some(Error::Tls { url, problem: problem.clone() }),
            Failure::Final(problem) => {
                Some(Error::Store(pairing_core::Refused::Failed(format!("{url}: {problem}"))))
            }
            _ => None,
        }
    }
}

fn no_answer() -> Failure {
    Failure::Unreachable(format!("no answer in {} s", ATTEMPT.as_secs()))
}

fn options(config: &Config) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(ATTEMPT)
        .with_keep_alive(KEEP_ALIVE, ATTEMPT * 3)
        .with_keep_alive_while_idle(false)
        // A member that has lost the leader says so, rather than to keep a watch that hears nothing.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some((name, password)) = &config.user {
        options = options.with_user(name, password);
    }
    if let Some(tls) = &config.tls {
        let mut wanted = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca));
        if let Some((certificate, key)) = &tls.identity {
            wanted = wanted.identity(Identity::from_pem(certificate, key));
        }
        options = options.with_tls(wanted);
    }
    options
}
