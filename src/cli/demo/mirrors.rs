use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{
    database::{Time, host::NewHost},
    mirror::{Country, HostKind, HostName, HostUrl, SiteId, blob_path},
    oci::Digest,
    server::{StandIn, StandInAnswer},
};

/// A mirror of the demo: a folder and the server in front of it.
pub(super) struct Mirror {
    /// As it stands in the database.
    pub(super) name: HostName,
    /// Where it is said to stand.
    pub(super) country: Country,
    /// Of the category's folder.
    pub(super) url: HostUrl,
    _server: StandIn,
}

impl Mirror {
    /// Serves `folder`, which holds the category's files.
    pub(super) fn start(name: &str, country: &str, folder: PathBuf) -> anyhow::Result<Self> {
        let server = StandIn::start(move |path| read(&folder, path))?;
        Ok(Self {
            name: name.parse()?,
            country: country.parse()?,
            url: server.url().parse()?,
            _server: server,
        })
    }

    /// Its row.
    pub(super) fn host(&self, site_id: SiteId, created_at: Time) -> NewHost {
        NewHost {
            site_id,
            name: self.name.clone(),
            country: Some(self.country),
            latitude: None,
            longitude: None,
            asn: None,
            asn_clients: false,
            bandwidth: None,
            private: false,
            contacts: String::new(),
            kind: HostKind::Static,
            client_share: None,
            daily_bytes: None,
            max_file_size: None,
            comment: String::new(),
            created_at,
        }
    }
}

fn read(folder: &Path, path: &str) -> Option<StandInAnswer> {
    let path = Path::new(path.trim_start_matches('/'));
    let stays_inside = path.components().all(|it| matches!(it, Component::Normal(_)));
    let bytes = stays_inside.then(|| fs::read(folder.join(path)).ok()).flatten()?;
    Some(StandInAnswer { content_type: "application/octet-stream", bytes })
}

/// What a mirror's rsync does.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What a dying disk does: the file keeps its size and time, and one byte of it is another.
pub(super) fn flip_a_byte(folder: &Path, digest: &Digest) -> io::Result<()> {
    let path = folder.join(blob_path(digest));
    let mut bytes = fs::read(&path)?;
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    fs::write(path, bytes)
}
