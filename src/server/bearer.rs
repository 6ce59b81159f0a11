use actix_web::{HttpRequest, http::header};

/// The token of a request with `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
pub(super) fn token(request: &HttpRequest) -> Option<&str> {
    let (scheme, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
