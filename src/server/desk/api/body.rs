//! What programs send.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
    web::{self, Payload},
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::{
    mirror::{
        AccountName, Asn, Bandwidth, Bytes, CategoryName, Country, HostKind, HostName, HostUrl, Netblock,
        Percent, Place, Role, RsyncUrl, Scope, SiteName,
    },
    server::{
        api::{Problem, SchemaOf, of},
        desk::form::Form,
    },
};

/// The largest body, in bytes.
const LARGEST: usize = 64 * 1024;

/// How long a body may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// A kind of body.
pub(super) struct Body {
    pub(super) schema: SchemaOf,
    check: fn(&Value) -> serde_json::Result<()>,
}

/// A body of this type. What it does not know is refused.
pub(super) const fn body<T: DeserializeOwned + JsonSchema>() -> Body {
    Body { schema: of::<T>, check: |value| T::deserialize(value).map(drop) }
}

/// What was sent, if it is of this kind. Without a kind nothing is to be sent.
pub(super) async fn read(
    kind: Option<&Body>,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Map<String, Value>, Problem> {
    let bytes = receive(payload).await?;
    let unfit = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let Some(kind) = kind else {
        return if bytes.is_empty() {
            Ok(Map::new())
        } else {
            Err(unfit("Here nothing is to be sent.".to_owned()))
        };
    };
    let media_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send application/json."));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("The body: {error}.")))?;
    (kind.check)(&value).map_err(|error| unfit(format!("The body: {error}.")))?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(unfit("The body: it is no object.".to_owned())),
    }
}

async fn receive(payload: Payload) -> Result<web::Bytes, Problem> {
    let read = timeout(ARRIVES_WITHIN, payload.to_bytes_limited(LARGEST)).await;
    let read =
        read.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."))?;
    let large = format!("A body has at most {LARGEST} bytes.");
    let read = read.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, large))?;
    read.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("The body: {error}.")))
}

/// The same as a form has it, so that what forms and programs send is judged in one place.
pub(super) fn form(fields: &Map<String, Value>) -> Form {
    Form::new(fields.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Bool(true) => "on".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

macro_rules! bodies {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape counts: handlers read the form")]
        pub(super) struct $name {
            $($(#[$field_meta])* $field: $type),*
        }
    )*};
}

bodies! {
    /// A new mirror: its site and host are made from the URL.
    NewMirror { url: HostUrl, category: CategoryName, country: Country }
    /// A new site.
    NewSite { name: SiteName }
    /// What to change of a site; what is left out stays.
    SiteEdit {
        name: Option<SiteName>,
        /// The organisation's page; null takes it away.
        url: Option<String>,
        private: Option<bool>,
        user_active: Option<bool>,
        /// For operators.
        admin_active: Option<bool>,
    }
    /// An account that is to keep a site.
    Keeper { name: AccountName }
    /// A new host.
    NewHost { name: HostName, country: Option<Country> }
    /// What to change of a host; what is left out stays, and null takes away.
    HostEdit {
        name: Option<HostName>,
        country: Option<Country>,
        place: Option<Place>,
        /// More than 10,000 waits for an operator.
        bandwidth: Option<Bandwidth>,
        countries_allowed: Option<Vec<Country>>,
        countries_denied: Option<Vec<Country>>,
        private: Option<bool>,
        user_active: Option<bool>,
        comment: Option<String>,
        share: Option<Percent>,
        daily_bytes: Option<Bytes>,
        max_file_size: Option<Bytes>,
        contacts: Option<Vec<String>>,
        /// For operators.
        kind: Option<HostKind>,
        /// For operators.
        admin_active: Option<bool>,
    }
    /// Whether a host is drained.
    Drain { drained: bool }
    /// A category that a host is to carry.
    OptIn {
        category: CategoryName,
        urls: Vec<HostUrl>,
        /// Where the crawler may list the same folder; clients never see it.
        rsync: Option<RsyncUrl>,
    }
    /// Where a host carries a category.
    Urls { urls: Vec<HostUrl>, rsync: Option<RsyncUrl> }
    /// A network whose clients a host serves first.
    NewNetblock { netblock: Netblock }
    /// The autonomous system that a host stands in.
    HostAsn {
        asn: Option<Asn>,
        /// It wants its clients first.
        asn_clients: bool,
    }
    /// Another autonomous system whose clients a host serves first.
    NewPeer { asn: Asn }
    /// A token for a host's script.
    NewHostToken {
        /// It expires in so many; without it never.
        days: Option<i64>,
    }
    /// A token of the account.
    NewToken {
        /// What to call it.
        name: String,
        scopes: Vec<Scope>,
        /// The only host that it is good for.
        host: Option<HostName>,
        /// It expires in so many.
        days: i64,
    }
    /// What to change of the own account.
    AccountMail { mail: Option<String> }
    /// A new password.
    NewPassword { password: String, new_password: String }
    /// What to change of an account.
    AccountEdit { role: Option<Role>, active: Option<bool> }
    /// What an operator says to what waits.
    Settle { granted: bool }
    /// A digest that is to be answered no more.
    NewWithdrawal {
        /// `sha256:…`
        digest: String,
        reason: String,
        /// 451 instead of 404.
        legal: Option<bool>,
    }
}
