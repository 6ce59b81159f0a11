use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

use super::*;
use crate::connector::{
    REQUEST_BYTES,
    testing::{Answer, Request, Server},
};

const BODY: &[u8] = b"bytes of a blob";
const SIZE: u64 = BODY.len() as u64;

fn mirror(request: &Request) -> Answer {
    match request.path.as_str() {
        "/m/blob" => match request.headers.get("range") {
            Some(_) => Answer::new(206, &BODY[2..5]).header("content-range", format!("bytes 2-4/{SIZE}")),
            None => Answer::new(200, BODY),
        },
        "/m/norange" => Answer::new(200, BODY),
        "/m/gzip" => Answer::new(200, BODY).header("content-encoding", "gzip"),
        "/m/page" => Answer::new(200, b"<html>").header("content-type", "text/html; charset=utf-8"),
        "/m/cut" => Answer::new(200, BODY).cut(5),
        "/m/flipped" => Answer::new(200, b"bytes of a bloc"),
        "/m/login" => Answer::new(302, b"").header("location", "/login"),
        "/login" => Answer::new(401, b""),
        "/m/inside" => Answer::new(302, b"").header("location", "http://169.254.169.254/x"),
        "/m/loop" => Answer::new(302, b"").header("location", "/m/loop"),
        "/m/moved" => Answer::new(302, b"").header("location", "/m/blob"),
        "/m/403" => Answer::new(403, b""),
        "/m/429" => Answer::new(429, b""),
        "/m/503" => Answer::new(503, b""),
        "/m/410" => Answer::new(410, b""),
        _ => Answer::new(404, b""),
    }
}

fn connector(family: Family) -> Connector {
    let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
    Connector::new(guard, family, "test", Duration::from_secs(5)).unwrap()
}

fn damaged(text: &str) -> Outcome {
    Outcome::Damaged(text.to_owned())
}

fn wrong(text: &str) -> Outcome {
    Outcome::Wrong(text.to_owned())
}

#[tokio::test]
async fn heads_are_judged() {
    let server = Server::start(mirror).await;
    let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
    let unreachable = |text: &str| Outcome::Unreachable(text.to_owned());
    for (path, outcome) in [
        ("blob", Outcome::Present(())),
        ("moved", Outcome::Present(())),
        ("none", Outcome::Absent),
        ("410", Outcome::Absent),
        ("gzip", wrong("it sends the file encoded as gzip")),
        ("page", damaged("it has an HTML page of 6 bytes instead of 15")),
        ("403", wrong("it forbids access (403)")),
        ("login", wrong(&format!("it wants a login (401), after a redirect to {}/login", server.url()))),
        ("inside", wrong("a redirect is not followed: its address 169.254.169.254 is not a public one")),
        ("loop", wrong("a redirect is not followed: it redirects more than 3 times")),
        ("429", unreachable("it asks for fewer requests (429)")),
        ("503", unreachable("it failed with status 503")),
    ] {
        assert_eq!(connector(Family::Any).head(&base, path, SIZE).await, outcome, "{path}");
    }
    assert!(server.requests().iter().all(|it| it.headers["accept-encoding"] == "identity"));
}

#[tokio::test]
async fn bodies_are_judged() {
    let server = Server::start(mirror).await;
    let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
    let connector = connector(Family::Ipv4);
    let digest = oci::Digest::of(BODY);
    assert_eq!(connector.hash(&base, "blob", digest, SIZE).await, Outcome::Present(()));
    let found = oci::Digest::of(b"bytes of a bloc");
    assert_eq!(
        connector.hash(&base, "flipped", digest, SIZE).await,
        damaged(&format!("its bytes have the digest {found}"))
    );
    let cut = connector.hash(&base, "cut", digest, SIZE).await;
    let breaks = "it breaks off after 5 of 15 bytes: ";
    assert!(matches!(&cut, Outcome::Broken(it) if it.starts_with(breaks)), "{cut:?}");
    assert_eq!(connector.fetch(&base, "blob", 15).await, Outcome::Present(BODY.to_vec()));
    assert_eq!(
        connector.fetch(&base, "blob", 14).await,
        Outcome::Wrong("it sends more than 14 bytes".to_owned())
    );
    assert_eq!(connector.fetch_range(&base, "blob", 2..5, SIZE).await, Outcome::Present(BODY[2..5].to_vec()));
    assert_eq!(
        connector.fetch_range(&base, "norange", 2..5, SIZE).await,
        Outcome::Wrong("it ignores Range requests (200 instead of 206)".to_owned())
    );
    let other = connector.fetch_range(&base, "blob", 2..6, SIZE).await;
    assert_eq!(other, Outcome::Wrong("it answers a Range request with `bytes 2-4/15`".to_owned()));
}

