use std::{
    convert::Infallible,
    fs,
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions},
    tcp::{OwnedIdentity, OwnedTLSConfig},
    types::FieldTable,
    uri::AMQPUri,
};
use tokio::time::{sleep, timeout};

use super::{BusConfig, Error, message};
use crate::oci::RepositoryName;

/// So many messages may be on their way to us, unread.
const PREFETCH: u16 = 16;

/// Longer messages, in bytes, are not looked into.
const BODY_LIMIT: usize = 1024 * 1024;

/// How long the broker may take until it sends us messages.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait after a connection that could not be made, or was lost; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest name that AMQP knows (0-9-1, section 4.2.5.3), in bytes.
const NAME_LIMIT: usize = 255;

/// A bus that can be listened to.
pub struct Bus {
    config: BusConfig,
    uri: AMQPUri,
    ca: Option<String>,
    /// The client's certificate, and its key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Bus {
    /// `None` if no bus is configured. Reads the files that are named; connects only to listen.
    pub fn new(config: &BusConfig) -> Result<Option<Self>, Error> {
        if config.url.as_str().is_empty() {
            return Ok(None);
        }
        let uri = config.url.as_str().parse().map_err(|_| Error::Url)?;
        if config.topics.is_empty() {
            return Err(Error::Topics);
        }
        let names = [("exchange", &config.exchange), ("queue", &config.queue)];
        let topics = config.topics.iter().map(|it| ("topics", it));
        if let Some((key, text)) = names.into_iter().chain(topics).find(|it| it.1.len() > NAME_LIMIT) {
            return Err(Error::Long { key, text: text.clone() });
        }
        if !config.repository.is_empty() && !config.repository.starts_with('/') {
            return Err(Error::Pointer(config.repository.clone()));
        }
        let identity = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => Some((read("certificate", certificate)?, read("key", key)?)),
            (None, None) => None,
            _ => return Err(Error::HalfIdentity),
        };
        let ca = config.ca_file.as_ref().map(|it| read("ca_file", it)).transpose()?;
        let ca = ca.map(|it| String::from_utf8_lossy(&it).into_owned());
        Ok(Some(Self { config: config.clone(), uri, ca, identity }))
    }

    /// Listens until `stop` is ready, connecting again and again. `changed` is told each repository that a message
    /// names; it must not block. What is published while there is no connection is lost.
    pub async fn listen(self, changed: impl Fn(RepositoryName), stop: impl Future<Output = ()>) {
        tokio::select! {
            never = self.listen_for_ever(changed) => match never {},
            () = stop => {}
        }
    }

    async fn listen_for_ever(&self, changed: impl Fn(RepositoryName)) -> Infallible {
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            let reason = match self.consume(&changed).await {
                Ok(()) => "the broker has ended it".to_owned(),
                Err(error) => error,
            };
            if began.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            tracing::warn!(reason, wait_s = wait.as_secs(), "no connection to the message bus");
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Takes messages as long as the connection lasts.
    async fn consume(&self, changed: &impl Fn(RepositoryName)) -> Result<(), String> {
        let connected = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let slow = |_| format!("the broker did not answer within {} s", CONNECT_TIMEOUT.as_secs());
        // Both are kept: a connection that is dropped is closed.
        let (_connection, _channel, mut consumer) =
            connected.map_err(slow)?.map_err(|error| error.to_string())?;
        tracing::info!(topics = ?self.config.topics, "listening to the message bus");
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery.map_err(|error| error.to_string())?;
            let is_short = delivery.data.len() <= BODY_LIMIT;
            let body = if is_short { &delivery.data[..] } else { &[] };
            for name in message::list_repositories(body, &self.config.repository) {
                tracing::debug!(repository.name = %name, topic = %delivery.routing_key, "the bus tells of a change");
                changed(name);
            }
            delivery.ack(BasicAckOptions::default()).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn connect(&self) -> lapin::Result<(Connection, Channel, Consumer)> {
        let properties = ConnectionProperties::default().with_connection_name("portolan".into());
        let runtime = lapin::runtime::default_runtime()?;
        let connection =
            Connection::connect_uri_with_config(self.uri.clone(), properties, self.tls(), runtime).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let has_name = !self.config.queue.is_empty();
        let options =
            QueueDeclareOptions { exclusive: !has_name, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue =
            channel.queue_declare(self.config.queue.as_str().into(), options, FieldTable::default()).await?;
        for topic in &self.config.topics {
            let (exchange, topic) = (self.config.exchange.as_str().into(), topic.as_str().into());
            let options = QueueBindOptions::default();
            channel.queue_bind(queue.name().clone(), exchange, topic, options, FieldTable::default()).await?;
        }
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(queue.name().clone(), "portolan".into(), options, FieldTable::default())
            .await?;
        Ok((connection, channel, consumer))
    }

    fn tls(&self) -> OwnedTLSConfig {
        let identity = self.identity.as_ref();
        OwnedTLSConfig {
            identity: identity.map(|(pem, key)| OwnedIdentity::PKCS8 { pem: pem.clone(), key: key.clone() }),
            cert_chain: self.ca.clone(),
        }
    }
}

fn read(key: &'static str, path: &PathBuf) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { key, path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_told_at_once_and_without_the_password() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut BusConfig), fault: &str) {
            let mut config = BusConfig {
                url: "amqps://user:secret@bus.example.org/%2F".to_owned().into(),
                topics: vec!["org.example.#".to_owned()],
                ..BusConfig::default()
            };
            change(&mut config);
            let error = Bus::new(&config).err().map_or_else(String::new, |it| it.to_string());
            assert!(error.starts_with(fault) && error.is_empty() == fault.is_empty(), "{error}");
            assert!(!error.contains("secret") && !format!("{config:?}").contains("secret"), "{error}");
        }
        check(|_| {}, "");
        check(|it| it.url = "https://user:secret@bus.example.org".to_owned().into(), "`url` in [bus]");
        check(|it| it.url = "user:secret@bus".to_owned().into(), "`url` in [bus]");
        check(|it| it.topics.clear(), "`topics` in [bus] is empty");
        check(|it| it.queue = "q".repeat(256), "`queue` in [bus] has more than 255 bytes");
        check(|it| it.repository = "repository".to_owned(), "`repository` in [bus] is no JSON pointer");
        check(|it| it.key = Some("key.pem".into()), "[bus] needs both");
        check(|it| it.ca_file = Some("/gone".into()), "`ca_file` in [bus], /gone: No such file");
    }

    #[test]
    fn without_a_url_there_is_no_bus() {
        assert!(Bus::new(&BusConfig::default()).unwrap().is_none());
    }
}
