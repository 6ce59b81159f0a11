//! What the pieces of a large blob cost in its metalink. Run by `make bench-export`.

use std::fs::{self, File};
use std::time::Duration;

use serde_json::json;

use crate::rig::image::{self, OCI_CONFIG, OCI_MANIFEST};
use crate::rig::portolan::Serve;
use crate::rig::program::{command, finish, wait_for};
use crate::rig::world::{Engine, World};
use crate::rig::{cost, http, namespace, origin};

/// As many pieces as a blob may have.
const SIZE: u64 = 256 * 1024 * 1024;
const PIECES: usize = 256;

/// So many are asked for over one connection.
const REQUESTS: usize = 2_000;

/// The processor's seconds of the server for a metalink, and its bytes.
fn measure(serve: &Serve, url: &str) -> (f64, usize) {
    let ask = || {
        let mut curl = command("curl");
        // What is behind # is not sent.
        curl.args(["--silent", "--show-error", "--fail", "--output", "/dev/null"]);
        curl.arg(format!("{url}#[1-{REQUESTS}]"));
        finish(curl).expect_success();
    };
    let spent = || cost::processor(&serve.id().to_string()).0;
    ask();
    let before = spent();
    ask();
    ((spent() - before) / REQUESTS as f64, http::get(url, &[]).body.len())
}

#[test]
#[ignore = "measures; run by `make bench-export`"]
fn of_256_pieces_beside_none() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        let file = namespace.folder.join("sparse");
        File::create(&file).unwrap().set_len(SIZE).unwrap();
        let digest = world.origin.adopt("large", &file);
        image::push_blob(origin::URL, "large", b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": image::descriptor(OCI_CONFIG, b"{}"),
            "layers": [{"mediaType": "application/vnd.test.image", "digest": digest, "size": SIZE}],
        });
        let bytes = manifest.to_string().into_bytes();
        image::push_manifest(origin::URL, "large", "latest", OCI_MANIFEST, &bytes);
        world.portolan.done("export");
        fs::remove_dir_all(world.portolan.folder.join("tree/.portolan/pieces")).unwrap();
        world.portolan.done("scan");
        let serve = world.portolan.serve();
        let url =
            |version| format!("https://registry.test/metalink?repo=large&digest={digest}&version={version}");
        let pieces = || http::get(&url(4), &[]).text().matches("<hash>").count();
        assert_eq!(pieces(), 0);
        let without = [3, 4].map(|it| measure(&serve, &url(it)));
        world.publish();
        assert!(wait_for(Duration::from_secs(20), || pieces() == PIECES), "{} pieces", pieces());
        let with = [3, 4].map(|it| measure(&serve, &url(it)));
        for (version, (without, with)) in [3, 4].into_iter().zip(without.into_iter().zip(with)) {
            println!(
                "version {version}: {} bytes and {:.0} µs of the server without pieces, {} bytes and {:.0} µs with {PIECES}",
                without.1,
                without.0 * 1e6,
                with.1,
                with.0 * 1e6
            );
        }
        serve.stop();
    });
}
