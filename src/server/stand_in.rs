use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{
        Method,
        header::{CONTENT_TYPE, HeaderValue, RANGE},
    },
    web,
};

use super::{
    blob_body::{self, Source},
    range::Ranges,
};

/// What a stand-in has at a path.
#[derive(Clone, Debug)]
pub struct StandInAnswer {
    /// Sent as Content-Type.
    pub content_type: &'static str,
    /// The whole body; of a Range request the part that was asked for is sent.
    pub bytes: Vec<u8>,
}

/// A read-only web server on a free port of 127.0.0.1: what the origin and the mirrors of
/// `portolan demo` are made of. Stops when dropped.
pub struct StandIn {
    address: SocketAddr,
    handle: ServerHandle,
}

impl StandIn {
    /// Answers GET and HEAD with what `respond` has at a path (`/v2/`, say), 404 where it has nothing, and
    /// 405 to all else. Must be called inside a tokio runtime.
    pub fn start(
        respond: impl Fn(&str) -> Option<StandInAnswer> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let app = move || {
            let respond = respond.clone();
            let answer = move |request: HttpRequest| {
                let response = answer(&request, &respond);
                async move { response }
            };
            App::new().default_service(web::to(answer))
        };
        let server =
            HttpServer::new(app).workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, handle })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // The order to stop is given at once; nobody waits for its end.
        drop(self.handle.stop(false));
    }
}

fn answer(request: &HttpRequest, respond: &impl Fn(&str) -> Option<StandInAnswer>) -> HttpResponse {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let Some(found) = respond(request.path()) else { return HttpResponse::NotFound().finish() };
    let range = request.headers().get(RANGE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let length = found.bytes.len() as u64;
    let source = Source::Memory(found.bytes.into());
    let mut response = blob_body::respond(request.method(), source, length, &Ranges::parse(range));
    let content_type = response.headers().get(CONTENT_TYPE);
    if !content_type.is_some_and(|it| it.as_bytes().starts_with(b"multipart/")) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(found.content_type));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Connector, Family, Guard, Outcome};

    #[tokio::test(flavor = "multi_thread")]
    async fn it_answers_as_a_mirror_does_until_it_is_dropped() {
        let respond = |path: &str| {
            let found = StandInAnswer { content_type: "text/plain", bytes: b"0123456789".to_vec() };
            (path == "/there").then_some(found)
        };
        let stand_in = StandIn::start(respond).unwrap();
        let base = stand_in.url().parse().unwrap();
        let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
        let timeout = std::time::Duration::from_secs(10);
        let connector = Connector::new(guard, Family::Ipv4, "test", timeout).unwrap();
        assert_eq!(connector.head(&base, "there", 10).await, Outcome::Present(()));
        assert_eq!(connector.head(&base, "gone", 10).await, Outcome::Absent);
        assert_eq!(connector.fetch(&base, "there", 10).await, Outcome::Present(b"0123456789".to_vec()));
        let part = connector.fetch_range(&base, "there", 2..5, 10).await;
        assert_eq!(part, Outcome::Present(b"234".to_vec()));
        drop(stand_in);
        let stopped = async {
            while !matches!(connector.head(&base, "there", 10).await, Outcome::Unreachable(_)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(timeout, stopped).await.expect("it stops");
    }
}
