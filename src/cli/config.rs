use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{print, print_json};
use crate::config::{Config, DEFAULT_FILE};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print a whole configuration file, every key with its meaning and default
    Example,
    /// Judge a configuration file
    Check {
        /// The file; without it the one that all commands use
        file: Option<PathBuf>,
    },
    /// Print the shape of the file as JSON Schema, for editors
    Schema,
}

pub(super) fn run(command: &Command, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Example => print(&Config::example())?,
        Command::Schema => print_json(&Config::schema())?,
        Command::Check { file } => {
            let path = file.as_deref().or(named).unwrap_or(Path::new(DEFAULT_FILE));
            Config::load(Some(path), |name| std::env::var(name).ok())?;
            print(&format!("{} is understood\n", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
