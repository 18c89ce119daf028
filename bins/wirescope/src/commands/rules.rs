//! `rules`: files of rules, listed, checked, tried and edited.

mod edit;
mod test;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use proxy_core::rules::{Action, Rules};
use serde_json::{Value, json};

use crate::{
    failure::one_line,
    json,
    output::{Out, note},
    place::Place,
    text,
};

/// Works with files of rules: what changes, mocks and breaks traffic (docs/rules.md).
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    List(List),
    Check(Check),
    Test(test::Arguments),
    Edit(edit::Arguments),
}

/// Lists the rules of a file in the order they run.
#[derive(Args)]
struct List {
    /// The file, .toml or .json.
    file: PathBuf,
    /// Print one JSON object to the line.
    #[arg(long)]
    json: bool,
}

/// Checks files of rules; says where the first problem of each is.
#[derive(Args)]
struct Check {
    /// The files, .toml or .json.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    match &arguments.command {
        Command::List(list) => run_list(list),
        Command::Check(check) => run_check(check),
        Command::Test(arguments) => test::run(arguments, place),
        Command::Edit(arguments) => edit::run(arguments),
    }
}

/// The rules of a file.
fn load(file: &PathBuf) -> Result<Rules> {
    let rules = Rules::new();
    rules.load(file)?;
    Ok(rules)
}

fn run_list(list: &List) -> Result<()> {
    let rules = load(&list.file)?;
    let mut out = Out::new();
    for active in rules.list() {
        let rule = active.rule();
        if list.json {
            let object: Value = serde_json::from_str(&rule.to_json()).context("print a rule")?;
            out.line(json::line(&object))?;
            continue;
        }
        let actions: Vec<_> = rule.then.iter().map(Action::name).collect();
        let state = if rule.enabled { "" } else { "  (disabled)" };
        let stop = if rule.stop { ", stop" } else { "" };
        out.line(format_args!(
            "{:<12}  {:>5}  {}{stop}  {}{state}",
            active.id(),
            rule.priority,
            if actions.is_empty() { "(counts only)".to_owned() } else { actions.join(", ") },
            text::harmless(&rule.name),
        ))?;
    }
    out.flush()
}

fn run_check(check: &Check) -> Result<()> {
    let mut out = Out::new();
    let mut bad = 0_u64;
    for file in &check.files {
        match load(file) {
            Ok(rules) => {
                let count = u64::try_from(rules.list().len()).unwrap_or(u64::MAX);
                out.line(format_args!("{}: {}, all right", file.display(), text::count(count, "rule")))?;
            }
            Err(error) => {
                bad += 1;
                note(one_line(&error));
            }
        }
    }
    out.flush()?;
    if bad > 0 {
        anyhow::bail!("check {} (see above)", text::count(bad, "file"));
    }
    Ok(())
}

/// An explanation as an object.
fn explained(explanation: &proxy_core::rules::Explanation) -> Value {
    use proxy_core::rules::{Holds, Matched, Phase};
    let rules: Vec<_> = explanation
        .rules
        .iter()
        .map(|rule| {
            let checks: Vec<_> = rule
                .checks
                .iter()
                .map(|check| {
                    let holds = match check.holds {
                        Holds::Yes => "yes",
                        Holds::No => "no",
                        _ => "unknown",
                    };
                    json!({"part": check.part, "holds": holds, "expected": check.expected, "actual": check.actual})
                })
                .collect();
            let matched = match rule.matched {
                Matched::Yes => "yes",
                Matched::No => "no",
                Matched::Perhaps => "perhaps",
                _ => "unknown",
            };
            json!({
                "id": rule.id, "name": rule.name, "priority": rule.priority, "enabled": rule.enabled,
                "matched": matched, "applies": rule.applies, "checks": checks,
            })
        })
        .collect();
    let actions: Vec<_> = explanation
        .actions
        .iter()
        .map(|step| {
            let phase = if step.phase == Phase::Request { "request" } else { "response" };
            json!({"rule": step.rule, "action": step.action, "phase": phase})
        })
        .collect();
    json!({"rules": rules, "actions": actions})
}
