use std::path::Path;

use super::config::read_limited;

/// The longest file of authorities that is read, in bytes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// The certificate authorities in a PEM file, at least one. An error says what is wrong with the file.
pub(super) fn read_authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let pem = read_limited(path, FILE_LIMIT).map_err(|error| error.to_string())?;
    let authorities = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|it| !it.is_empty());
    authorities.ok_or_else(|| "it holds no certificate in PEM form".to_owned())
}
