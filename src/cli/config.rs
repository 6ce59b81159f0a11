use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{log_filter, print, print_json, render_error, serve, suggestion};
use crate::{
    bus::Bus,
    config::{Config, DEFAULT_FILE},
    connector::Registry,
    crawler::Crawler,
    database::{Database, DatabaseUrl, site},
    exporter::{Error, Exporter},
    server,
};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print a whole configuration file, every key with its meaning and default
    Example,
    /// Judge a configuration file, and the files that it names
    Check {
        /// The file; without it the one that all commands use
        file: Option<PathBuf>,
    },
    /// Print the shape of the file as JSON Schema, for editors
    Schema,
    /// Print the description of the REST API, by OpenAPI 3.1
    Openapi,
}

pub(super) fn run(command: &Command, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Example => print(&Config::example())?,
        Command::Schema => print_json(&Config::schema())?,
        Command::Openapi => print_json(&server::openapi())?,
        Command::Check { file } => {
            let path = file.as_deref().or(named).unwrap_or(Path::new(DEFAULT_FILE));
            let config = Config::load(Some(path), |name| std::env::var(name).ok())?;
            let mut faults = judge(&config);
            faults.extend(judge_sites(&config));
            for fault in &faults {
                let _ = writeln!(io::stderr(), "portolan: the configuration {}: {fault}", path.display());
            }
            if !faults.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            print(&format!("{} is understood\n", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the commands would refuse at their start, by their own checks. Asks nothing of the network.
fn judge(config: &Config) -> Vec<String> {
    // Without a category there is nothing to export: the origin may be there for the fallback alone.
    let exporter = match config.category[..] {
        [] => config
            .origin
            .url
            .as_ref()
            .map_or(Ok(()), |_| Registry::new(&config.origin).map(drop).map_err(Error::from)),
        _ => Exporter::new(&config.origin, &config.tree, &config.category).map(drop),
    };
    let results = [
        exporter.map_err(anyhow::Error::from),
        server::check(&serve::settings(config.clone())).map_err(anyhow::Error::from),
        server::hooks::check(&config.hooks).map_err(anyhow::Error::from),
        Bus::new(&config.bus).map(drop).map_err(anyhow::Error::from),
        Crawler::new(config.crawl.clone()).map(drop).map_err(anyhow::Error::from),
        config.client.check().map_err(anyhow::Error::from),
        log_filter(config).map(drop),
    ];
    results.into_iter().filter_map(Result::err).map(|it| render_error(&it)).collect()
}

/// Does the database have the sites that endpoints avoid? A slip would send clients to just these. Without a database
/// there is nothing to compare with.
fn judge_sites(config: &Config) -> Vec<String> {
    let avoided =
        || config.endpoint.iter().flat_map(|it| it.avoided_sites.iter().map(move |site| (it, site)));
    if avoided().next().is_none() || matches!(&config.database.url, DatabaseUrl::Sqlite(it) if !it.exists()) {
        return Vec::new();
    }
    let sites = match Database::open(&config.database).read(site::list) {
        Ok(sites) => sites,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the sites that endpoints avoid are not compared: {error}");
            return Vec::new();
        }
    };
    let names = || sites.iter().map(|it| it.name.as_str());
    let strange = avoided().filter(|(_, site)| !names().any(|it| it == *site));
    let fault = |(endpoint, site): (&server::EndpointConfig, &String)| {
        let near = suggestion::near(site, names());
        format!("the endpoint {} avoids a site that there is not: {site}{near}", endpoint.host)
    };
    strange.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Judges a configuration in a folder with a certificate (`cert.pem`), its key (`key.pem`), another key
    /// (`other.pem`) and a file of words (`words`). `@` in it is the folder.
    fn faults(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let make = || rcgen::generate_simple_self_signed(["registry.test".to_owned()]).unwrap();
        let (made, other) = (make(), make());
        write("cert.pem", &made.cert.pem());
        write("key.pem", &made.signing_key.serialize_pem());
        write("other.pem", &other.signing_key.serialize_pem());
        write("words", "words");
        let path = folder.path().join("portolan.toml");
        fs::write(&path, text.replace('@', folder.path().to_str().unwrap())).unwrap();
        judge(&Config::load(Some(&path), |_| None).unwrap())
    }

    #[test]
    fn sites_that_there_are_not_are_refused_and_near_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let config = |site: &str| {
            let path = folder.path().join("portolan.toml");
            let database = folder.path().join("portolan.db");
            let text = format!(
                "[database]\nurl = \"sqlite:{}\"\n[[endpoint]]\nhost = \"a.test\"\navoided_sites = [\"{site}\"]\n",
                database.display()
            );
            fs::write(&path, text).unwrap();
            Config::load(Some(&path), |_| None).unwrap()
        };
        assert!(judge_sites(&config("Uni X")).is_empty(), "no database yet");
        let database = Database::open(&config("").database);
        database.migrate().unwrap();
        let created_at = jiff::Timestamp::now().into();
        let new = site::NewSite { name: "Uni X".parse().unwrap(), org_url: None, private: false, created_at };
        database.write(crate::database::Part::Hosts, |it| site::insert(it, &new)).unwrap();
        assert!(judge_sites(&config("Uni X")).is_empty());
        let told = judge_sites(&config("Uni Y"));
        assert_eq!(told, ["the endpoint a.test avoids a site that there is not: Uni Y (near: Uni X)"]);
    }

    #[cfg(not(feature = "oidc"))]
    fn check_oidc(check: fn(&str, &str)) {
        check("[accounts.oidc]\nissuer = \"https://id.test\"", "this program was built without oidc");
    }

    #[cfg(feature = "oidc")]
    fn check_oidc(check: fn(&str, &str)) {
        let oidc = |issuer: &str, url: &str, rest: &str| {
            format!("[accounts.oidc]\nissuer = \"{issuer}\"\npublic_url = \"{url}\"\n{rest}\n")
        };
        let with = |rest: &str| oidc("https://id.test", "https://registry.test", rest);
        let client = |rest: &str| with(&format!("client_id = \"portolan\"\n{rest}"));
        check(&oidc("http://id.test", "https://registry.test", ""), "`issuer` in [accounts.oidc] is no URL");
        check(
            &oidc("https://id.test?x", "https://registry.test", ""),
            "`issuer` in [accounts.oidc] is no URL",
        );
        check(&oidc("https://id.test", "", ""), "`public_url` in [accounts.oidc] is no URL");
        check(
            &oidc("https://id.test", "https://registry.test/x", ""),
            "`public_url` in [accounts.oidc] has a path",
        );
        check(&with(""), "`client_id` in [accounts.oidc] has 1 to 200 characters");
        check(&client("name = \"\""), "`name` in [accounts.oidc] has 1 to 40 characters");
        check(&client("scopes = [\"a b\"]"), "\"a b\" is no scope");
        check(&client("client_secret_file = \"@/gone\""), "`client_secret_file` in [accounts.oidc], ");
        check(&client("client_secret_file = \"/dev/null\""), "/dev/null: it is empty");
        check(&client("ca_file = \"@/words\""), "/words: it holds no certificate");
        assert!(
            faults(&client("")).is_empty() && faults(&client("client_secret_file = \"@/words\"")).is_empty()
        );
    }

    #[test]
    fn what_serve_and_export_refuse_is_refused() {
        #[track_caller]
        fn check(text: &str, part: &str) {
            let faults = faults(text);
            assert!(faults.len() == 1 && faults[0].contains(part), "{part} is not in {faults:?}");
        }
        let listen = |rest: &str| format!("[[listen]]\naddress = \"0.0.0.0:443\"\n{rest}");
        let tls = |key: &str| listen(&format!("certificate = \"@/cert.pem\"\nkey = \"@/{key}\""));
        let origin = |rest: &str| format!("[origin]\nurl = \"https://origin.example\"\n{rest}");
        check(&listen(""), "the listener 0.0.0.0:443 has no TLS");
        check(&listen("certificate = \"@/cert.pem\""), "needs both `certificate` and `key`");
        check(&tls("gone.pem"), "/gone.pem: No such file");
        check(&tls("words"), "/words: it holds no private key");
        check(&tls("other.pem"), "/other.pem: it does not belong to the certificate");
        check(&listen("certificate = \"@/words\"\nkey = \"@/key.pem\""), "/words: it holds no certificate");
        check(&format!("{}\n{}", tls("key.pem"), tls("key.pem")), "0.0.0.0:443 and 0.0.0.0:443");
        let management = |port| format!("[serve]\nmanagement = \"127.0.0.1:{port}\"\n{}", tls("key.pem"));
        check(&management(443), "0.0.0.0:443 and 127.0.0.1:443, named by `serve.management`");
        check("[serve]\nmanagement = \"127.0.0.1:5000\"", "127.0.0.1:5000 and 127.0.0.1:5000");
        check("[geoip]\ncountry = \"@/words\"", "/words, named in [geoip]");
        check("[geoip]\nasn = \"@/gone\"", "/gone, named in [geoip]: No such file");
        check(&origin("auth_file = \"@/words\""), "auth_file of [origin], ");
        check(&origin("ca_file = \"@/gone\""), "ca_file of [origin], ");
        check("[origin]\nurl = \"https://origin.example/v2/\"", "leave out `/v2`");
        let twice = "[[category]]\nname = \"fedora\"\n".repeat(2);
        check(&origin(&twice), "category fedora is configured twice");
        check("[[category]]\nname = \"fedora\"", "no origin registry is named");
        check("[hooks]\ntoken = \"short\"", "`token` in [hooks] has 5 characters: it needs 16 or more");
        check("[hooks]\ntoken = \"sixteen letters \"", "`token` in [hooks] has 16 characters");
        check("[bus]\nurl = \"amqp://bus.example\"", "in [bus]");
        check_oidc(check);
        check("[client]\nsigned_by = [\"@/words\"]", "/words in [client]: it is no public key");
        check("[client]\nca_file = \"@/gone\"", "/gone");
        check("[log]\nfilter = \"info,,=x=y\"", "log.filter in the configuration");

        let endpoint = |host: &str| format!("{}\n[[endpoint]]\nhost = \"{host}\"\n", tls("key.pem"));
        check(
            &endpoint("eu.registry.test"),
            "no certificate of a [[listen]] is for the endpoint eu.registry.test",
        );
        check(&endpoint("https://registry.test"), "`host` is a name alone");
        assert!(faults(&endpoint("registry.test")).is_empty());
        assert!(
            faults("[[endpoint]]\nhost = \"eu.registry.test\"").is_empty(),
            "a proxy may have certificates"
        );
        assert!(faults("").is_empty() && faults(&tls("key.pem")).is_empty());
        assert!(faults(&management(5001)).is_empty() && faults(&origin("")).is_empty());
        assert_eq!(faults(&format!("{}{}", origin("ca_file = \"@/gone\"\n"), listen(""))).len(), 2);
    }
}
