use std::ops::Deref;

use reqwest::Response;

use super::{Error, transport::broken};

/// A blob on its way. Nothing is verified yet.
pub struct BlobBody {
    pub(super) response: Response,
    /// What was asked for.
    pub(super) url: String,
    pub(super) offset: u64,
}

impl BlobBody {
    /// Where in the blob the body begins: what was asked for, or 0 if the registry cannot resume.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Who sends it: the URL at the end of all redirects.
    pub fn sender(&self) -> &str {
        self.response.url().as_str()
    }

    /// The next bytes; `None` at the end, which may come early.
    pub async fn chunk(&mut self) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Error> {
        self.response.chunk().await.map_err(|error| broken(&self.url, &error))
    }
}
