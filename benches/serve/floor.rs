//! The floor: what the HTTP server itself costs. The same actix-web, one worker, and nothing to decide.

use std::{path::Path, sync::Arc};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header, web};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// Headers of an answer as long as ours; the bare server writes them, too.
const LOCATION: &str = "https://mirror.example.org/containers/blobs/sha256/0b/0bd7f9a5c3e64f8b2f8f7cbb8de4c1f6fe1c8b4ba0f9f1a4e1c3d9a1b2c3d4e5";

/// Serves until it is killed; prints its URL. With TLS when a folder with `tls.pem` and `tls.key` is named.
pub(crate) fn run(tls: Option<&Path>) {
    let server = HttpServer::new(|| {
        App::new()
            .route("/fixed/{length}", web::get().to(fixed))
            .route("/v2/", web::get().to(ping))
            .default_service(web::to(redirect))
    });
    let (server, address) = (server.workers(1), ("127.0.0.1", 0));
    let server = match tls {
        Some(folder) => server.bind_rustls_0_23(address, pair(folder)),
        None => server.bind(address),
    };
    let server = server.expect("a free port");
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{}", server.addrs()[0]);
    actix_web::rt::System::new().block_on(server.run()).expect("the floor serves");
}

fn pair(folder: &Path) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(folder.join("tls.pem")).expect("the certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).expect("the key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them");
    config.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair")
}

async fn ping() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body("{}")
}

async fn redirect() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, LOCATION)).finish()
}

/// As many bytes as the path says, made once.
async fn fixed(request: HttpRequest) -> HttpResponse {
    thread_local! {
        static BODY: web::Bytes = web::Bytes::from(vec![b'x'; 1 << 20]);
    }
    let length = request.match_info().query("length").parse().unwrap_or(0);
    HttpResponse::Ok().content_type("application/xml").body(BODY.with(|it| it.slice(..length)))
}
