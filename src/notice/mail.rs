use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};

use super::{Config, Notice};

/// More contacts of one host are not written to.
const MOST_CONTACTS: usize = 10;

/// Why there is no way to the mail server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL of the server cannot be used. The text never holds it: it may have a password.
    #[error(
        "notice.mail_server is no URL of a mail server, as smtp://HOST:25 or smtps://USER:PASSWORD@HOST: {0}"
    )]
    Server(String),
    /// The sender is no mail address.
    #[error("notice.mail_from = {address} is no mail address: {reason}")]
    From {
        /// What stands there.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Sends mails by one server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

impl Mailer {
    /// `None` when no server is configured. Connects only to send.
    pub fn new(config: &Config) -> Result<Option<Self>, Error> {
        let url = config.mail_server.as_str();
        if url.is_empty() {
            return Ok(None);
        }
        let timeout = config.timeout.unsigned_abs();
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        let transport = transport.map_err(|error| Error::Server(error.to_string()))?;
        let from = config.mail_from.parse().map_err(|error: lettre::address::AddressError| Error::From {
            address: config.mail_from.clone(),
            reason: error.to_string(),
        })?;
        Ok(Some(Self { transport: transport.timeout(Some(timeout)).build(), from, timeout }))
    }

    /// Writes to each contact of the host. What failed, in words for the log.
    pub async fn send(&self, notice: &Notice) -> Vec<String> {
        let mut faults = Vec::new();
        for contact in notice.contacts.iter().take(MOST_CONTACTS) {
            if let Err(reason) = self.send_to(contact, notice).await {
                faults.push(format!("no mail to {contact}: {reason}"));
            }
        }
        faults
    }

    async fn send_to(&self, contact: &str, notice: &Notice) -> Result<(), String> {
        let to: Mailbox = contact.parse().map_err(|error| format!("it is no mail address: {error}"))?;
        let mail = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(notice.subject())
            .header(ContentType::TEXT_PLAIN)
            .body(notice.body())
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(self.timeout, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(causes(&error)),
            Err(_) => Err(format!("the mail server did not take it within {} s", self.timeout.as_secs())),
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let inner = error.source().map(|it| format!(": {}", causes(it)));
    format!("{error}{}", inner.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_work_is_told_at_once_and_without_the_password() {
        let fault = |server: &str, from: &str| {
            let config = Config {
                mail_server: server.to_owned().into(),
                mail_from: from.to_owned(),
                ..Config::default()
            };
            assert!(!format!("{config:?}").contains("secret"));
            Mailer::new(&config).map(|it| it.is_some()).map_err(|error| error.to_string())
        };
        let from = "Mirrors <m@example.org>";
        assert_eq!(fault("", "nonsense"), Ok(false));
        assert_eq!(fault("smtp://127.0.0.1:25", from), Ok(true));
        assert_eq!(fault("smtps://user:secret@mail.example.org", from), Ok(true));
        assert!(fault("smtp://127.0.0.1:25", "nobody").unwrap_err().starts_with("notice.mail_from = nobody"));
        for server in ["http://user:secret@example.org", "user:secret@example.org:x", "mail"] {
            let error = fault(server, from).unwrap_err();
            assert!(error.starts_with("notice.mail_server") && !error.contains("secret"), "{error}");
        }
    }
}
