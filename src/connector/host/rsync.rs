//! Lists a mirror's folder by the `rsync` program, as a daemon shows it to everybody.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Command,
    time::timeout,
};
use url::{Host, Url};

use super::{
    Connector, Outcome,
    answer::{Fault, quote},
};
use crate::{connector::guard::Refusal, mirror::RsyncUrl};

/// The longest listing that is read, in bytes: about 250,000 files.
const LISTING_LIMIT: u64 = 32 * 1024 * 1024;

/// How long a listing may take.
const LISTING_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest line of a listing, in bytes.
const LINE_LIMIT: u64 = 4096;

/// How much of what rsync says of a failure is read, in bytes.
const COMPLAINT_LIMIT: u64 = 4096;

/// What rsync would read other settings from: passwords, proxies, programs to connect by, aliases.
const ENVIRONMENT: [&str; 8] = [
    "HOME",
    "RSYNC_CONNECT_PROG",
    "RSYNC_ICONV",
    "RSYNC_OLD_ARGS",
    "RSYNC_PASSWORD",
    "RSYNC_PROTECT_ARGS",
    "RSYNC_PROXY",
    "RSYNC_RSH",
];

impl Connector {
    /// Tells `found` of each file below the URL: its path, as `blobs/sha256/ab/HEX`, and its size. The address
    /// that was checked is the one that rsync dials. Counts as one request.
    pub async fn list_files(&self, url: &RsyncUrl, found: impl FnMut(&str, u64)) -> Outcome {
        let list = async {
            let addresses = self.resolve(url).await.map_err(|refusal| match refusal {
                Refusal::Family(..) => Fault::NoRoute(refusal.to_string()),
                _ => Fault::Unreachable(refusal.to_string()),
            })?;
            let address = *addresses.first().ok_or_else(|| Fault::Unreachable("no address".to_owned()))?;
            self.meter.count_request();
            let listing = self.run(address, url.path(), found);
            let late = || Fault::Unreachable("rsync: the listing took too long".to_owned());
            timeout(LISTING_TIMEOUT, listing).await.map_err(|_| late())?
        };
        list.await.into()
    }

    /// Once; rsync itself is given an address and resolves nothing.
    async fn resolve(&self, url: &RsyncUrl) -> Result<Vec<SocketAddr>, Refusal> {
        let with_host = Url::parse(&format!("http://{}/", url.host())).map_err(|_| Refusal::NoHost)?;
        let host = with_host.host().ok_or(Refusal::NoHost)?;
        self.guard.check_host(&host, url.port())?;
        let literal = match host {
            Host::Domain(name) => {
                let found = self.guard.resolve(name, self.family).await?;
                return Ok(found.into_iter().map(|it| SocketAddr::new(it.ip(), url.port())).collect());
            }
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
        };
        if self.family.includes(literal) {
            Ok(vec![SocketAddr::new(literal, url.port())])
        } else {
            Err(Refusal::Family(literal.to_string(), self.family))
        }
    }

    async fn run(&self, address: SocketAddr, path: &str, found: impl FnMut(&str, u64)) -> Result<(), Fault> {
        let failed = |error: std::io::Error| Fault::Unreachable(format!("rsync: {error}"));
        let mut child = command(address, path).spawn().map_err(failed)?;
        let piped = "both are piped";
        let output = child.stdout.take().expect(piped).take(LISTING_LIMIT + 1);
        let complaints = read_complaint(child.stderr.take().expect(piped));
        let (listing, complaint) = tokio::join!(self.read_listing(BufReader::new(output), found), complaints);
        listing?; // a child that still runs is killed when it is dropped
        let status = child.wait().await.map_err(failed)?;
        if status.success() { Ok(()) } else { Err(Fault::Unreachable(format!("rsync: {complaint}"))) }
    }

    async fn read_listing(
        &self,
        mut output: impl AsyncBufRead + Unpin,
        mut found: impl FnMut(&str, u64),
    ) -> Result<(), Fault> {
        let mut total = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut output).take(LINE_LIMIT).read_until(b'\n', &mut line).await;
            let read = read.map_err(|error| Fault::Unreachable(format!("rsync: {error}")))?;
            self.meter.count_bytes(read);
            total += read as u64;
            if total > LISTING_LIMIT {
                return Err(Fault::Unreachable(format!("rsync: it lists more than {LISTING_LIMIT} bytes")));
            }
            if read == 0 {
                return Ok(());
            }
            match parse_line(&line) {
                Some(Entry::File(path, size)) => found(path, size),
                Some(Entry::Other) => {}
                None => {
                    let line = quote(&String::from_utf8_lossy(&line));
                    return Err(Fault::Wrong(format!("rsync: its listing has the line `{line}`")));
                }
            }
        }
    }
}

