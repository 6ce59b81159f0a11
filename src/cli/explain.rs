use std::{fmt::Write as _, net::IpAddr, process::ExitCode, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;

use super::{open_database, print_result, serve, suggestion, table};
use crate::{
    config::Config,
    database::{Database, crawl, snapshot},
    geoip::GeoIp,
    mirror::{CategoryName, Country, CrawlState, HostCategoryId, Scheme},
    mirrorlist::{
        self, Class, Client, Content, Exclusion, Gate, HeldTag, Holdings, Hosts, Location, Missing,
        PublishRules, Snapshot, Turn, Wanted,
        rows::{BlobRow, HostRow},
    },
    oci::{Digest, Reference, RepositoryName},
    server::EndpointConfig,
};

/// How many names an error shows of what is there.
const SHOWN: usize = 10;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: IpAddr,
    /// The image: `fedora`, `fedora:41`, `fedora@sha256:…`; by digest also a blob
    #[arg(long)]
    image: String,
    /// The name by which the client comes: `host` of an [[endpoint]]
    #[arg(long, value_name = "HOST")]
    endpoint: Option<String>,
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
    endpoint: Option<ExplainedEndpoint>,
    offers: Vec<ExplainedOffer>,
    left_out: Vec<LeftOut>,
    /// Why the tag answers its former manifest.
    held_back: Option<HeldTag>,
}

#[derive(Debug, Serialize)]
struct ExplainedClient {
    address: IpAddr,
    country: Option<Country>,
    asn: Option<u32>,
    scheme: Scheme,
}

/// The name by which the client comes.
#[derive(Debug, Serialize)]
struct ExplainedEndpoint {
    host: String,
    promise: String,
}

#[derive(Debug, Serialize)]
struct ExplainedOffer {
    host: String,
    site: String,
    class: Class,
    turn: Turn,
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
    /// Of each of its categories that has the blob.
    crawled: Vec<Crawled>,
}

/// What the last crawl found of a category, and why.
#[derive(Debug, Serialize)]
struct Crawled {
    category: CategoryName,
    state: CrawlState,
    because: String,
}

pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let database = open_database(config)?;
    let snapshot = load(&database, &serve::publish_rules(config))?;
    let (name, reference) = parse_image(&options.image)?;
    let now = jiff::Timestamp::now().as_second();
    let name = snapshot.find_alias(&name, now).cloned().unwrap_or(name);
    let blob = find(&snapshot, &name, &reference)?;
    let endpoint = options.endpoint.as_ref().map(|it| find_endpoint(config, it)).transpose()?;
    let policy = config.serve.policy(endpoint);
    let found = GeoIp::open(&config.geoip)?.find(options.ip);
    let location = Location { country: found.country, place: found.place, asn: found.asn };
    let scheme = if options.http { Scheme::Http } else { Scheme::Https };
    let client = Client::new(&snapshot.hosts, options.ip, location, scheme, now, &policy);
    let mut explanation = explain(&database, &snapshot, &client, &name, blob)?;
    if let Some(endpoint) = endpoint {
        explanation.come_by(endpoint);
    }
    if let Reference::Tag(tag) = &reference {
        explanation.held_back = snapshot.gate.find(name.as_str(), tag.as_str()).cloned();
    }
    print_result(&explanation, options.json, render)?;
    Ok(ExitCode::SUCCESS)
}

fn find_endpoint<'a>(config: &'a Config, host: &str) -> anyhow::Result<&'a EndpointConfig> {
    let hosts = || config.endpoint.iter().map(|it| it.host.as_str());
    let found = config.endpoint.iter().find(|it| it.host.eq_ignore_ascii_case(host));
    found.ok_or_else(|| {
        let near = suggestion::near(host, hosts());
        anyhow!("the configuration has no [[endpoint]] {host}{near}; by any other name there is no promise")
    })
}

impl Explanation {
    /// Notes the endpoint; by a direct one no host is asked.
    fn come_by(&mut self, endpoint: &EndpointConfig) {
        if endpoint.direct {
            self.offers.clear();
            self.left_out.clear();
        }
        let promise = endpoint.promise(|_| true);
        self.endpoint = Some(ExplainedEndpoint { host: endpoint.host.clone(), promise });
    }
}

/// What `serve` would answer from, read from the database.
pub(super) fn load(database: &Database, rules: &PublishRules) -> anyhow::Result<Snapshot> {
    let mut snapshot = Snapshot {
        content: Arc::new(Content::new(database.read(snapshot::load_content)?)?),
        holdings: Arc::new(Holdings::new(database.read(snapshot::load_holdings)?)?),
        hosts: Arc::new(Hosts::new(database.read(snapshot::load_hosts)?)),
        ..Snapshot::default()
    };
    let now = jiff::Timestamp::now().as_second();
    snapshot.gate = Arc::new(Gate::new(rules, &snapshot, &snapshot.gate, now));
    Ok(snapshot)
}

/// `name`, `name:tag` or `name@digest`.
pub(super) fn parse_image(image: &str) -> anyhow::Result<(RepositoryName, Reference)> {
    // No repository has a colon in its name, so this is what stands before it in `docker pull`.
    if let Some((registry, rest)) = image.split_once('/')
        && registry.contains(':')
        && !registry.contains('@')
    {
        bail!("the image {image}: give the name without the registry's address: {rest}");
    }
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
        let names = content.list_repositories().iter().map(|it| it.name.as_str());
        anyhow!("there is no repository {name}; {}", existing("there are", names))
    })?;
    let found = match reference {
        Reference::Digest(digest) => snapshot.find_blob(digest),
        Reference::Tag(_) => snapshot.find_manifest(name, reference),
    };
    found.map_err(|missing| match (missing, reference) {
        (Missing::Content, Reference::Tag(tag)) => {
            anyhow!("{name} has no tag {tag}; {}", existing("it has", snapshot.list_tags(repository)))
        }
        (Missing::Content, Reference::Digest(digest)) => anyhow!("there is nothing with the digest {digest}"),
        (missing, _) => anyhow!("{name}: {missing}"),
    })
}

