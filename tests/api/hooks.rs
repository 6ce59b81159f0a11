//! Notifications of a registry, good and bad.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{Arc, Mutex},
};

use portolan::server::hooks::{Hooks, HooksConfig};
use reqwest::Method;

use crate::http::{Answer, Http};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A listener, and what it was told.
struct Listener {
    http: Http,
    told: Arc<Mutex<Vec<String>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    fn start() -> Self {
        let config = HooksConfig { listen: ([127, 0, 0, 1], 0).into(), token: TOKEN.to_owned().into() };
        let hooks = Hooks::bind(&config).unwrap().unwrap();
        let url = hooks.url().unwrap().strip_suffix("/events").unwrap().to_owned();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn({
            let told = told.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
                let changed = move |name: portolan::oci::RepositoryName| {
                    told.lock().unwrap().push(name.to_string());
                };
                let stop = async { stopped.await.unwrap_or(()) };
                runtime.block_on(hooks.serve(changed, stop)).unwrap();
            }
        });
        Self { http: Http::at(&url), told, stop: Some(stop), thread: Some(thread) }
    }

    fn post(&self, authorization: &str, body: &str) -> Answer {
        self.http.send_body(Method::POST, "/events", &[("authorization", authorization)], body)
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn push(repository: &str) -> String {
    format!(r#"{{"events":[{{"action":"push","target":{{"repository":"{repository}","tag":"1"}}}}]}}"#)
}

#[test]
fn only_who_has_the_token_is_heard() {
    let listener = Listener::start();
    assert_eq!(listener.post(&format!("Bearer {TOKEN}"), &push("app")).status, 202);
    assert_eq!(listener.post(&format!("bearer  {TOKEN} "), &push("b/c")).status, 202);
    assert_eq!(listener.told(), ["app", "b/c"]);
    let longer = format!("Bearer {TOKEN}0");
    for authorization in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdef", &longer, TOKEN, "Basic YTpi"] {
        let answer = listener.post(authorization, &push("app"));
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{authorization}");
        assert!(!answer.text().contains("0123456789"));
    }
    assert_eq!(listener.http.send_body(Method::POST, "/events", &[], &push("app")).status, 401);
    assert_eq!(listener.told(), [""; 0]);
}

#[test]
fn what_is_no_notification_is_refused_and_changes_nothing() {
    let listener = Listener::start();
    let bearer = format!("Bearer {TOKEN}");
    let post = |body: &str| listener.post(&bearer, body).status;
    let (deep, long) = ("[".repeat(500_000), push(&"a".repeat(1024 * 1024)));
    for body in ["", "null", "{}", "[]", "\u{0}\u{1}", r#"{"events":[{"action":1}]}"#, deep.as_str()] {
        assert_eq!(post(body), 400, "{:?}", body.get(..20));
    }
    assert_eq!(post(&long), 413);
    assert_eq!(post(&push("../../etc/passwd")), 202);
    assert_eq!(post(&push(&"a".repeat(300))), 202);
    assert_eq!(post(r#"{"events":[]}"#), 202);
    let get = listener.http.send(Method::GET, "/events", &[("authorization", &bearer)]);
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
    assert_eq!(listener.http.send(Method::GET, "/v2/", &[]).status, 404);
    // Who leaves in the middle leaves nothing behind.
    let mut socket = TcpStream::connect(listener.http.url.strip_prefix("http://").unwrap()).unwrap();
    let head =
        format!("POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: 99\r\n\r\n");
    socket.write_all(format!("{head}{}", &push("half")[..40]).as_bytes()).unwrap();
    drop(socket);
    assert_eq!(post(&push("whole")), 202);
    assert_eq!(listener.told(), ["whole"]);
}

#[test]
fn without_a_token_nothing_is_listened_on() {
    assert!(Hooks::bind(&HooksConfig::default()).unwrap().is_none());
}
