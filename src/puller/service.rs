//! The registry that the user has named: it says by metalink, over TLS, what a file is and who has it.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use url::Url;

use super::{
    Config, FetchError,
    download::{Download, Source},
    piece::Plan,
    registry::RegistryName,
    trust::Trust,
};
use crate::{
    connector::{self, Connector, Guard, Outcome, Page},
    metalink::{self, DOCUMENT_LIMIT, Document, MEDIA_TYPE_V4},
    oci::{Digest, Reference, RepositoryName},
};

/// Not `portolan/…`: mirrors know the crawler by that, and clients are to be seen apart.
const USER_AGENT: &str = concat!("portolan-client/", env!("CARGO_PKG_VERSION"));

/// How long the registry and mirrors may take to begin an answer, and the registry for a whole metalink.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How often the registry is asked while it cannot be reached.
const TRIES: u32 = 3;

/// The first pause between two tries; it doubles.
const PAUSE: Duration = Duration::from_millis(300);

/// A host that has failed goes behind the others for so long.
const MEMORY: Duration = Duration::from_secs(60);

/// Of so many failed hosts, and blobs with wrong pieces, it is remembered; then the oldest is forgotten.
const MEMORY_LIMIT: usize = 1_000;

/// Why the registry does not say where a file is.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The files of the configuration, or the HTTP client.
    #[error(transparent)]
    Connector(#[from] connector::Error),
    /// There is no such image or blob.
    #[error("{0} has no {1}")]
    Unknown(RegistryName, String),
    /// It cannot be reached.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(RegistryName, String),
    /// It answers, but not with a metalink that we understand.
    #[error("{0} gives no metalink of {1}; is it a Portolan registry? {2}")]
    Answer(RegistryName, String, String),
    /// A file of `signed_by`.
    #[error("the key {} in [client]: {reason}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key of `signed_by` has signed it.
    #[error("{0} is refused, for no key of `signed_by` has signed it: {1}")]
    Unsigned(Digest, String),
    /// Whether it is signed cannot be found out.
    #[error("a signature of {0} does not come: {1}")]
    Signature(Digest, FetchError),
}

/// A file, what it must be, and who may have it.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) digest: Digest,
    pub(super) plan: Plan,
    /// Best first.
    pub(super) sources: Vec<Source>,
}

impl Located {
    pub(super) fn size(&self) -> u64 {
        self.plan.size()
    }

    pub(super) fn download(&self) -> Download {
        Download::new(self.plan.clone(), self.sources.clone())
    }

    /// How it is verified without pieces.
    pub(super) fn whole(&self) -> Plan {
        Plan::whole(self.size(), self.digest)
    }
}

/// One registry, and what was learnt of the mirrors it names.
pub(super) struct Service {
    registry: RegistryName,
    base: Url,
    pub(super) connector: Connector,
    pub(super) trust: Trust,
    /// Hosts that have failed, and when.
    failed: Mutex<HashMap<String, Instant>>,
    /// Blobs for which the registry has wrong hashes of pieces, the oldest first.
    wrong_pieces: Mutex<VecDeque<Digest>>,
}

impl Service {
    /// Reads the files that the configuration names; asks nobody yet.
    pub(super) fn new(registry: &RegistryName, config: &Config) -> Result<Self, ServiceError> {
        let base = registry.base();
        let guard = Guard::new(config.allow_networks.iter().copied());
        let connector = Connector::for_client(guard, &base, config.ca_file.as_deref(), USER_AGENT, TIMEOUT)?;
        let trust = Trust::load(&config.signed_by)?;
        let registry = registry.clone();
        Ok(Self {
            registry,
            base,
            connector,
            trust,
            failed: Mutex::default(),
            wrong_pieces: Mutex::default(),
        })
    }

