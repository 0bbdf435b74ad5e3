//! One connection to RabbitMQ: a login, a queue of its own, and the messages that come into it.
//!
//! The queue is the launcher's alone and goes with the connection, so nothing is taken from others who read notifications, and
//! nothing piles up while the launcher is away. No exchange is declared: with other properties than those that the cloud's
//! services give it, they could not use it any more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicQosArguments, Channel, ConsumerMessage,
    ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::broker::{Broker, BrokerError};
use super::{Member, Message, read};

/// Longest time until a connection is there, and again until its queue is. RabbitMQ waits three seconds before it sends an
/// unknown user away.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Longest time for the end of a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Seconds between two heartbeats: a RabbitMQ that is silent for two of them is away.
const HEARTBEAT: u16 = 10;
/// Most messages that RabbitMQ sends ahead.
const PREFETCH: u16 = 256;
/// Most messages that wait in the queue; the oldest go first. What they say, a look at every cluster says too.
const QUEUE_LENGTH: i32 = 10_000;
/// The routing keys: what succeeded and what failed, in both of Nova's forms.
const ROUTING_KEYS: [&str; 4] = [
    "notifications.info",
    "notifications.error",
    "versioned_notifications.info",
    "versioned_notifications.error",
];

/// What RabbitMQ said when it closed something.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Option<String>>>);

impl Said {
    fn note(&self, text: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection with a queue.
pub(super) struct BrokerSession {
    connection: Connection,
    /// Holds the consumer.
    channel: Channel,
    messages: UnboundedReceiver<ConsumerMessage>,
    said: Said,
    member: Member,
    queue: String,
    /// The exchanges whose messages come.
    pub(super) bound: BTreeSet<String>,
    /// Those that cannot be bound to, each with the reason.
    pub(super) missing: Vec<(String, String)>,
}

impl BrokerSession {
    /// Connects to a member.
    pub(super) async fn open(broker: &Arc<Broker>, member: &Member) -> Result<Self, BrokerError> {
        let (broker, to) = (Arc::clone(broker), member.clone());
        // In a task of its own: the crate panics on methods that it does not know.
        let opened = spawn(async move { timeout(OPEN_LIMIT * 2, open(&broker, to)).await });
        match opened.await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) => Err(BrokerError::silent(member)),
            Err(_) => Err(BrokerError::nonsense(member)),
        }
    }

    /// Waits for a message; `None` when there are no more. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> Option<ConsumerMessage> {
        self.messages.recv().await
    }

    /// A message with those that came behind it, all of them acknowledged. An error when there are no more.
    pub(super) async fn take(&mut self, first: Option<ConsumerMessage>) -> Result<Vec<Message>, BrokerError> {
        let mut messages = Vec::new();
        let mut last = None;
        let mut next = first;
        while let Some(delivered) = next {
            last = delivered.deliver.map(|deliver| deliver.delivery_tag()).or(last);
            messages.push(read(&delivered.content.unwrap_or_default()));
            // At most a prefetch: more are not sent before these are acknowledged.
            next = if messages.len() < usize::from(PREFETCH) { self.messages.try_recv().ok() } else { None };
        }
        let Some(last) = last else { return Err(BrokerError::lost(&self.member, self.said.take())) };
        match self.channel.basic_ack(BasicAckArguments::new(last, true)).await {
            Ok(()) => Ok(messages),
            Err(_) => Err(BrokerError::lost(&self.member, self.said.take())),
        }
    }

    /// Tries again to bind to what is missing. Whether that changed something.
    pub(super) async fn bind_missing(&mut self) -> bool {
        let mut changed = false;
        for (exchange, before) in std::mem::take(&mut self.missing) {
            match bind(&self.connection, &self.queue, &exchange).await {
                Ok(()) => {
                    self.bound.insert(exchange);
                    changed = true;
                }
                Err(said) => {
                    // Without a word from RabbitMQ it is the connection that ends, which is told elsewhere.
                    let reason = said.unwrap_or_else(|| before.clone());
                    changed |= reason != before;
                    self.missing.push((exchange, reason));
                }
            }
        }
        changed
    }

    /// Which member it is.
    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    /// Ends the connection.
    pub(super) async fn close(self) {
        let _ = timeout(CLOSE_LIMIT, self.connection.close()).await;
    }
}

