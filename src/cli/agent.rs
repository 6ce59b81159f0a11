//! `portolan agent`, and what engines must be told of it.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::{Subcommand, ValueEnum};

use super::{print, stopped};
use crate::{
    config::Config,
    puller::agent::{
        self, Authority,
        setup::{self, Engine, SetupFile},
    },
};

#[derive(clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print the configuration that makes a container engine ask the agent; or write it, or remove it
    Setup(SetupOptions),
}

#[derive(clap::Args)]
struct SetupOptions {
    /// Which engine; `podman` is also for buildah, skopeo and CRI-O
    engine: EngineName,
    /// Write the files, instead of printing them
    #[arg(long, conflicts_with = "undo")]
    write: bool,
    /// Remove the files that were written
    #[arg(long)]
    undo: bool,
    /// The folder that the files are written below, of a machine that does not run
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    root: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum EngineName {
    Docker,
    Containerd,
    Podman,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Docker => Self::Docker,
            EngineName::Containerd => Self::Containerd,
            EngineName::Podman => Self::Podman,
        }
    }
}

impl Options {
    /// Runs for long?
    pub(super) fn is_service(&self) -> bool {
        self.command.is_none()
    }
}

pub(super) async fn run(options: Options, config: &Config) -> anyhow::Result<ExitCode> {
    match options.command {
        Some(Command::Setup(options)) => set_up(&options, config)?,
        None => {
            let started = |it: &agent::AgentAddresses| {
                let _ = print(&format!("listening on {}\nproxy on {}\n", it.listening, it.proxy));
            };
            agent::serve(&config.agent, &config.client, started, stopped()?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn set_up(options: &SetupOptions, config: &Config) -> anyhow::Result<()> {
    let (agent, engine) = (&config.agent, options.engine.into());
    let list = |paths: Vec<PathBuf>| -> String {
        paths.iter().map(|it| format!("removed {}\n", it.display())).collect()
    };
    if options.undo {
        let removed = setup::undo(&options.root, engine).context("removing the configuration")?;
        return print(&if removed.is_empty() {
            "there was nothing to remove\n".to_owned()
        } else {
            list(removed)
        });
    }
    ensure!(!agent.registries.is_empty(), "name the registries: `registries` in [agent]");
    let authority =
        (engine == Engine::Docker).then(|| Authority::open(&agent.state, &agent.registries)).transpose()?;
    let strict = !config.client.signed_by.is_empty();
    let files = setup::list_files(engine, agent, strict, authority.as_ref().map(Authority::certificate));
    let mut text: String = if options.write {
        let removed = setup::write(&options.root, engine, &agent.registries, &files);
        let removed = list(removed.context("writing the configuration")?);
        files.iter().map(|it| format!("wrote {}\n", it.path.display())).chain([removed]).collect()
    } else {
        files.iter().map(render).collect()
    };
    let _ = writeln!(text, "{}", setup::advice(engine));
    print(&text)
}

fn render(file: &SetupFile) -> String {
    format!("--- {}\n{}\n", file.path.display(), file.text)
}
