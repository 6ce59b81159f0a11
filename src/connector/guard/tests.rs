use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    connector::{
        Connector, Outcome,
        testing::{Answer, Request, Server},
    },
    mirror::{HostUrl, RsyncUrl},
};

/// What the names of these tests lead to.
async fn names(name: String) -> io::Result<Vec<SocketAddr>> {
    let addresses: &[&str] = match name.as_str() {
        "localhost" | "localhost." | "127.0.0.1.nip.test" => &["127.0.0.1", "::1"],
        "metadata.test" => &["169.254.169.254"],
        "mapped.test" => &["::ffff:10.0.0.1"],
        "nat64.test" => &["64:ff9b::a00:1"],
        "six-to-four.test" => &["2002:a00:1::1"],
        "inside.test" => &["10.0.0.1", "fd00::1", "192.168.0.1"],
        "mixed.test" => &["127.0.0.1", "8.8.8.8"],
        "mirror.test" => &["8.8.8.8", "2a00:1450::1"],
        _ => return Err(io::Error::other("no such name")),
    };
    Ok(addresses.iter().map(|it| SocketAddr::new(it.parse().unwrap(), 0)).collect())
}

fn guard() -> Guard {
    Guard { lookup: |it| Box::pin(names(it)), ..Guard::default() }
}

/// Everything that a URL passes before a byte is sent: its form, the guard, and the guard again for what
/// its name leads to.
async fn visit(guard: &Guard, text: &str) -> Result<Vec<SocketAddr>, String> {
    let (text, port) = if text.starts_with("rsync:") {
        let url: RsyncUrl = text.parse().map_err(|error: crate::mirror::RsyncUrlError| error.to_string())?;
        (format!("http://{}/", url.host()), url.port())
    } else {
        let url: HostUrl = text.parse().map_err(|error: crate::mirror::HostUrlError| error.to_string())?;
        let port = Url::parse(url.as_str()).unwrap().port_or_known_default().unwrap();
        (url.to_string(), port)
    };
    let url = Url::parse(&text).unwrap();
    guard.check_url(&url).map_err(|error| error.to_string())?;
    guard.check_host(&url.host().unwrap(), port).map_err(|error| error.to_string())?;
    match url.host().unwrap() {
        Host::Domain(name) => guard.resolve(name, Family::Any).await.map_err(|error| error.to_string()),
        Host::Ipv4(address) => Ok(vec![(address, 0).into()]),
        Host::Ipv6(address) => Ok(vec![(address, 0).into()]),
    }
}