async fn open(broker: &Broker, member: Member) -> Result<BrokerSession, BrokerError> {
    let mut arguments = OpenConnectionArguments::new(
        &member.bracketed(),
        member.port,
        &broker.address.user,
        broker.password.reveal(),
    );
    arguments.virtual_host(&broker.address.vhost).connection_name("cernvm-cluster-launcher");
    arguments.heartbeat(HEARTBEAT);
    if let Some(tls) = &broker.tls {
        arguments.tls_adaptor(TlsAdaptor::new(TlsConnector::from(Arc::clone(tls)), member.host.clone()));
    }
    let said = Said::default();
    let secure = broker.tls.is_some();
    let connection = match timeout(OPEN_LIMIT, Connection::open(&arguments)).await {
        Ok(opened) => opened.map_err(|error| BrokerError::opening(&member, secure, &error, said.take()))?,
        Err(_) => return Err(BrokerError::silent(&member)),
    };
    let consuming = consume(&connection, &said).await;
    let (channel, queue, messages) =
        consuming.map_err(|error| BrokerError::queue(&member, &error, said.take()))?;
    let missing =
        broker.exchanges.iter().map(|name| (name.clone(), "it does not answer".to_owned())).collect();
    let bound = BTreeSet::new();
    let mut session = BrokerSession { connection, channel, messages, said, member, queue, bound, missing };
    session.bind_missing().await;
    Ok(session)
}

/// A queue whose messages come.
async fn consume(
    connection: &Connection,
    said: &Said,
) -> Result<(Channel, String, UnboundedReceiver<ConsumerMessage>), Error> {
    connection.register_callback(Listener(said.clone())).await?;
    let channel = connection.open_channel(None).await?;
    channel.register_callback(Listener(said.clone())).await?;
    let mut bounds = FieldTable::new();
    let name = "x-max-length".try_into().map_err(|_| Error::ChannelUseError("a name is too long".into()))?;
    bounds.insert(name, FieldValue::I(QUEUE_LENGTH));
    let queue = format!("cernvm-cluster-launcher.{:016x}", getrandom::u64().unwrap_or_default());
    let mut declare = QueueDeclareArguments::new(&queue);
    declare.exclusive(true).auto_delete(true).arguments(bounds);
    channel.queue_declare(declare).await?;
    channel.basic_qos(BasicQosArguments::new(0, PREFETCH, false)).await?;
    let mut consume = BasicConsumeArguments::new(&queue, "");
    consume.manual_ack(true).exclusive(true);
    let (_, messages) = channel.basic_consume_rx(consume).await?;
    Ok((channel, queue, messages))
}

/// Binds to an exchange, on a channel of its own, since RabbitMQ closes the channel of a request that it refuses.
/// The error is what RabbitMQ says, if it says something.
async fn bind(connection: &Connection, queue: &str, exchange: &str) -> Result<(), Option<String>> {
    let said = Said::default();
    let binding = async {
        let channel = connection.open_channel(None).await?;
        channel.register_callback(Listener(said.clone())).await?;
        let mut declare = ExchangeDeclareArguments::new(exchange, "topic");
        declare.passive(true);
        channel.exchange_declare(declare).await?;
        for key in ROUTING_KEYS {
            channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await?;
        }
        channel.close().await
    };
    match timeout(OPEN_LIMIT, binding).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(said.take()),
    }
}

/// Notes why RabbitMQ closes a connection or a channel. The rest concerns those who publish.
struct Listener(Said);

#[async_trait]
impl ConnectionCallback for Listener {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        self.0.note(close.reply_text());
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, _: String) {}

    async fn unblocked(&mut self, _: &Connection) {}

    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait]
impl ChannelCallback for Listener {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.0.note(close.reply_text());
        Ok(())
    }

    /// The queue was deleted. The crate then ends the messages, since this returns no error.
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.0.note("its queue was deleted");
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
