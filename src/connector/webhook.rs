use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use url::Url;

use super::{Error, error::causes};

/// A URL of the operator's that is told of things. Not behind the guard: it may well be a private one.
pub struct Webhook {
    http: reqwest::Client,
    url: Url,
}

impl Webhook {
    /// `timeout` is for a whole POST. Redirects are not followed.
    pub fn new(url: &str, user_agent: &str, timeout: Duration) -> Result<Self, Error> {
        super::install_cryptography();
        let is_web = |it: &Url| matches!(it.scheme(), "http" | "https") && it.has_host();
        let url = Url::parse(url).ok().filter(is_web);
        let url = url.ok_or_else(|| Error::Setup("notice.webhook is no http or https URL".to_owned()))?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(user_agent)
            .timeout(timeout)
            .build()
            .map_err(|error| Error::Setup(causes(&error)))?;
        Ok(Self { http, url })
    }

    /// Sends JSON. An error says what went wrong, without the URL: it may hold a secret.
    pub async fn post(&self, json: Vec<u8>) -> Result<(), String> {
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(json);
        let response = request.send().await.map_err(|error| causes(&error))?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answers with status {status}")) }
    }
}
