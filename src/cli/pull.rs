//! `portolan pull`: see `--help` for its exit codes.

mod bars;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use indicatif::HumanBytes;
use tokio::signal::unix::{SignalKind, signal};

use super::{print_result, table::count};
use crate::{
    config::Config,
    puller::{Destination, ImageName, PullError, Puller, ServiceError, Summary, Wanted},
};
use bars::Bars;

/// There is no such image.
const NO_IMAGE: u8 = 3;

/// Nobody sends the right bytes.
const LOST: u8 = 4;

/// No key of `signed_by` has signed it.
const UNSIGNED: u8 = 5;

/// As shells call an end by SIGINT.
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(super) struct Options {
    /// registry.example.org/fedora:42, or with a digest
    image: ImageName,
    /// Where to put it: oci:FOLDER, or oci:FOLDER:NAME
    #[arg(long, value_name = "PLACE")]
    to: Destination,
    /// linux/arm64, linux/arm/v7 …, or `all`; without it this machine's
    #[arg(long)]
    platform: Option<Wanted>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let bars = Bars::on_standard_error();
    let pull = async {
        let puller = Puller::new(&options.image, &options.to.folder, &config.client, &bars).await?;
        puller.pull(&options.platform.clone().unwrap_or_default(), &options.to).await
    };
    let result = tokio::select! {
        result = pull => result,
        _ = interrupted.recv() => return Ok(interrupted_by_user()),
        _ = terminated.recv() => return Ok(interrupted_by_user()),
    };
    match result {
        Ok(summary) => print_result(&summary, options.json, render).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            let code = match &error {
                PullError::Service(ServiceError::Unknown(..)) | PullError::Platform { .. } => NO_IMAGE,
                PullError::Lost { .. } | PullError::Service(ServiceError::Signature(..)) => LOST,
                PullError::Service(ServiceError::Unsigned(..)) => UNSIGNED,
                _ => return Err(error.into()),
            };
            let _ = writeln!(io::stderr(), "portolan: {error}");
            Ok(ExitCode::from(code))
        }
    }
}

fn interrupted_by_user() -> ExitCode {
    let _ = writeln!(io::stderr(), "portolan: interrupted; the same command goes on from here");
    ExitCode::from(INTERRUPTED)
}

/// What came from where.
fn render(summary: &Summary) -> String {
    let files = count(summary.files.len(), "file");
    let mut text = format!("{} is {}: {files}\n", summary.image, summary.digest);
    if summary.there() > 0 {
        let _ = writeln!(text, "{} were there already", HumanBytes(summary.there()));
    }
    for (host, bytes) in summary.totals() {
        let _ = writeln!(text, "{} from {host}", HumanBytes(bytes));
    }
    for file in &summary.files {
        for (host, reason) in &file.troubles {
            let digest = file.transfer.digest.hex();
            let _ = writeln!(text, "{} {}: {host}: {reason}", file.transfer.kind, &digest[..12]);
        }
    }
    for digest in &summary.foreign {
        let _ = writeln!(text, "left out, for its owner forbids copies: {digest}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        oci::Digest,
        puller::{Pulled, Transfer},
    };

    #[test]
    fn the_summary_says_what_came_from_where() {
        let file = |kind, size, there, host: &str, troubles: &[(&str, &str)]| Pulled {
            transfer: Transfer { kind, digest: Digest::of(kind.as_bytes()), size },
            there,
            from: [(host.to_owned(), size - there)].into(),
            troubles: troubles
                .iter()
                .map(|it| (it.0.to_owned(), it.1.to_owned()))
                .collect::<BTreeMap<_, _>>(),
        };
        let summary = Summary {
            image: "r.test/a:1".to_owned(),
            digest: Digest::of(b""),
            files: vec![
                file("manifest", 1024, 0, "a.test", &[]),
                file("layer", 4096, 1024, "b.test", &[("a.test", "it sent nothing for 10 s")]),
            ],
            foreign: Vec::new(),
        };
        insta::assert_snapshot!(render(&summary), @r"
        r.test/a:1 is sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855: 2 files
        1.00 KiB were there already
        1.00 KiB from a.test
        3.00 KiB from b.test
        layer dac1d7cfa950: a.test: it sent nothing for 10 s
        ");
    }
}
