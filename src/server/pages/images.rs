use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::{Frame, PageError, Part, SharedState, page, parameter};

#[derive(Template)]
#[template(path = "images.html")]
struct Images {
    frame: Frame,
    part: Part<Row>,
    words: String,
}

struct Row {
    name: String,
    tags: usize,
}

/// `GET /images?q=`: all repositories.
pub(super) async fn answer(request: HttpRequest, state: SharedState) -> Result<HttpResponse, PageError> {
    let frame = Frame::new(&request, &state, "images", "Images")?;
    let words = parameter(&request, "q").unwrap_or_default();
    let current = state.current();
    let snapshot = &current.snapshot;
    let found =
        snapshot.content.list_repositories().iter().filter(|it| it.name.contains(&words.to_lowercase()));
    let rows = found.map(|it| Row { name: it.name.clone(), tags: snapshot.list_tags(it).count() }).collect();
    page(&request, &Images { frame, part: Part::cut(&request, rows), words })
}
