//! An OCI image layout on disk (image specification, "Image Layout"), and what is under way to it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::oci::{Digest, MediaType, Platform};

/// Where unfinished blobs are, in the layout's folder. It goes when all are finished.
const UNDER_WAY: &str = ".portolan";

/// How images are named in `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The longest `index.json` that is read, in bytes.
const INDEX_LIMIT: u64 = 16 * 1024 * 1024;

/// Why the layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another pull into the same folder runs.
    #[error("{}: another pull writes there; wait for it", .0.display())]
    Busy(PathBuf),
    /// The folder holds something else.
    #[error("{}: {reason}; name an empty folder or an OCI image layout", path.display())]
    Foreign {
        /// The folder, or its `index.json`.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> LayoutError {
    move |source| LayoutError::Disk { path: path.to_owned(), source }
}

/// A layout that this process alone writes to.
pub(super) struct Layout {
    folder: PathBuf,
    /// The folder itself, locked as long as the layout is open; the kernel ends that with the process.
    _lock: File,
}

/// An image for `index.json`.
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    /// Its name in the layout.
    pub(super) name: Option<String>,
}

impl Layout {
    /// Opens the layout in `folder`, or makes one there.
    pub(super) fn open(folder: &Path) -> Result<Self, LayoutError> {
        let marker = folder.join("oci-layout");
        if !marker.exists() {
            check_unused(folder)?;
        }
        let under_way = folder.join(UNDER_WAY);
        for path in [&under_way, &folder.join("blobs").join("sha256")] {
            fs::create_dir_all(path).map_err(at(path))?;
        }
        let lock = File::open(folder).map_err(at(folder))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LayoutError::Busy(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(folder)(error)),
        }
        let layout = Self { folder: folder.to_owned(), _lock: lock };
        layout.read_index()?;
        if !marker.exists() {
            layout.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(layout)
    }

    /// Is the blob there? It was verified before it got its name.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.path(digest)).is_ok_and(|it| it.is_file() && it.len() == size)
    }

    /// A whole file, for manifests.
    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
        let path = self.path(digest);
        fs::read(&path).map_err(at(&path))
    }

    /// Opens the file that a blob is written to, with what an earlier pull left in it.
    pub(super) fn start(&self, digest: Digest) -> Result<Part, LayoutError> {
        let path = self.folder.join(UNDER_WAY).join(format!("{}.part", digest.hex()));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        Ok(Part { file: file.map_err(at(&path))?, path, goal: self.path(&digest) })
    }

    /// Puts an image into `index.json`, in the place of one with the same name, or of itself.
    pub(super) fn add(&self, entry: &Entry) -> Result<(), LayoutError> {
        let mut index = self.read_index()?;
        let digest = entry.digest.to_string();
        let mut new = json!({"mediaType": entry.media_type.as_str(), "digest": digest, "size": entry.size});
        if let Some(platform) = &entry.platform {
            new["platform"] = json!(platform);
        }
        if let Some(name) = &entry.name {
            new["annotations"] = json!({REF_NAME: name});
        }
        let path = self.folder.join("index.json");
        let foreign =
            || LayoutError::Foreign { path: path.clone(), reason: "it has no list of manifests".to_owned() };
        let manifests = index["manifests"].as_array_mut().ok_or_else(foreign)?;
        let name_of = |it: &Value| it["annotations"][REF_NAME].as_str().map(str::to_owned);
        manifests.retain(|it| match (&entry.name, name_of(it)) {
            (Some(name), Some(other)) => *name != other,
            (None, None) => it["digest"] != new["digest"],
            _ => true,
        });
        manifests.push(new);
        self.replace(&path, index.to_string().as_bytes())
    }

    /// Removes the folder of unfinished blobs, if there are none.
    pub(super) fn tidy(&self) {
        let _ = fs::remove_dir(self.folder.join(UNDER_WAY));
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    fn read_index(&self) -> Result<Value, LayoutError> {
        let path = self.folder.join("index.json");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(
                    json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": []}),
                );
            }
            Err(error) => return Err(at(&path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(INDEX_LIMIT).read_to_end(&mut bytes).map_err(at(&path))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| LayoutError::Foreign { path, reason: error.to_string() })
    }

    /// Writes a whole file: the old one, or the new one, is there at any time.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.join(UNDER_WAY)).map_err(at(path))?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(at(path))?;
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(at(path))?;
        file.persist(path).map_err(|error| at(path)(error.error))?;
        Ok(())
    }
}

/// A folder with somebody's other files was surely not meant.
fn check_unused(folder: &Path) -> Result<(), LayoutError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(folder))?,
    };
    for entry in entries {
        let name = entry.map_err(at(folder))?.file_name();
        if name != UNDER_WAY && name != "blobs" {
            let reason = format!("it has {} in it", Path::new(&name).display());
            return Err(LayoutError::Foreign { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

/// A blob under way. What is in it stays when the process ends, however it ends.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    goal: PathBuf,
}

impl Part {
    /// How far an earlier pull has come, in bytes. There may be holes.
    pub(super) fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|it| it.len())
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Gives the blob, which is verified, its name.
    pub(super) fn finish(&self, size: u64) -> Result<(), LayoutError> {
        // An earlier pull of something that had another size by another metalink.
        self.file.set_len(size).map_err(at(&self.path))?;
        self.file.sync_all().map_err(at(&self.path))?;
        fs::rename(&self.path, &self.goal).map_err(at(&self.goal))
    }
}