/// URLs, and a part of the reason why each is not visited.
const HOSTILE: &[(&str, &str)] = &[
    // IPv4 in all its forms: dotted, short, decimal, hexadecimal, octal, mixed, full-width.
    ("http://127.0.0.1/", "not a public one"),
    ("http://127.1/", "127.0.0.1 is not"),
    ("http://127.0.1/", "127.0.0.1 is not"),
    ("http://2130706433/", "127.0.0.1 is not"),
    ("http://0x7f000001/", "127.0.0.1 is not"),
    ("http://0x7f.1/", "127.0.0.1 is not"),
    ("http://0X7F.0.0.0x1/", "127.0.0.1 is not"),
    ("http://017700000001/", "127.0.0.1 is not"),
    ("http://0177.0.0.1/", "127.0.0.1 is not"),
    ("http://127.0.0.1./", "127.0.0.1 is not"),
    ("http://%31%32%37.0.0.1/", "127.0.0.1 is not"),
    ("http://１２７.0.0.1/", "127.0.0.1 is not"),
    ("http://127。0。0。1/", "127.0.0.1 is not"),
    ("http://①②⑦.0.0.1/", "127.0.0.1 is not"),
    ("http://4294967296/", "looks like"),
    ("http://256.1.1.1/", "looks like"),
    ("http://0x1.0x2.0x3.0x4.0x5/", "looks like"),
    ("http://0/", "0.0.0.0 is not"),
    ("http://0.0.0.0:80/", "0.0.0.0 is not"),
    // IPv4's special networks (RFC 6890).
    ("http://10.0.0.1/", "10.0.0.1 is not"),
    ("http://172.16.0.1/", "not a public one"),
    ("http://172.31.255.255/", "not a public one"),
    ("http://192.168.1.1/", "not a public one"),
    ("http://169.254.169.254/", "not a public one"),
    ("http://2852039166/", "169.254.169.254 is not"),
    ("http://100.64.0.1/", "not a public one"),
    ("http://100.127.255.255/", "not a public one"),
    ("http://192.0.0.8/", "not a public one"),
    ("http://192.0.2.1/", "not a public one"),
    ("http://198.18.0.1/", "not a public one"),
    ("http://198.19.255.255/", "not a public one"),
    ("http://198.51.100.1/", "not a public one"),
    ("http://203.0.113.1/", "not a public one"),
    ("http://192.88.99.1/", "not a public one"),
    ("http://224.0.0.1/", "not a public one"),
    ("http://239.255.255.255/", "not a public one"),
    ("http://240.0.0.1/", "not a public one"),
    ("http://255.255.255.255/", "not a public one"),
    // IPv6: loopback, mapped, compatible, NAT64, 6to4, Teredo, documentation, unique-local and the rest.
    ("http://[::1]/", "not a public one"),
    ("http://[0:0:0:0:0:0:0:1]/", "::1 is not"),
    ("http://[::]/", "not a public one"),
    ("http://[::ffff:127.0.0.1]/", "not a public one"),
    ("http://[::ffff:7f00:1]/", "not a public one"),
    ("http://[::FFFF:10.0.0.1]/", "not a public one"),
    ("http://[::ffff:8.8.8.8]/", "not a public one"),
    ("http://[::127.0.0.1]/", "not a public one"),
    ("http://[64:ff9b::7f00:1]/", "not a public one"),
    ("http://[64:ff9b:1::1]/", "not a public one"),
    ("http://[2002:7f00:1::]/", "not a public one"),
    ("http://[2002:a00:1::1]/", "not a public one"),
    ("http://[2001::1]/", "not a public one"),
    ("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "not a public one"),
    ("http://[2001:db8::1]/", "not a public one"),
    ("http://[3fff::1]/", "not a public one"),
    ("http://[2001:2::1]/", "not a public one"),
    ("http://[2001:20::1]/", "not a public one"),
    ("http://[fe80::1]/", "not a public one"),
    ("http://[fe80::1%25eth0]/", "looks like"),
    ("http://[fec0::1]/", "not a public one"),
    ("http://[fc00::1]/", "not a public one"),
    ("http://[fd00::1]/", "not a public one"),
    ("http://[ff02::1]/", "not a public one"),
    ("http://[100::1]/", "not a public one"),
    ("http://[5f00::1]/", "not a public one"),
    ("http://[::1", "looks like"),
    // Public addresses are no names.
    ("https://8.8.8.8/", "instead of a host's name"),
    ("https://134744072/", "8.8.8.8 instead"),
    ("https://[2a00:1450::1]/", "instead of a host's name"),
    // Names that lead inside.
    ("http://localhost/", "127.0.0.1 is not"),
    ("http://LOCALHOST/", "127.0.0.1 is not"),
    ("http://localhost./", "127.0.0.1 is not"),
    ("http://127.0.0.1.nip.test/", "127.0.0.1 is not"),
    ("http://metadata.test/", "169.254.169.254 is not"),
    ("http://mapped.test/", "::ffff:10.0.0.1 is not"),
    ("http://nat64.test/", "not a public one"),
    ("http://six-to-four.test/", "not a public one"),
    ("http://inside.test/", "10.0.0.1 is not"),
    ("http://unknown.test/", "no such name"),
    // Schemes, logins, ports.
    ("ftp://mirror.test/", "begins with"),
    ("file:///etc/passwd", "begins with"),
    ("gopher://mirror.test/", "begins with"),
    ("javascript:alert(1)", "begins with"),
    ("data:,x", "begins with"),
    ("unix:/run/docker.sock", "begins with"),
    ("http://user@mirror.test/", "user or a password"),
    ("http://:secret@mirror.test/", "user or a password"),
    ("http://mirror.test@127.0.0.1/", "user or a password"),
    ("http://mirror.test/a@b", "user or a password"),
    ("http://mirror.test:22/", "port 22 is not"),
    ("http://mirror.test:25/", "port 25 is not"),
    ("https://mirror.test:0/", "port 0 is not"),
    ("http://mirror.test:65536/", "looks like"),
    // What other parsers read otherwise.
    ("http://mirror.test\\@127.0.0.1/", "looks like"),
    ("http://mirror.test/?u=http://127.0.0.1", "neither query nor fragment"),
    ("http://mirror.test#@127.0.0.1/", "user or a password"),
    ("http://mirror.test/\u{0}", "looks like"),
    ("http://mirror.test/a\r\nHost: x", "looks like"),
    ("http://mirror.test/\u{1b}[31m", "looks like"),
    ("http://mirror\t.test/", "looks like"),
    ("http://mirror.test/\u{85}", "looks like"),
    ("http:///etc/passwd", "has no address"),
    ("http://", "looks like"),
    (" http://mirror.test/", "looks like"),
    // rsync: options, shells, logins, other daemons.
    ("rsync://-e/sh", "looks like"),
    ("rsync://--rsh=sh/x", "looks like"),
    ("rsync://mirror.test/-e sh", "looks like"),
    ("rsync://mirror.test/m/;reboot", "looks like"),
    ("rsync://mirror.test/m/$(reboot)", "looks like"),
    ("rsync://mirror.test/m/`reboot`", "looks like"),
    ("rsync://mirror.test/m/*", "looks like"),
    ("rsync://mirror.test/m/../../etc", "looks like"),
    ("rsync://mirror.test/m/%2e%2e/x", "looks like"),
    ("rsync://mirror.test/m/\n--rsh=sh", "looks like"),
    ("rsync://mirror.test/", "looks like"),
    ("rsync://user@mirror.test/m", "looks like"),
    ("rsync://mirror.test:22/m", "port 22 is not"),
    ("rsync://127.0.0.1/m", "127.0.0.1 is not"),
    ("rsync://2130706433/m", "127.0.0.1 is not"),
    ("rsync://[::1]/m", "not a public one"),
    ("rsync://inside.test/m", "10.0.0.1 is not"),
];

#[tokio::test]
async fn hostile_urls_are_refused() {
    assert!(HOSTILE.len() >= 60, "{}", HOSTILE.len());
    let mut faults = Vec::new();
    for (text, reason) in HOSTILE {
        let found = visit(&guard(), text).await;
        if !found.as_ref().is_err_and(|it| it.contains(reason)) {
            faults.push(format!("{text:?}: {found:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn public_names_pass() {
    let all: Vec<SocketAddr> = vec!["8.8.8.8:0".parse().unwrap(), "[2a00:1450::1]:0".parse().unwrap()];
    for text in [
        "http://mirror.test/x",
        "https://mirror.test:443/x",
        "http://mirror.test:8080",
        "https://mirror.test:1024/",
        "rsync://mirror.test/m",
        "rsync://mirror.test:8873/m/containers/",
    ] {
        assert_eq!(visit(&guard(), text).await, Ok(all.clone()), "{text}");
    }
    assert_eq!(visit(&guard(), "http://mixed.test/").await, Ok(vec![all[0]]), "only what is public is kept");
    let none = guard().resolve("metadata.test", Family::Ipv6).await;
    assert_eq!(none.unwrap_err().to_string(), "metadata.test has no IPv6 address");
}

#[tokio::test]
async fn what_an_operator_allows_passes() {
    let networks = ["127.0.0.0/8", "fd00::/8", "8.8.8.0/24"].map(|it| it.parse().unwrap());
    let guard = Guard { allow: networks.into(), ..guard() }.with_ports([22]);
    for text in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fd00::1]/",
        "https://8.8.8.8/",
        "http://localhost:22/",
    ] {
        visit(&guard, text).await.expect(text);
    }
    visit(&guard, "http://10.0.0.1/").await.expect_err("is in no allowed network");
    visit(&guard, "http://localhost:23/").await.expect_err("is no allowed port");
}

#[test]
fn addresses_on_the_edges_are_judged() {
    for text in ["100.128.0.1", "172.32.0.1", "198.20.0.1", "2001:200::1", "3fff:1000::1", "223.255.255.255"]
    {
        assert_eq!(Guard::default().check_address(text.parse().unwrap()), Ok(()), "{text}");
    }
}

static CHANGES: AtomicUsize = AtomicUsize::new(0);

/// A name that leads to the test's server when it is looked up first, and to a forbidden address ever after.
async fn changes(_: String) -> io::Result<Vec<SocketAddr>> {
    let address = if CHANGES.fetch_add(1, Ordering::SeqCst) == 0 { [127, 0, 0, 1] } else { [127, 0, 0, 2] };
    Ok(vec![(address, 0).into()])
}

#[tokio::test]
async fn a_name_that_changes_is_dialled_where_it_was_checked() {
    let server = Server::start(|_: &Request| Answer::new(200, b"ok")).await;
    let guard = Guard { lookup: |it| Box::pin(changes(it)), ..Guard::new(["127.0.0.1/32".parse().unwrap()]) };
    let connector = Connector::new(guard, Family::Any, "test", Duration::from_secs(5)).unwrap();
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let base = format!("http://rebinding.test:{port}").parse().unwrap();
    assert_eq!(connector.fetch(&base, "x", 2).await, Outcome::Present(b"ok".to_vec()));
    assert_eq!(CHANGES.load(Ordering::SeqCst), 1, "one look-up for one connection");
    // The server closes its connections, so the next request looks the name up again.
    let refused = Refusal::Address([127, 0, 0, 2].into()).to_string();
    assert_eq!(connector.fetch(&base, "x", 2).await, Outcome::Unreachable(refused));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn redirects_pass_the_same_guard() {
    let to = |location: &'static str| {
        move |request: &Request| match request.path.as_str() {
            "/m/x" => Answer::new(302, b"").header("location", location),
            _ => Answer::new(200, b"ok"),
        }
    };
    for (location, reason) in [
        ("http://10.0.0.1/x", "its address 10.0.0.1 is not a public one"),
        ("//169.254.169.254/x", "its address 169.254.169.254 is not a public one"),
        ("http://[::ffff:10.0.0.1]/x", "its address ::ffff:10.0.0.1 is not a public one"),
        ("http://2130706434/x", "its address 127.0.0.2 is not a public one"),
        ("http://8.8.8.8/x", "its URL has the address 8.8.8.8 instead of a host's name"),
        ("http://localhost:22/x", "its port 22 is not one that mirrors are visited at"),
        ("http://u:p@localhost/x", "its URL holds a login"),
        ("ftp://localhost/x", "its scheme `ftp` is neither http nor https"),
        ("http://inside.test/x", "its address 10.0.0.1 is not a public one"),
        ("http://[/x", "it redirects to something that is no URL"),
        ("/m/x", "it redirects more than 3 times"),
    ] {
        let server = Server::start(to(location)).await;
        let guard = Guard { allow: Arc::new(["127.0.0.1/32".parse().unwrap()]), ..guard() };
        let connector = Connector::new(guard, Family::Ipv4, "test", Duration::from_secs(5)).unwrap();
        let base = format!("{}/m", server.url()).parse().unwrap();
        let expected = Outcome::Wrong(format!("a redirect is not followed: {reason}"));
        assert_eq!(connector.fetch(&base, "x", 2).await, expected, "{location}");
        assert_eq!(server.requests().len(), if location == "/m/x" { 1 + REDIRECT_LIMIT } else { 1 });
    }
    let url = |text: &str| Url::parse(text).unwrap();
    let guard = guard();
    assert_eq!(
        guard.check_redirect(&url("https://mirror.test/x"), &url("http://mirror.test/x")),
        Err(Refusal::Downgrade)
    );
    assert_eq!(guard.check_redirect(&url("http://mirror.test/x"), &url("https://mirror.test/x")), Ok(()));
}

#[tokio::test]
async fn the_host_that_a_user_names_may_be_anywhere() {
    let url = |text: &str| Url::parse(text).unwrap();
    #[track_caller]
    fn check(guard: &Guard, text: &str, expected: Result<(), Refusal>) {
        assert_eq!(guard.check_url(&Url::parse(text).unwrap()), expected, "{text}");
    }
    let named = guard().trusting(&url("https://inside.test/"));
    check(&named, "https://inside.test/v2/", Ok(()));
    check(&named, "https://inside.test:8443/", Err(Refusal::Port(8443)));
    check(&named, "http://inside.test/", Err(Refusal::Port(80)));
    assert!(named.resolve("inside.test", Family::Any).await.is_ok());
    assert!(guard().resolve("inside.test", Family::Any).await.is_err());
    let literal = guard().trusting(&url("http://127.0.0.1:5000/"));
    check(&literal, "http://127.0.0.1:5000/x", Ok(()));
    check(&literal, "http://127.0.0.1:5001/x", Err(Refusal::Address([127, 0, 0, 1].into())));
    check(&literal, "http://10.0.0.1:5000/x", Err(Refusal::Address([10, 0, 0, 1].into())));
    let to_other = literal.check_redirect(&url("http://127.0.0.1:5000/x"), &url("http://10.0.0.1/x"));
    assert_eq!(to_other, Err(Refusal::Address([10, 0, 0, 1].into())));
}
