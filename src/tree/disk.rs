use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use super::Error;

/// Files are readable for all, whatever the umask: rsync and web servers run as other users.
pub(super) const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Opens a file; `None` if there is none. What is no regular file is refused before it is opened, for a
/// pipe would keep us waiting and a device has no end.
pub(super) fn open_file(path: &Path) -> Result<Option<File>, Error> {
    let open = || {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file; remove it and run `portolan export` again"));
        }
        File::open(path)
    };
    match open() {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::at(path)(error)),
    }
}

/// A whole file; `None` if there is none. Longer than `limit` bytes is an error.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let too_long = || Error::at(path)(io::Error::other(format!("it is longer than {limit} bytes")));
    let Some(file) = open_file(path)? else { return Ok(None) };
    if file.metadata().map_err(Error::at(path))?.len() > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::at(path))?;
    if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(Some(bytes)) }
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().expect("every path of the layout is in a folder")
}

pub(super) fn create_file(path: &Path) -> Result<File, Error> {
    let create = || {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        Ok(file)
    };
    create().map_err(Error::at(path))
}

/// Makes a folder and those above it; what is there already is left as it is.
pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.map_or(Ok(()), create_folder)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created.map_err(Error::at(path))?,
    }
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(Error::at(path))?;
    parent.map_or(Ok(()), sync_folder)
}

pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|it| it.sync_all()).map_err(Error::at(path))
}

/// Calls `visit` with path and name of each file of a `sha256` folder.
pub(super) fn for_each_file(
    path: &Path,
    mut visit: impl FnMut(&Path, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    if !path.is_dir() {
        return Ok(());
    }
    for folder in fs::read_dir(path).map_err(Error::at(path))? {
        let folder = folder.map_err(Error::at(path))?.path();
        for file in fs::read_dir(&folder).map_err(Error::at(&folder))? {
            let file = file.map_err(Error::at(&folder))?;
            visit(&file.path(), &file.file_name().to_string_lossy())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        File::create(&path).unwrap().set_len(1 << 40).unwrap(); // too much for any memory
        let error = read_file(&path, 1 << 42 >> 3).unwrap_err().to_string();
        assert!(error.contains("longer than 549755813888 bytes"), "{error}");
        File::create(&path).unwrap().set_len(5).unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), Some(vec![0; 5]));
        assert_eq!(read_file(&folder.path().join("none"), 5).unwrap(), None);
    }
}