#[tokio::test]
async fn life_is_told_by_the_bytes() {
    let server = Server::start(mirror).await;
    let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
    let failed = |text: &str| Probed::Failed(text.to_owned());
    for (path, expected) in [
        ("blob", Probed::Good),
        ("flipped", failed("flipped has other bytes")),
        ("page", failed("page has other bytes")),
        ("none", failed("it answers, but lacks none")),
        ("429", failed("it asks for fewer requests (429)")),
        ("503", failed("it failed with status 503")),
    ] {
        assert_eq!(connector(Family::Ipv4).probe(&base, path, BODY).await, expected, "{path}");
    }
    let found = connector(Family::Ipv6).probe(&base, "blob", BODY).await;
    assert_eq!(found, Probed::NoRoute("127.0.0.1 has no IPv6 address".to_owned()));
    let plain = base.as_str().replace("http:", "https:").parse().unwrap();
    let found = connector(Family::Ipv4).probe(&plain, "blob", BODY).await;
    assert!(matches!(found, Probed::Refused(_)), "no TLS: {found:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}/m").parse().unwrap();
    let found = connector(Family::Ipv4).probe(&nobody, "blob", BODY).await;
    assert!(matches!(found, Probed::Refused(_)), "nobody listens: {found:?}");
}

#[tokio::test]
async fn places_we_do_not_visit_are_named() {
    let server = Server::start(mirror).await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let strict = Connector::new(Guard::default(), Family::Any, "test", Duration::from_secs(5)).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let outcome = strict.head(&format!("http://{host}:{port}/m").parse().unwrap(), "blob", SIZE).await;
        assert!(
            matches!(&outcome, Outcome::Unreachable(it) if it.ends_with("is not a public one")),
            "{outcome:?}"
        );
    }
    assert!(server.requests().is_empty(), "nothing was dialled");
    let base = format!("{}/m", server.url()).parse().unwrap();
    let outcome = connector(Family::Ipv6).head(&base, "blob", SIZE).await;
    assert_eq!(outcome, Outcome::NoRoute("127.0.0.1 has no IPv6 address".to_owned()));
}

/// Answers a request for two ranges of `{}` as `what` says.
fn two_ranges(what: &str) -> Answer {
    let part = |range: &str, byte: &str| format!("--x\r\nContent-Range: bytes {range}/2\r\n\r\n{byte}\r\n");
    let parts = |body: String| {
        Answer::new(206, body.as_bytes()).header("content-type", "multipart/byteranges; boundary=x")
    };
    let single =
        |range: &str, body: &[u8]| Answer::new(206, body).header("content-range", format!("bytes {range}"));
    match what {
        "parts" => parts(format!("\r\n{}{}--x--\r\n", part("0-0", "{"), part("1-1", "}"))),
        "swapped" => parts(format!("\r\n{}{}--x--\r\n", part("0-0", "}"), part("1-1", "{"))),
        "open" => parts(format!("\r\n{}{}", part("0-0", "{"), part("1-1", "}"))),
        "one" => parts(format!("\r\n{}--x--\r\n", part("0-0", "{"))),
        "size" => single("0-1/3", b"{}"),
        "first" => single("0-0/2", b"{"),
        "joined" => single("0-1/2", b"{}"),
        "lie" => single("0-0/2", b"}"),
        "nothing" => Answer::new(206, b"{}"),
        "whole" => Answer::new(200, b"{}"),
        "page" => Answer::new(200, b"<html>"),
        _ => Answer::new(416, b""),
    }
}

