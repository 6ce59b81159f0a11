use std::{process::ExitCode, sync::Arc};

use super::{print, seed, stopped};
use crate::{
    config::Config,
    database::Database,
    exporter,
    mirrorlist::PublishRules,
    server::{self, Addresses, Settings},
    tree::Tree,
};

pub(super) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let database = Arc::new(Database::open(&config.database));
    server::serve(settings(config), database, announce, stopped()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// What of the configuration serving needs.
pub(super) fn settings(config: Config) -> Settings {
    let origin = &config.origin;
    let publish = publish_rules(&config);
    let needs_login = !origin.username.is_empty() || origin.auth_file.is_some();
    Settings {
        seen: config.seen(),
        tree: Tree::open(&config.tree),
        origin: config.origin.url.filter(|_| !needs_login),
        serve: config.serve,
        listen: config.listen,
        accounts: config.accounts,
        endpoints: config.endpoint,
        fallback: config.fallback,
        geoip: config.geoip,
        publish,
        statistics: config.statistics,
        seed: seed(),
    }
}

/// When tags that moved are answered anew, by category.
pub(super) fn publish_rules(config: &Config) -> PublishRules {
    let rule = |it: &exporter::CategoryConfig| Some((it.name.to_string(), it.publish.clone()?));
    config.category.iter().filter_map(rule).collect()
}

/// The lines that programs wait for.
pub(super) fn announce(addresses: &Addresses) {
    let mut text: String = addresses.listening.iter().map(|url| format!("listening on {url}\n")).collect();
    text.push_str(&format!("management on {}\n", addresses.management));
    if let Err(error) = print(&text) {
        tracing::warn!("where we listen could not be told: {error:#}");
    }
}
