//! `portolan export --plan`: what an edited configuration would change.

use std::{fmt::Write as _, process::ExitCode};

use indicatif::HumanBytes;
use jiff::Timestamp;

use super::{print_result, progress::Progress, table::count};
use crate::exporter::{CategoryPlan, Exporter, Files, Plan};

/// How many names a line shows; `--json` has all.
const SHOWN: usize = 20;

/// Fails when an image could not be exported, as the export itself would.
pub(super) async fn run(exporter: &Exporter, json: bool) -> anyhow::Result<ExitCode> {
    let plan = exporter.plan(Timestamp::now(), &Progress::on_standard_error()).await?;
    print_result(&plan, json, render)?;
    Ok(if plan.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for category in &plan.categories {
        render_category(&mut text, category);
    }
    let _ = writeln!(text, "to be fetched: {}; nothing was written", HumanBytes(plan.fetched_bytes));
    for category in &plan.unconfigured {
        let _ = writeln!(text, "not configured, stays as it is: {category}");
    }
    for fault in &plan.faults {
        let _ = writeln!(text, "not to be exported: {fault}");
    }
    for refusal in &plan.refused {
        let _ = writeln!(text, "not to be exported: {refusal}");
    }
    text
}

fn render_category(text: &mut String, plan: &CategoryPlan) {
    let names = |it: &[crate::oci::RepositoryName]| it.iter().map(ToString::to_string).collect::<Vec<_>>();
    let lists = [
        ("+ repositories", names(&plan.added_repositories)),
        ("- repositories", names(&plan.removed_repositories)),
        ("+ tags", plan.added_tags.clone()),
        ("> moved tags", plan.moved_tags.clone()),
        ("- tags", plan.removed_tags.clone()),
    ];
    let changes = lists.iter().any(|it| !it.1.is_empty());
    if !changes && plan.added == Files::default() && plan.removed == Files::default() {
        let _ = writeln!(text, "{}: nothing new", plan.name);
        return;
    }
    let _ = writeln!(text, "{}:", plan.name);
    for (what, names) in lists.iter().filter(|it| !it.1.is_empty()) {
        let _ = writeln!(text, "  {what} ({}): {}", names.len(), few(names));
    }
    for (sign, files) in [("+", plan.added), ("-", plan.removed)] {
        let (manifests, blobs) = (count(files.manifests, "manifest"), count(files.blobs, "blob"));
        let _ = writeln!(text, "  {sign} {manifests}, {blobs}, {}", HumanBytes(files.bytes));
    }
}

fn few(names: &[String]) -> String {
    let mut shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = format!("and {} more", names.len().saturating_sub(SHOWN));
    if names.len() > SHOWN {
        shown.push(&more);
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_readable() {
        let category = CategoryPlan {
            name: "fedora".parse().unwrap(),
            added_repositories: vec!["fedora/tools".parse().unwrap()],
            removed_repositories: Vec::new(),
            added_tags: (0..22).map(|it| format!("fedora/tools:{it}")).collect(),
            moved_tags: vec!["fedora:latest".to_owned()],
            removed_tags: Vec::new(),
            added: Files { manifests: 3, blobs: 1, bytes: 2048 },
            removed: Files::default(),
        };
        let nothing = CategoryPlan {
            name: "all".parse().unwrap(),
            added_repositories: Vec::new(),
            added_tags: Vec::new(),
            moved_tags: Vec::new(),
            added: Files::default(),
            ..category.clone()
        };
        let plan = Plan { categories: vec![category, nothing], fetched_bytes: 2048, ..Plan::default() };
        insta::assert_snapshot!(render(&plan), @r"
        fedora:
          + repositories (1): fedora/tools
          + tags (22): fedora/tools:0, fedora/tools:1, fedora/tools:2, fedora/tools:3, fedora/tools:4, fedora/tools:5, fedora/tools:6, fedora/tools:7, fedora/tools:8, fedora/tools:9, fedora/tools:10, fedora/tools:11, fedora/tools:12, fedora/tools:13, fedora/tools:14, fedora/tools:15, fedora/tools:16, fedora/tools:17, fedora/tools:18, fedora/tools:19, and 2 more
          > moved tags (1): fedora:latest
          + 3 manifests, 1 blob, 2.00 KiB
          - 0 manifests, 0 blobs, 0 B
        all: nothing new
        to be fetched: 2.00 KiB; nothing was written
        ");
    }
}