/// No shell, and nothing that a mirror's admin typed but the path of a checked URL, behind `--`.
fn command(address: SocketAddr, path: &str) -> Command {
    let mut command = Command::new("rsync");
    command
        .args(["--list-only", "--recursive", "--no-human-readable", "--no-motd"])
        .args(["--timeout=20", "--contimeout=10", "--"])
        .arg(format!("rsync://{address}/{path}/"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in ENVIRONMENT {
        command.env_remove(name);
    }
    command
}

/// The first line of what rsync complains of.
async fn read_complaint(errors: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    // What cannot be read is not told.
    let _ = errors.take(COMPLAINT_LIMIT).read_to_end(&mut text).await;
    let text = String::from_utf8_lossy(&text);
    quote(text.lines().next().unwrap_or("it failed without a word"))
}

#[derive(Debug, PartialEq)]
enum Entry<'a> {
    File(&'a str, u64),
    /// A folder, a link, a device.
    Other,
}

/// `-rw-r--r--          12345 2026/11/21 08:00:00 blobs/sha256/ab/HEX`; `None` for anything else. rsync writes
/// control characters of names as `\#012`.
fn parse_line(line: &[u8]) -> Option<Entry<'_>> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (mode, rest) = line.split_once(' ')?;
    let (size, rest) = rest.trim_start().split_once(' ')?;
    let (day, rest) = rest.split_once(' ')?;
    let (time, path) = rest.split_once(' ')?;
    let is_made_of = |text: &str, set: &str, length: usize| {
        text.len() == length && text.chars().all(|it| it.is_ascii_digit() || set.contains(it))
    };
    let is_line = (10..=11).contains(&mode.len()) && is_made_of(day, "/", 10) && is_made_of(time, ":", 8);
    let size = size.parse().ok().filter(|_| is_line && !path.is_empty())?;
    Some(if mode.starts_with('-') { Entry::File(path, size) } else { Entry::Other })
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener, sync::Arc};

    use super::*;
    use crate::connector::{Family, Guard, Meter};

    #[test]
    fn lines_are_read_strictly() {
        #[track_caller]
        fn check(line: &str, expected: Option<Entry>) {
            assert_eq!(parse_line(line.as_bytes()), expected, "{line}");
        }
        let file = Entry::File("blobs/sha256/ab/c", 12345);
        check("-rw-r--r--          12345 2026/11/21 08:00:00 blobs/sha256/ab/c\n", Some(file));
        check("-rw-r--r--+ 0 2026/11/21 08:00:00 a b\n", Some(Entry::File("a b", 0)));
        check("drwxr-xr-x 4096 2026/11/21 08:00:00 .\n", Some(Entry::Other));
        check("lrwxrwxrwx 1 2026/11/21 08:00:00 l -> x\n", Some(Entry::Other));
        check("-rw-r--r-- 12,345 2026/11/21 08:00:00 x\n", None);
        check("-rw-r--r-- 12K 2026/11/21 08:00:00 x\n", None);
        check("-rw-r--r-- -1 2026/11/21 08:00:00 x\n", None);
        check("-rw-r--r-- 1 yesterday! 08:00:00 x\n", None);
        check("-rw-r--r-- 1 2026/11/21 08:00:00\n", None);
        check("-rw-r--r-- 1 2026/11/21 08:00:00 cut", None);
        check("Welcome!\n", None);
        check("\n", None);
        assert_eq!(parse_line(b"-rw-r--r-- 1 2026/11/21 08:00:00 \xff\n"), None);
    }

    /// A real daemon; killed when it is dropped.
    struct Daemon {
        _program: tokio::process::Child,
        folder: tempfile::TempDir,
        port: u16,
    }

    impl Daemon {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let module = folder.path().join("module");
            fs::create_dir(&module).unwrap();
            let config = folder.path().join("rsyncd.conf");
            fs::write(&config, format!("use chroot = no\n[m]\npath = {}\n", module.display())).unwrap();
            let program = Command::new("rsync")
                .args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")])
                .arg(format!("--config={}", config.display()))
                .kill_on_drop(true)
                .spawn()
                .expect("rsync; run tests/setup.sh");
            let answers = async {
                while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(10), answers).await.expect("the daemon answers");
            Self { _program: program, folder, port }
        }

        async fn list(&self, path: &str) -> (Outcome, Vec<(String, u64)>, u64) {
            let meter = Arc::<Meter>::default();
            let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
            let connector = Connector::new(guard, Family::Ipv4, "test", Duration::from_secs(5))
                .unwrap()
                .counted_by(meter.clone());
            let url = format!("rsync://localhost:{}/{path}", self.port).parse().unwrap();
            let mut files = Vec::new();
            let outcome = connector.list_files(&url, |path, size| files.push((path.to_owned(), size))).await;
            files.sort();
            (outcome, files, meter.bytes())
        }
    }

    #[tokio::test]
    async fn a_daemon_is_listed() {
        let daemon = Daemon::start().await;
        let module = daemon.folder.path().join("module");
        fs::create_dir_all(module.join("blobs/sha256/ab")).unwrap();
        fs::write(module.join("blobs/sha256/ab/big"), vec![0; 123_456]).unwrap();
        fs::write(module.join("two\nlines"), "x").unwrap();
        let (outcome, files, bytes) = daemon.list("m").await;
        let expected = [("blobs/sha256/ab/big".to_owned(), 123_456), ("two\\#012lines".to_owned(), 1)];
        assert_eq!((outcome, files), (Outcome::Present(()), expected.to_vec()));
        assert!((1_100..4_000).contains(&bytes), "{bytes}");
        let (outcome, files, _) = daemon.list("m/blobs/sha256").await;
        assert_eq!((outcome, files), (Outcome::Present(()), vec![("ab/big".to_owned(), 123_456)]));
        let (outcome, files, _) = daemon.list("other").await;
        assert_eq!(files, []);
        let Outcome::Unreachable(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.starts_with("rsync: @ERROR: Unknown module"), "{reason}");
    }

    #[tokio::test]
    async fn private_addresses_are_not_listed() {
        let connector =
            Connector::new(Guard::default(), Family::Any, "test", Duration::from_secs(5)).unwrap();
        for url in ["rsync://127.0.0.1:8730/m", "rsync://localhost:8730/m"] {
            let outcome = connector.list_files(&url.parse().unwrap(), |_, _| panic!("it was asked")).await;
            let Outcome::Unreachable(reason) = outcome else { panic!("{outcome:?}") };
            assert!(reason.ends_with("is not a public one"), "{reason}");
        }
    }
}
