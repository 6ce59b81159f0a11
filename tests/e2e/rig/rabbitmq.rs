//! The message bus: Debian's RabbitMQ, with TLS on `localhost:5671` and without on 5672.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties, types::FieldTable};

use super::namespace::Namespace;
use super::program::{Program, command};

/// Debian's `/usr/sbin/rabbitmq-server` would change to another user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// What `[bus] url` says; the authority of the namespace has signed its certificate.
pub(crate) const URL: &str = "amqps://guest:guest@localhost:5671/%2F";

const PLAIN_URL: &str = "amqp://guest:guest@localhost:5672/%2F";

pub(crate) struct RabbitMq {
    folder: PathBuf,
    program: Option<Program>,
}

impl RabbitMq {
    /// Makes a broker of its own, and starts it.
    pub(crate) fn start(namespace: &Namespace) -> RabbitMq {
        let folder = namespace.folder.join("rabbitmq");
        fs::create_dir_all(&folder).expect("RabbitMQ's folder");
        let identity = namespace.authority.issue(&["localhost"]);
        let config = format!(
            "listeners.tcp.default = 5672\nlisteners.ssl.default = 5671\nssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
            identity.certificate.display(),
            identity.key.display()
        );
        fs::write(folder.join("rabbitmq.conf"), config).expect("its configuration");
        let mut broker = RabbitMq { folder, program: None };
        broker.start_again();
        broker
    }

    pub(crate) fn start_again(&mut self) {
        let mut server = command(SERVER);
        server
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", "rabbit@localhost")
            .env("RABBITMQ_LOGS", "-");
        for (name, path) in [
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
        ] {
            server.env(name, self.folder.join(path));
        }
        let mut program = Program::start("rabbitmq", &self.folder, server);
        program.wait_until("listener", || TcpStream::connect("127.0.0.1:5671").is_ok());
        self.program = Some(program);
    }

    /// Ends it at once, and every connection to it.
    pub(crate) fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Publishes a message, as fedora-messaging does, and waits until the broker has it.
    pub(crate) fn publish(&self, topic: &str, body: &str) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let published = runtime.block_on(async {
            let connection = Connection::connect(PLAIN_URL, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let headers = FieldTable::default();
            let properties =
                BasicProperties::default().with_content_type("application/json".into()).with_headers(headers);
            let options = BasicPublishOptions::default();
            channel
                .basic_publish("amq.topic".into(), topic.into(), options, body.as_bytes(), properties)
                .await?
                .await?;
            connection.close(200, "done".into()).await
        });
        published.unwrap_or_else(|error: lapin::Error| panic!("{topic} was not published: {error}"));
    }
}
