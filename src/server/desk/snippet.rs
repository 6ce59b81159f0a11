//! What a mirror's admin copies into the configuration of the web server, filled in for what the host carries.

use url::Url;

use super::{Desk, Page, Refusal, block::Block};
use crate::{
    database::{host::Host, host_category},
    mirror::blob_path,
    tree::CANARY_DIGEST,
};

/// Where Debian's web servers have their files.
const ROOT: &str = "/var/www/html";

/// How nginx and Apache httpd send the files as they are, and how one sees that they do. The words that explain it are in
/// `docs/mirror-admins.md`.
pub(super) fn show(desk: &mut Desk<'_>, host: &Host, page: &mut Page) -> Result<(), Refusal> {
    let mut urls = Vec::new();
    for (opt_in, _) in host_category::list(desk.connection, host.id)? {
        urls.extend(host_category::list_urls(desk.connection, opt_in.id)?.into_iter().map(|it| it.url));
    }
    let mut paths: Vec<String> = urls.iter().filter_map(|it| plain_path(it.as_str())).collect();
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return Ok(());
    }
    let each = |snippet: fn(&String) -> String| paths.iter().map(snippet).collect::<Vec<_>>().join("\n");
    let looks = urls.iter().map(|it| format!("curl -si {it}/{}", blob_path(&CANARY_DIGEST)));
    page.heading("Settings of your web server")
        .text(
            "Files are sent as they are: with Range, never compressed, no page instead of a 404. For nginx:",
        )
        .add(Block::Code(each(nginx)));
    page.text("For Apache httpd:").add(Block::Code(each(apache)));
    page.text("See for yourself: 200, Content-Length: 2, and no Content-Encoding.")
        .add(Block::Code(looks.collect::<Vec<_>>().join("\n")));
    Ok(())
}

/// The path of a URL, if it needs no quotes in a configuration.
fn plain_path(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let path = url.path().trim_end_matches('/');
    let is_plain = path.chars().all(|it| it.is_ascii_alphanumeric() || "/._~-".contains(it));
    is_plain.then(|| path.to_owned())
}

fn nginx(path: &String) -> String {
    format!(
        "location {path}/ {{\n    types {{ }}\n    default_type application/octet-stream;\n    gzip off;\n}}\n"
    )
}

fn apache(path: &String) -> String {
    format!(
        "<Directory \"{ROOT}{path}\">\n    ForceType application/octet-stream\n    SetEnv no-gzip 1\n    SetEnv no-brotli 1\n    \
         Options -MultiViews\n    Require all granted\n</Directory>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_no_quotes_is_filled_in() {
        assert_eq!(plain_path("https://m.example/pub/containers/").as_deref(), Some("/pub/containers"));
        assert_eq!(plain_path("https://m.example").as_deref(), Some(""));
        for url in ["https://m.example/a%20b", "https://m.example/a;b", "https://m.example/a{b", "x"] {
            assert_eq!(plain_path(url), None, "{url}");
        }
    }
}
