//! A volunteer's mirror: nginx serving a folder, knowing nothing of registries.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::Deserialize;

use super::ca::Identity;
use super::namespace::Namespace;
use super::program::{Program, command};

/// Asked for through a private socket, to know that all requests before it are in the log.
const MARK: &str = "/.mark";

/// A line of a mirror's access log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Request {
    pub(crate) agent: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) range: String,
}

impl Request {
    /// The digest of the blob or manifest that was asked for.
    pub(crate) fn digest(&self) -> Option<String> {
        let (_, rest) = self.path.split_once("/blobs/sha256/")?;
        Some(format!("sha256:{}", rest.rsplit('/').next()?))
    }

    /// How many bytes of a file of this size it asks for: one range, or all.
    pub(crate) fn bytes(&self, size: u64) -> u64 {
        let Some((first, last)) = self.range.strip_prefix("bytes=").and_then(|it| it.split_once('-')) else {
            return size;
        };
        let number = |it: &str| it.parse::<u64>().expect("a closed range");
        number(last) + 1 - number(first)
    }
}

/// Which door a mirror has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

pub(crate) struct Nginx {
    name: String,
    folder: PathBuf,
    listen: Vec<String>,
    identity: Option<Identity>,
    program: Option<Program>,
}

impl Nginx {
    /// Starts a mirror at every address of the host name `name`; its files are in [`Nginx::root`].
    pub(crate) fn start(namespace: &Namespace, name: &str, scheme: Scheme) -> Nginx {
        let folder = namespace.folder.join(name);
        fs::create_dir_all(folder.join("root")).expect("the mirror's folder");
        let identity = (scheme == Scheme::Https).then(|| namespace.authority.issue(&[name]));
        let listen = list_listen(name, scheme);
        let mut nginx = Nginx { name: name.to_owned(), folder, listen, identity, program: None };
        nginx.start_with("");
        nginx
    }

    /// The name by which it is asked.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The folder whose content is at `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Ends the mirror's process: connections to it are refused.
    pub(crate) fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop_by("QUIT");
        }
    }

    /// Starts it again after [`Nginx::stop`].
    pub(crate) fn start_again(&mut self) {
        self.start_with("");
    }

    /// From now on listens on its IPv4 addresses only.
    pub(crate) fn leave_ipv6(&mut self) {
        self.stop();
        self.listen.retain(|address| !address.starts_with('['));
        self.start_with("");
    }

    /// From now on answers this status for every blob.
    pub(crate) fn answer_blobs_with(&mut self, status: u16) {
        self.restart_with(&format!("location ~ /blobs/ {{ return {status}; }}"));
    }

    /// From now on has these directives, too.
    pub(crate) fn restart_with(&mut self, directives: &str) {
        self.stop();
        self.start_with(directives);
    }

    /// From now on shows this certificate.
    pub(crate) fn show(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.restart_with("");
    }

    /// Every request that was answered since the start or the last [`Nginx::forget_requests`].
    pub(crate) fn requests(&self) -> Vec<Request> {
        if self.program.is_some() {
            self.mark();
        }
        let log = fs::read_to_string(self.folder.join("access.log")).expect("nginx's access log");
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        log.lines().map(parse).filter(|request: &Request| request.path != MARK).collect()
    }

    /// The GET requests for blobs, which is what clients send.
    pub(crate) fn blob_requests(&self) -> Vec<Request> {
        let is_blob = |request: &Request| request.method == "GET" && request.digest().is_some();
        self.requests().into_iter().filter(is_blob).collect()
    }

    /// Empties the access log; nginx appends, so it goes on at the start.
    pub(crate) fn forget_requests(&self) {
        self.requests();
        fs::write(self.folder.join("access.log"), "").expect("nginx's access log");
    }

    fn start_with(&mut self, extra: &str) {
        let config = self.folder.join("nginx.conf");
        fs::write(&config, self.render_config(extra)).expect("nginx's configuration");
        let socket = self.socket();
        fs::remove_file(&socket).ok();
        let mut nginx = command("nginx");
        nginx.arg("-p").arg(&self.folder).arg("-e").arg(self.folder.join("error.log")).arg("-c").arg(config);
        let mut program = Program::start(&self.name, &self.folder, nginx);
        program.wait_until("private socket", || UnixStream::connect(&socket).is_ok());
        self.program = Some(program);
    }

    /// nginx runs one process here and logs a request before it takes the next one, so once this answer is in the
    /// log, everything that a client has seen the end of is too.
    fn mark(&self) {
        let mut stream = UnixStream::connect(self.socket()).expect("nginx's private socket");
        write!(stream, "GET {MARK} HTTP/1.0\r\n\r\n").expect("a request");
        stream.read_to_end(&mut Vec::new()).expect("an answer");
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("nginx.sock")
    }

    fn render_config(&self, extra: &str) -> String {
        let folder = self.folder.display();
        let listen: String = self.listen.iter().map(|address| format!("listen {address};\n")).collect();
        let tls = self.identity.as_ref().map(render_tls).unwrap_or_default();
        format!(
            r#"daemon off; master_process off; pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
  log_format line escape=json '{{"agent":"$http_user_agent","method":"$request_method",'
    '"path":"$uri","status":$status,"range":"$http_range"}}';
  access_log {folder}/access.log line;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  default_type application/octet-stream;
  sendfile on;
  server {{
    {listen} listen unix:{folder}/nginx.sock;
    {tls}
    root {folder}/root;
    {extra}
  }}
}}
"#
        )
    }
}

fn render_tls(identity: &Identity) -> String {
    let Identity { certificate, key } = identity;
    format!("ssl_certificate {}; ssl_certificate_key {};", certificate.display(), key.display())
}

fn list_listen(name: &str, scheme: Scheme) -> Vec<String> {
    let port = if scheme == Scheme::Https { "443 ssl" } else { "80" };
    let listen = |address: &&str| match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    };
    super::namespace::addresses(name).iter().map(listen).collect()
}
