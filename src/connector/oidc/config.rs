use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// `[accounts.oidc]`: where people can sign in beside the password.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OidcConfig {
    /// The provider, as it calls itself: `https://id.example.org`. Empty: none. Needs a program with the cargo feature
    /// `oidc`.
    pub issuer: String,
    /// Where people come back to: the address of this registry that they know, `https://registry.example.org`. Register
    /// its `/sign-in/oidc/callback` at the provider.
    pub public_url: String,
    /// As which client this registry is registered there.
    pub client_id: String,
    /// A file with the client's secret. Without it a public client, for which PKCE alone has to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// What people call an account there; stands on the button.
    pub name: String,
    /// What is asked for beside `openid`, up to 20.
    pub scopes: Vec<String>,
    /// The claim that names somebody. From it comes the name of a new account.
    pub name_claim: String,
    /// The claim with somebody's groups: a text or a list of texts.
    pub groups_claim: String,
    /// Groups whose people are operators, from one sign-in to the next. Empty: none.
    pub operators: Vec<String>,
    /// Does everybody whom the provider knows get an account here? Else only those in `operators`, those with
    /// `own_imported`, and those who link an account that they have.
    pub sign_up: bool,
    /// Does somebody keep the imported sites whose admin has the same name in MirrorManager? Only where the provider gives
    /// a name to nobody else, ever.
    pub own_imported: bool,
    /// How long the provider may take for one answer: 1s to 1m.
    #[schemars(with = "String")]
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub timeout: SignedDuration,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            public_url: String::new(),
            client_id: String::new(),
            client_secret_file: None,
            ca_file: None,
            name: "Single sign-on".to_owned(),
            scopes: vec!["profile".to_owned()],
            name_claim: "preferred_username".to_owned(),
            groups_claim: "groups".to_owned(),
            operators: Vec::new(),
            sign_up: false,
            own_imported: false,
            timeout: SignedDuration::from_secs(10),
        }
    }
}
