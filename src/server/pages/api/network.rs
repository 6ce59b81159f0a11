use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{
        SharedState,
        which::{Offer, Other, find},
    },
    answer,
};
use crate::server::api::Problem;

/// Which mirrors the asker is sent to.
#[derive(Serialize, JsonSchema)]
pub(super) struct WhichView {
    /// For which image.
    image: String,
    /// As the asker counts: its network, and where GeoIP finds it.
    network: String,
    country: String,
    asn: String,
    /// What the name by which the asker came promises.
    promise: Option<String>,
    /// Best first.
    offers: Vec<Offer>,
    /// Mirrors that it is not sent to.
    others: Vec<Other>,
}

/// `GET /api/v1/which?image=NAME:TAG`
pub(super) async fn which(request: HttpRequest, state: SharedState) -> Result<HttpResponse, Problem> {
    answer(&request, async {
        let found = find(&request, &state).await?;
        if let Some(fault) = found.fault {
            return Err(Problem::new(actix_web::http::StatusCode::NOT_FOUND, fault));
        }
        Ok(WhichView {
            image: found.image,
            network: found.network,
            country: found.country,
            asn: found.asn,
            promise: found.promise,
            offers: found.offers,
            others: found.others,
        })
    })
    .await
}
