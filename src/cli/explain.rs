use std::{fmt::Write as _, net::IpAddr, process::ExitCode, sync::Arc};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::{open_database, print, print_json};
use crate::{
    config::Config,
    database::{Database, snapshot},
    geoip::GeoIp,
    mirror::{Country, Scheme},
    mirrorlist::{
        self, Class, Client, Content, Exclusion, Holdings, Hosts, Location, Policy, Snapshot, Wanted,
        rows::BlobRow,
    },
    oci::{Digest, Reference, RepositoryName},
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: IpAddr,
    /// The image: `fedora`, `fedora:41`, `fedora@sha256:…`; by digest also a blob
    #[arg(long)]
    image: String,
    /// The client comes by plain HTTP
    #[arg(long)]
    http: bool,
    /// Print the ranking as JSON
    #[arg(long)]
    json: bool,
}

/// A ranking with its reasons.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    digest: Digest,
    client: ExplainedClient,
    offers: Vec<ExplainedOffer>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize)]
struct ExplainedClient {
    address: IpAddr,
    country: Option<Country>,
    asn: Option<u32>,
    scheme: Scheme,
}

#[derive(Debug, Serialize)]
struct ExplainedOffer {
    host: String,
    site: String,
    class: Class,
    country: Option<Country>,
    kilometres: Option<u64>,
    bandwidth: Option<u32>,
    url: String,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    host: String,
    #[serde(flatten)]
    reason: Exclusion,
}

pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let snapshot = load(&open_database(config)?)?;
    let (name, reference) = parse_image(&options.image)?;
    let blob = find(&snapshot, &name, &reference)?;
    let policy = Policy { http_mirrors: config.serve.http_mirrors, ..Policy::default() };
    let found = GeoIp::open(&config.geoip)?.find(options.ip);
    let location = Location { country: found.country, place: found.place, asn: found.asn };
    let scheme = if options.http { Scheme::Http } else { Scheme::Https };
    let now = jiff::Timestamp::now().as_second();
    let client = Client::new(&snapshot.hosts, options.ip, location, scheme, now, &policy);
    let explanation = explain(&snapshot, &client, &name, blob);
    if options.json {
        print_json(&explanation)?;
    } else {
        print(&render(&explanation));
    }
    Ok(ExitCode::SUCCESS)
}

/// What `serve` would answer from, read from the database.
pub(super) fn load(database: &Database) -> anyhow::Result<Snapshot> {
    Ok(Snapshot {
        content: Arc::new(Content::new(database.read(snapshot::load_content)?)?),
        holdings: Arc::new(Holdings::new(database.read(snapshot::load_holdings)?)?),
        hosts: Arc::new(Hosts::new(database.read(snapshot::load_hosts)?)),
    })
}

/// `name`, `name:tag` or `name@digest`.
fn parse_image(image: &str) -> anyhow::Result<(RepositoryName, Reference)> {
    let (name, reference) = match (image.split_once('@'), image.split_once(':')) {
        (Some(parts), _) | (None, Some(parts)) => parts,
        (None, None) => (image, "latest"),
    };
    let name = name.parse().with_context(|| format!("the image {image}"))?;
    let reference = reference.parse().with_context(|| format!("the image {image}"))?;
    Ok((name, reference))
}

fn find<'a>(
    snapshot: &'a Snapshot,
    name: &RepositoryName,
    reference: &Reference,
) -> anyhow::Result<&'a BlobRow> {
    let content = &snapshot.content;
    let repository = content.find_repository(name).ok_or_else(|| {
        let names: Vec<_> = content.list_repositories().iter().take(10).map(|it| it.name.as_str()).collect();
        anyhow!("there is no repository {name}; there are {}", names.join(", "))
    })?;
    let digest = match reference {
        Reference::Digest(digest) => *digest,
        Reference::Tag(tag) => {
            let tags: Vec<_> = repository.tags.iter().take(10).map(|it| it.0.as_str()).collect();
            let hash = repository.find_tag(tag);
            Digest::Sha256(
                hash.ok_or_else(|| anyhow!("{name} has no tag {tag}; it has {}", tags.join(", ")))?,
            )
        }
    };
    content.find_blob(&digest).ok_or_else(|| anyhow!("there is nothing with the digest {digest}"))
}

/// The ranking of the hosts for a blob.
pub(super) fn explain(
    snapshot: &Snapshot,
    client: &Client<'_>,
    name: &RepositoryName,
    blob: &BlobRow,
) -> Explanation {
    let wanted = Wanted { repository: name.as_str(), number: blob.number, most: usize::MAX };
    let (offers, left_out) = mirrorlist::explain(snapshot, client, &wanted);
    let offer = |it: &mirrorlist::Offer<'_>| ExplainedOffer {
        host: it.host.name.clone(),
        site: it.host.site_name.clone(),
        class: it.class,
        country: it.host.country,
        kilometres: it.distance.map(|it| it.round() as u64),
        bandwidth: it.host.bandwidth,
        url: it.url.url.clone(),
    };
    Explanation {
        digest: blob.name(),
        client: ExplainedClient {
            address: client.address,
            country: client.country,
            asn: client.asn,
            scheme: client.scheme,
        },
        offers: offers.iter().map(offer).collect(),
        left_out: left_out
            .into_iter()
            .map(|(host, reason)| LeftOut { host: host.name.clone(), reason })
            .collect(),
    }
}

/// For people: who, the hosts in their order, and why others are not among them.
pub(super) fn render(explanation: &Explanation) -> String {
    let client = &explanation.client;
    let mut text = format!("{} by {}", client.address, client.scheme);
    let _ = match client.country {
        Some(country) => write!(text, " in {country}"),
        None => write!(text, " in an unknown country"),
    };
    if let Some(asn) = client.asn {
        let _ = write!(text, ", AS {asn}");
    }
    let _ = writeln!(text, ", asks for {}", explanation.digest);
    if explanation.offers.is_empty() {
        text.push_str("no host is offered: the fallback serves\n");
    } else {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["", "host", "site", "class", "country", "km", "Mbit/s", "URL"]);
        for (place, offer) in explanation.offers.iter().enumerate() {
            table.add_row([
                (place + 1).to_string(),
                offer.host.clone(),
                offer.site.clone(),
                offer.class.to_string(),
                offer.country.map(|it| it.to_string()).unwrap_or_default(),
                offer.kilometres.map(|it| it.to_string()).unwrap_or_default(),
                offer.bandwidth.map(|it| it.to_string()).unwrap_or_default(),
                offer.url.clone(),
            ]);
        }
        let _ = writeln!(text, "{table}");
    }
    for host in &explanation.left_out {
        let _ = writeln!(text, "not {}: {}", host.host, host.reason);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read() {
        let digest = Digest::of(b"");
        let read = |image: &str| parse_image(image).map(|it| (it.0.to_string(), it.1.to_string()));
        let expected = |name: &str, reference: &str| (name.to_owned(), reference.to_owned());
        assert_eq!(read("fedora").unwrap(), expected("fedora", "latest"));
        assert_eq!(read("a/fedora:41").unwrap(), expected("a/fedora", "41"));
        assert_eq!(read(&format!("fedora@{digest}")).unwrap(), expected("fedora", &digest.to_string()));
        assert!(format!("{:#}", read("Fedora").unwrap_err()).contains("the image Fedora: a repository name"));
    }
}
