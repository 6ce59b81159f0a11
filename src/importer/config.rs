use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{
    database::DatabaseUrl,
    mirror::{CategoryName, CategoryNameError},
};

/// `[mirrormanager]`: an instance of MirrorManager whose sites and hosts are imported. It is only read.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Its database, as `postgres://USER:PASSWORD@HOST/NAME`; a role that may SELECT is enough. Without it nothing is
    /// imported by `portolan run`. The environment variable PORTOLAN_MIRRORMANAGER_URL wins over it.
    #[schemars(with = "Option<String>")]
    pub database_url: Option<DatabaseUrl>,
    /// How long `portolan run` waits between two imports: 1s to 24h.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub watch: SignedDuration,
    /// Which of MirrorManager's categories are imported, and which of ours hosts carry by them, as
    /// `"Fedora Containers" = ["fedora", "tools=el/9"]`: below the URL that MirrorManager knows, `fedora` in the folder of
    /// its name, `tools` in `el/9`. `fedora=.` is the URL itself. An empty list is all of ours, each in the folder of its
    /// name: MirrorManager's category is our whole tree.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub categories: BTreeMap<String, Vec<Carried>>,
}

impl Default for Config {
    fn default() -> Self {
        Self { database_url: None, watch: SignedDuration::from_mins(5), categories: BTreeMap::new() }
    }
}

/// A category of ours, and its folder below a URL of MirrorManager's: `fedora`, `fedora=el/9`, `fedora=.`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Carried {
    category: CategoryName,
    /// Without a slash at either end; empty is the URL itself.
    folder: String,
}

/// Why a text is no such thing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CarriedError {
    /// What stands before `=`.
    #[error(transparent)]
    Category(#[from] CategoryNameError),
    /// What stands behind it.
    #[error("a folder below a URL is made of letters, digits and `._~+-`, as el/9; `.` is the URL itself")]
    Folder,
}

impl Carried {
    /// A category in the folder of its name.
    pub(super) fn by_name(category: CategoryName) -> Self {
        Self { folder: category.as_str().to_owned(), category }
    }

    /// Which category.
    pub fn category(&self) -> &CategoryName {
        &self.category
    }

    /// Its folder's URL, below one of MirrorManager's.
    pub fn url(&self, base: &str) -> String {
        let base = base.trim_end_matches('/');
        if self.folder.is_empty() { base.to_owned() } else { format!("{base}/{}", self.folder) }
    }
}

impl FromStr for Carried {
    type Err = CarriedError;

    fn from_str(text: &str) -> Result<Self, CarriedError> {
        let Some((category, folder)) = text.split_once('=') else { return Ok(Self::by_name(text.parse()?)) };
        let category = category.parse()?;
        if folder == "." {
            return Ok(Self { category, folder: String::new() });
        }
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"._~+-".contains(&it);
        let is_component = |it: &str| !matches!(it, "" | "." | "..") && it.bytes().all(is_plain);
        if !folder.split('/').all(is_component) {
            return Err(CarriedError::Folder);
        }
        Ok(Self { category, folder: folder.to_owned() })
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, folder } = self;
        match folder.as_str() {
            "" => write!(f, "{category}=."),
            folder if folder == category.as_str() => category.fmt(f),
            folder => write!(f, "{category}={folder}"),
        }
    }
}

impl TryFrom<String> for Carried {
    type Error = CarriedError;

    fn try_from(text: String) -> Result<Self, CarriedError> {
        text.parse()
    }
}

impl From<Carried> for String {
    fn from(carried: Carried) -> Self {
        carried.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_has_a_folder_below_the_url() {
        #[track_caller]
        fn check(text: &str, url: &str) {
            let carried: Carried = text.parse().unwrap();
            assert_eq!(
                (carried.url("https://m/pub/"), carried.to_string()),
                (url.to_owned(), text.to_owned())
            );
            assert_eq!(carried.category().as_str(), "fedora");
        }
        check("fedora", "https://m/pub/fedora");
        check("fedora=.", "https://m/pub");
        check("fedora=el/9", "https://m/pub/el/9");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["fedora=", "fedora=/a", "fedora=a/", "fedora=a//b", "fedora=..", "fedora=a/../b", "fedora=a?b"]
        {
            assert_eq!(text.parse::<Carried>(), Err(CarriedError::Folder), "{text}");
        }
        assert!(matches!("=a".parse::<Carried>(), Err(CarriedError::Category(_))));
    }

    #[test]
    fn the_mapping_is_written_in_toml() {
        let text = "[categories]\n\"Fedora Containers\" = [\"fedora=.\", \"tools\"]\nOther = []";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.categories["Fedora Containers"].len(), 2);
        assert!(toml::from_str::<Config>("[categories]\nA = [\"a=..\"]").is_err());
    }
}