/// `there are a, b`, or what to do when there is nothing.
fn existing<'a>(verb: &str, names: impl Iterator<Item = &'a str>) -> String {
    match &names.take(SHOWN).collect::<Vec<_>>()[..] {
        [] => format!("{verb} none: run `portolan export`, then `portolan scan`"),
        names => format!("{verb} {}", names.join(", ")),
    }
}

/// The ranking of the hosts for a blob.
pub(super) fn explain(
    database: &Database,
    snapshot: &Snapshot,
    client: &Client<'_>,
    name: &RepositoryName,
    blob: &BlobRow,
) -> anyhow::Result<Explanation> {
    let wanted = Wanted { repository: name.as_str(), number: blob.number, size: blob.size, most: usize::MAX };
    let (offers, left_out) = mirrorlist::explain(snapshot, client, &wanted);
    let offer = |it: &mirrorlist::Offer<'_>| ExplainedOffer {
        host: it.host.name.clone(),
        site: it.host.site_name.clone(),
        class: it.class,
        turn: it.turn,
        country: it.host.country,
        kilometres: it.distance.map(|it| it.round() as u64),
        bandwidth: it.host.bandwidth,
        url: it.url.url.clone(),
    };
    let mut explained = Vec::with_capacity(left_out.len());
    for (host, reason) in left_out {
        let crawled = list_crawled(database, snapshot, host, blob.number)?;
        explained.push(LeftOut { host: host.name.clone(), reason, crawled });
    }
    Ok(Explanation {
        digest: blob.name(),
        client: ExplainedClient {
            address: client.address,
            country: client.country,
            asn: client.asn,
            scheme: client.scheme,
        },
        endpoint: None,
        offers: offers.iter().map(offer).collect(),
        left_out: explained,
        held_back: None,
    })
}

/// What the last crawl thought of a host, in the categories that have the blob.
fn list_crawled(
    database: &Database,
    snapshot: &Snapshot,
    host: &HostRow,
    number: u32,
) -> anyhow::Result<Vec<Crawled>> {
    let has_blob = |opt_in: HostCategoryId| {
        let category = host.categories.iter().find(|it| it.id == opt_in);
        category.is_some_and(|it| snapshot.content.categories_of(number).contains(&it.category))
    };
    let mut found = database.read(|it| crawl::list_holdings(it, host.id))?;
    found.retain(|(_, it)| has_blob(it.host_category_id));
    let crawled = |(category, it): (CategoryName, crawl::Holdings)| Crawled {
        category,
        state: it.state,
        because: it.reason,
    };
    Ok(found.into_iter().map(crawled).collect())
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
    if let Some(ExplainedEndpoint { host, promise }) = &explanation.endpoint {
        let _ = writeln!(text, "by the name {host}: {promise}");
    }
    if let Some(held) = &explanation.held_back {
        text.push_str(&render_held_back(held));
    }
    if explanation.offers.is_empty() {
        text.push_str("no host is offered: the fallback serves\n");
    } else {
        let mut rows = table::list(&["", "HOST", "SITE", "CLASS", "COUNTRY", "KM", "MBIT/S", "URL"]);
        for (place, offer) in explanation.offers.iter().enumerate() {
            rows.add_row([
                table::cell(place + 1),
                table::cell(&offer.host),
                table::cell(&offer.site),
                match offer.turn {
                    Turn::Proven => table::cell(offer.class),
                    turn => table::cell(format_args!("{}, {turn}", offer.class)),
                },
                table::optional(offer.country),
                table::optional(offer.kilometres),
                table::optional(offer.bandwidth),
                table::cell(&offer.url),
            ]);
        }
        let _ = writeln!(text, "{rows}");
    }
    explanation.left_out.iter().for_each(|it| text.push_str(&render_left_out(it)));
    text
}

/// Which manifest is answered in place of which, and what it waits for.
fn render_held_back(held: &HeldTag) -> String {
    let HeldTag { repository, tag, newest, holders, until, .. } = held;
    let newest = Digest::Sha256(*newest);
    let until = jiff::Timestamp::from_second(*until).map_or_else(|_| until.to_string(), |it| it.to_string());
    let hosts = held.needed.map_or_else(String::new, |it| {
        format!("it is on {} (now on {holders}), or ", table::count(it, "host"))
    });
    format!(
        "{repository}:{tag} still answers its former manifest; the new one, {newest}, waits until {hosts}{until}\n"
    )
}

/// Why a host is not offered, and below it what the last crawl has against it.
fn render_left_out(host: &LeftOut) -> String {
    let mut text = format!("not {}: {}\n", host.host, host.reason);
    for found in &host.crawled {
        if found.state == CrawlState::UpToDate || text.contains(&found.because) {
            continue;
        }
        let _ = writeln!(text, "    {} is {}: {}", found.category, found.state, found.because);
    }
    table::printable(&text)
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
        for registry in ["127.0.0.1:5080", "registry.example:443", "[2001:db8::1]:5000"] {
            let error = read(&format!("{registry}/a/fedora:41")).unwrap_err().to_string();
            assert!(error.ends_with("give the name without the registry's address: a/fedora:41"), "{error}");
        }
    }

    #[test]
    fn names_that_exist_are_told() {
        assert_eq!(existing("it has", ["41", "42"].into_iter()), "it has 41, 42");
        let none = existing("there are", [].into_iter());
        assert_eq!(none, "there are none: run `portolan export`, then `portolan scan`");
    }
}