    /// Where a manifest is, and what a tag means now.
    pub(super) async fn locate_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Located, ServiceError> {
        let path = format!("v2/{name}/manifests/{reference}");
        let expected = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(_) => None,
        };
        self.locate(&path, &format!("{name}:{reference}"), expected).await
    }

    /// Where a blob or manifest is.
    pub(super) async fn locate_blob(
        &self,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<Located, ServiceError> {
        let path = format!("metalink?repo={name}&digest={digest}&version=4");
        self.locate(&path, &format!("{name}@{digest}"), Some(digest)).await
    }

    /// A document of the registry's, of at most `limit` bytes.
    pub(super) async fn fetch_page(&self, path: &str, accept: &str, limit: usize) -> Outcome<Page> {
        let url = format!("{}{path}", self.base);
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.connector.fetch_page(&url, accept, limit).await {
                Outcome::Unreachable(_) | Outcome::NoRoute(_) => tokio::time::sleep(pause).await,
                answer => return answer,
            }
            pause *= 2;
        }
        self.connector.fetch_page(&url, accept, limit).await
    }

    async fn locate(
        &self,
        path: &str,
        what: &str,
        expected: Option<Digest>,
    ) -> Result<Located, ServiceError> {
        let wrong = |reason: String| ServiceError::Answer(self.registry.clone(), what.to_owned(), reason);
        let page = match self.fetch_page(path, MEDIA_TYPE_V4, DOCUMENT_LIMIT).await {
            Outcome::Present(page) => page,
            Outcome::Absent => return Err(ServiceError::Unknown(self.registry.clone(), what.to_owned())),
            Outcome::Damaged(reason) | Outcome::Broken(reason) | Outcome::Wrong(reason) => {
                return Err(wrong(reason));
            }
            Outcome::Unreachable(reason) | Outcome::NoRoute(reason) => {
                return Err(ServiceError::Unreachable(self.registry.clone(), reason));
            }
        };
        let document = metalink::read(&page.body).map_err(|error| wrong(error.to_string()))?;
        if expected.is_some_and(|it| it != document.digest()) {
            return Err(wrong(format!("it is of {}", document.digest())));
        }
        let sources = self.list_sources(&document);
        Ok(Located { digest: document.digest(), plan: self.plan(&document), sources })
    }

    /// How the file can be verified.
    fn plan(&self, document: &Document) -> Plan {
        let (size, digest) = (document.size(), document.digest());
        let wrong = self.wrong_pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = document.pieces().filter(|_| !wrong.contains(&digest));
        let plan = pieces.and_then(|it| Plan::pieces(size, it.length(), it.digests().collect()));
        plan.unwrap_or_else(|| Plan::whole(size, digest))
    }

    /// From now on verifies this blob only as a whole.
    pub(super) fn distrust_pieces(&self, digest: Digest) {
        let mut wrong = self.wrong_pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= MEMORY_LIMIT {
            wrong.pop_front();
        }
        wrong.push_back(digest);
    }

    /// In the document's order, but those that have failed lately go behind the others.
    fn list_sources(&self, document: &Document) -> Vec<Source> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| at.elapsed() < MEMORY);
        let source = |it: &metalink::Resource| {
            let url = it.url.as_str();
            let is_service = Url::parse(url).is_ok_and(|it| it.origin() == self.base.origin());
            // It is asked last, and shall not send us to a mirror again.
            let url = if is_service { format!("{url}?{}", metalink::LAST_RESORT) } else { url.to_owned() };
            Source { url, is_service }
        };
        let mut sources: Vec<Source> = document.resources().iter().map(source).collect();
        sources.sort_by_key(|it| failed.contains_key(it.host()));
        sources
    }

    /// Remembers who has failed.
    pub(super) fn learn(&self, download: &Download) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, _) in download.list_troubles().filter(|it| !it.0.is_service) {
            if failed.len() >= MEMORY_LIMIT {
                let oldest = failed.iter().max_by_key(|it| it.1.elapsed()).map(|it| it.0.clone());
                oldest.and_then(|it| failed.remove(&it));
            }
            failed.insert(source.host().to_owned(), Instant::now());
        }
    }
}

impl Config {
    /// Judges the files that it names. Asks nothing of the network.
    pub fn check(&self) -> Result<(), ServiceError> {
        let some = "localhost".parse().expect("it is a registry's name");
        Service::new(&some, self).map(drop)
    }
}
