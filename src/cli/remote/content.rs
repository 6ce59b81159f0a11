//! `portolan content --server`: for operators.

use serde_json::json;

use super::{Remote, only_there};
use crate::{
    cli::{
        content::{Command, View, tell_all, tell_withdrawn},
        table::Answer,
    },
    connector::Verb,
};

pub(in crate::cli) async fn answer(command: Command, server: &Remote) -> anyhow::Result<Answer> {
    match command {
        Command::List => tell_all(&server.list::<View>("/withdrawals").await?),
        Command::Withdraw { digest, reason, legal } => {
            let withdrawal = json!({ "digest": digest, "reason": reason, "legal": legal });
            server.change(Verb::Post, "/withdrawals", withdrawal).await?;
            let all: Vec<View> = server.list("/withdrawals").await?;
            tell_withdrawn(&digest, all.iter().any(|it| it.digest == digest && it.known))
        }
        Command::Restore { digest } => {
            server.delete(&format!("/withdrawals/{digest}")).await?;
            Ok(Answer::message(&format!("{digest} is answered again, as far as it is there"))?)
        }
        Command::Alias { .. } | Command::Unalias { .. } | Command::Aliases => {
            Err(only_there("former names of repositories are kept"))
        }
        Command::Publish { .. } => Err(only_there("a tag is published at once")),
    }
}
