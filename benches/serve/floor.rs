//! The floor: what the HTTP server itself costs. The same actix-web, one worker, and nothing to decide.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header, web};

/// Headers of an answer as long as ours; the bare server writes them, too.
const LOCATION: &str = "https://mirror.example.org/containers/blobs/sha256/0b/0bd7f9a5c3e64f8b2f8f7cbb8de4c1f6fe1c8b4ba0f9f1a4e1c3d9a1b2c3d4e5";

/// Serves until it is killed; prints its URL.
pub(crate) fn run() {
    let server = HttpServer::new(|| {
        App::new()
            .route("/fixed/{length}", web::get().to(fixed))
            .route("/v2/", web::get().to(ping))
            .default_service(web::to(redirect))
    });
    let server = server.workers(1).bind(("127.0.0.1", 0)).expect("a free port");
    println!("listening on http://{}", server.addrs()[0]);
    actix_web::rt::System::new().block_on(server.run()).expect("the floor serves");
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
