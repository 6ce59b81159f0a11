//! `portolan demo`: a small world on loopback, made of the real parts, to look at and to pull from.

mod image;
mod mirrors;
mod pull;
mod report;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::Context;
use tokio::sync::oneshot;

use super::{print, seed, stopped};
use crate::{
    geoip,
    server::{self, Addresses, FallbackConfig, ListenConfig, Settings},
    tree::Tree,
};
use world::World;

/// Where the demo answers if nobody else does.
const PORT: u16 = 5000;

/// What the command line asks for.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Pull the image through ourselves, check every digest, say which mirror served which layer, and end
    #[arg(long)]
    pub(super) once: bool,
}

/// Makes the world, serves it, and takes it away at the end: at Ctrl-C, or after the pull.
pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let world = tokio::select! {
        world = World::make() => world?,
        // Also then the folder goes.
        () = stopped()? => return Ok(()),
    };
    report::print_made(&world)?;
    let work = async |url: String| {
        report::print_ranking(&world).await?;
        if options.once {
            report::print_pulled(&pull::pull(&world, &url).await?)?;
        } else {
            report::print_lines_to_try(&url)?;
            stopped()?.await;
            print(&format!("\nstopping; {} goes too\n", world.folder().display()))?;
        }
        Ok(())
    };
    serve(&world, free_port(), work).await
}

/// Serves the world while `work` runs, which gets our URL.
async fn serve<T>(
    world: &World,
    port: u16,
    work: impl AsyncFnOnce(String) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (started, start) = oneshot::channel();
    let (stop, ended) = oneshot::channel::<()>();
    let tell = |addresses: &Addresses| {
        let _ = started.send(addresses.listening.concat());
    };
    let end = async {
        let _ = ended.await;
    };
    let serving = server::serve(settings(world, port), Arc::clone(world.database()), tell, end);
    let working = async {
        // Dropped at the end, which stops the server.
        let _stop = stop;
        work(start.await.context("the server did not start")?).await
    };
    let (served, worked) = tokio::join!(serving, working);
    served.context("serving the demo")?;
    worked
}

/// The port to listen on; 0 is one that the system chooses.
fn free_port() -> u16 {
    let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_ok();
    if is_free { PORT } else { 0 }
}

fn settings(world: &World, port: u16) -> Settings {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Settings {
        serve: server::Config {
            state: world.folder().join("state"),
            management: loopback(0),
            ..server::Config::default()
        },
        listen: vec![ListenConfig { address: loopback(port), certificate: None, key: None }],
        accounts: server::AccountsConfig::default(),
        endpoints: Vec::new(),
        fallback: FallbackConfig::default(),
        geoip: geoip::Config::default(),
        tree: Tree::open(world.tree()),
        origin: None,
        publish: Default::default(),
        statistics: Default::default(),
        seen: Default::default(),
        seed: seed(),
    }
}

#[cfg(test)]
mod tests {
    use super::{pull::Pulled, *};

    /// Who sends the layers, lowest first, of every architecture; shared ones once.
    fn layers(pulled: &[Pulled]) -> Vec<&str> {
        pulled.iter().filter(|it| it.what == "layer").map(|it| it.sender.as_str()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn near_mirrors_serve_what_they_have_and_no_other() {
        let world = World::make().await.unwrap();
        let folder = world.folder().to_owned();
        let states: Vec<_> = world.crawled().iter().map(|it| it.state.to_string()).collect();
        assert_eq!(states, ["up-to-date", "behind", "lying"]);
        let (old, new) = report::rankings(world.database()).unwrap();
        assert!(old.contains("    demo is lying: "), "{old}");
        assert!(!old.contains("demo is behind") && new.contains("    demo is behind: "), "{old}\n{new}");
        let pulled = serve(&world, 0, async |url| pull::pull(&world, &url).await).await.unwrap();
        assert_eq!(layers(&pulled), ["stale", "stale", "fresh", "fresh"]);
        assert!(pulled.iter().filter(|it| it.what == "config").all(|it| it.sender == pull::OURSELVES));
        drop(world);
        assert!(!folder.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_prints_and_ends() {
        run(Options { once: true }).await.unwrap();
    }
}