#[tokio::test]
async fn requests_for_two_ranges_are_judged() {
    let server =
        Server::start(|request: &Request| two_ranges(request.path.rsplit('/').next().unwrap())).await;
    let base: HostUrl = server.url().parse().unwrap();
    let found = async |what: &str| connector(Family::Any).probe_manners(&base, what, b"{}").await;
    for (what, multi_range) in [
        ("parts", MultiRange::Parts),
        ("first", MultiRange::Single),
        ("joined", MultiRange::Single),
        ("whole", MultiRange::Whole),
    ] {
        assert_eq!(
            found(what).await,
            Outcome::Present(Manners { multi_range, keeps_alive: false, certificate_ends_at: None }),
            "{what}"
        );
    }
    for (what, reason) in [
        ("swapped", "bytes of another range"),
        ("open", "2 parts"),
        ("one", "1 parts"),
        ("size", "bytes of another range"),
        ("lie", "bytes of another range"),
        ("nothing", "neither Content-Range nor multipart/byteranges"),
        ("page", "other bytes"),
    ] {
        let expected = Outcome::Wrong(format!("it answers a request for two ranges with {reason}"));
        assert_eq!(found(what).await, expected, "{what}");
    }
    assert_eq!(found("416").await, Outcome::Wrong("it answers with status 416".into()));
    assert!(server.requests().iter().all(|it| it.headers["range"] == "bytes=0-0,1-1"));
}

#[tokio::test]
async fn all_that_is_sent_and_read_is_counted() {
    let server = Server::start(mirror).await;
    let base: HostUrl = format!("{}/m", server.url()).parse().unwrap();
    let meter = Arc::<Meter>::default();
    let connector = connector(Family::Any).counted_by(meter.clone());
    connector.head(&base, "blob", SIZE).await;
    assert_eq!((meter.requests(), meter.bytes()), (1, REQUEST_BYTES));
    connector.hash(&base, "moved", oci::Digest::of(BODY), SIZE).await;
    assert_eq!((meter.requests(), meter.bytes()), (3, 3 * REQUEST_BYTES + SIZE), "a redirect is a request");
    connector.fetch(&base, "blob", 3).await;
    assert_eq!(meter.bytes(), 4 * REQUEST_BYTES + 2 * SIZE, "also what was too much");
}

#[tokio::test]
async fn slow_and_endless_answers_end_in_time() {
    let server = Server::start(|request: &Request| match request.path.as_str() {
        "/drip" => Answer::new(200, BODY).drip(),
        "/hang" => Answer::new(200, BODY).hang(),
        "/endless" => Answer::new(200, &[0; 4096]).endless(),
        _ => Answer::new(200, BODY).pad(1 << 30),
    })
    .await;
    let base: HostUrl = server.url().parse().unwrap();
    let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
    let connector = Connector::new(guard, Family::Any, "test", Duration::from_millis(1500)).unwrap();
    let start = std::time::Instant::now();
    let digest = oci::Digest::of(BODY);
    let late = Outcome::Unreachable("no answer in time".to_owned());
    assert_eq!(connector.fetch(&base, "drip", 100).await, late.clone().map(|()| Vec::new()));
    assert_eq!(connector.hash(&base, "drip", digest, SIZE).await, late);
    assert_eq!(connector.head(&base, "hang", SIZE).await, late);
    assert_eq!(connector.hash(&base, "endless", digest, SIZE).await, damaged("it sends more than 15 bytes"));
    let padded = connector.head(&base, "padded", SIZE).await;
    assert!(matches!(&padded, Outcome::Unreachable(it) if it.contains("too large")), "{padded:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    eprintln!("ended after {:?}", start.elapsed());
}

/// A server with a certificate of its own making, for one connection.
fn serve_tls() -> u16 {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    crate::connector::install_cryptography();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        // The client ends this, for it does not like the certificate.
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let _ = tls.read(&mut [0; 100]);
        let _ = tls.write(b"x");
    });
    port
}

#[tokio::test]
async fn a_bad_certificate_is_named() {
    let base = format!("https://localhost:{}", serve_tls()).parse().unwrap();
    let outcome = connector(Family::Ipv4).head(&base, "blob", SIZE).await;
    let Outcome::Unreachable(reason) = outcome else { panic!("{outcome:?}") };
    assert!(
        reason.starts_with("its certificate is by an authority that this machine does not know"),
        "{reason}"
    );
}
