use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use super::Error;

/// What a file's name ends with that is compressed by zstd (RFC 8878).
const ENDING: &str = "zst";

/// What such a file begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// As zstd's own program compresses.
const LEVEL: i32 = 3;

/// Writes a file that only its owner may read, whole or not at all; compressed if its name ends with `.zst`. What was there stays
/// until all is written.
pub fn write_private<T, E: From<Error>>(
    path: &Path,
    work: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // It is made for its owner alone, and goes when it is dropped.
    let file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("writing into", folder))?;
    let failed = || Error::io("writing", path);
    let value = if path.extension().is_some_and(|it| it == ENDING) {
        let mut output = zstd::Encoder::new(file.as_file(), LEVEL).map_err(failed())?;
        let value = work(&mut output)?;
        output.finish().map_err(failed())?;
        value
    } else {
        let mut output = BufWriter::new(file.as_file());
        let value = work(&mut output)?;
        output.flush().map_err(failed())?;
        value
    };
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    File::open(folder).and_then(|it| it.sync_all()).map_err(Error::io("syncing", folder))?;
    Ok(value)
}

/// Reads a file, compressed or not, whatever its name.
pub fn read_packed(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    let failed = || Error::io("reading", path);
    let mut input = BufReader::new(File::open(path).map_err(failed())?);
    let is_packed = input.fill_buf().map_err(failed())?.starts_with(&MAGIC);
    if is_packed { unpack(input).map_err(failed()) } else { Ok(Box::new(input)) }
}

fn unpack(input: BufReader<File>) -> io::Result<Box<dyn BufRead>> {
    Ok(Box::new(BufReader::new(zstd::Decoder::with_buffer(input)?)))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
        write_private(path, |it| it.write_all(bytes).map_err(Error::io("writing", path)))
    }

    #[test]
    fn a_file_is_for_its_owner_and_packed_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = b"the same again and again, ".repeat(1_000);
        for (name, is_packed) in [("plain", false), ("packed.zst", true)] {
            let path = folder.path().join(name);
            fs::write(&path, "what was there").unwrap();
            write(&path, &bytes).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            assert_eq!(fs::read(&path).unwrap().len() < 1_000, is_packed, "{name}");
            let mut read = Vec::new();
            read_packed(&path).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{name}");
        }
    }

    #[test]
    fn what_fails_in_the_middle_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dump");
        write(&path, b"good").unwrap();
        let outcome: Result<(), Error> = write_private(&path, |it| {
            it.write_all(b"half").unwrap();
            Err(Error::Held(path.clone()))
        });
        assert!(outcome.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
