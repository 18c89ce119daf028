//! Named, timed steps, one after the other.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process;

/// The steps done so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration)>,
    /// What could not be done here, and why.
    notes: Vec<String>,
}

impl Steps {
    /// Runs `step` under `name`; an error names the step.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("==> {name}");
        let start = Instant::now();
        let outcome = step();
        self.done.push((name, start.elapsed()));
        outcome.with_context(|| format!("step `{name}`"))
    }

    /// Runs `command` under `name`.
    pub(crate) fn command(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        self.run(name, || process::run(command))
    }

    /// Runs `step` under `name`; that it lacks something is told, here and at the end, and is no failure.
    ///
    /// # Errors
    ///
    /// Every other error of the step, with its name.
    pub(crate) fn run_if_possible(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut missing = None;
        let outcome = self.run(name, || {
            step().or_else(|error| error.downcast::<process::Missing>().map(|lack| missing = Some(lack)))
        });
        if let Some(lack) = missing {
            let note = format!("NOT RUN: {name}: {lack}");
            println!("{note}");
            self.notes.push(note);
        }
        outcome
    }

    /// Runs the tests, then tells how long each step took, repeats the runner's closing lines as they were, and
    /// adds them up: the last binary's own line may well say that it holds no test.
    ///
    /// # Errors
    ///
    /// When the runner fails; the lines are told all the same.
    pub(crate) fn tests_last(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let mut closing = Vec::new();
        let outcome = self.run(name, || {
            let mut child = command.stdout(Stdio::piped()).spawn()?;
            let stdout = child.stdout.take().context("no stdout")?;
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                println!("{line}");
                if is_closing(&line) {
                    closing.push(line);
                }
            }
            let status = child.wait()?;
            if !status.success() {
                bail!("tests failed ({status})");
            }
            Ok(())
        });
        println!("==> times");
        for (name, took) in &self.done {
            println!("{:>8.1}s  {name}", took.as_secs_f64());
        }
        for note in &self.notes {
            println!("{note}");
        }
        println!("==> results");
        let mut all = Results::default();
        for line in closing {
            println!("{line}");
            all.add(&line);
        }
        println!("{} passed, {} failed, {} skipped", all.passed, all.failed, all.ignored);
        outcome
    }
}

fn is_closing(line: &str) -> bool {
    line.starts_with("test result:")
}

/// The runner's closing lines, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Results {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Results {
    fn add(&mut self, line: &str) {
        let count = |what: &str| {
            let words = line.split([' ', ';']).filter(|word| !word.is_empty()).collect::<Vec<_>>();
            let at = words.iter().position(|word| *word == what)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        self.passed += count("passed").unwrap_or(0);
        self.failed += count("failed").unwrap_or(0);
        self.ignored += count("ignored").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_is_named_and_timed() {
        let mut steps = Steps::default();
        let error = steps.run("fmt", || bail!("not formatted")).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `fmt`: not formatted");
        assert_eq!(steps.done.len(), 1);
    }

    #[test]
    fn what_lacks_something_is_noted_and_what_fails_fails() {
        let mut steps = Steps::default();
        steps.run_if_possible("judges", || Err(process::Missing(vec!["npm".to_owned()]).into())).unwrap();
        assert_eq!(steps.notes, ["NOT RUN: judges: missing: npm"]);
        steps.run_if_possible("judges", || bail!("a scenario failed")).unwrap_err();
        steps.run_if_possible("judges", || Ok(())).unwrap();
        assert_eq!(steps.notes.len(), 1);
    }

    #[test]
    fn results_are_added_up() {
        let mut all = Results::default();
        all.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        all.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(all, Results { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn only_the_runners_results_are_closing_lines() {
        assert!(is_closing("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"));
        assert!(!is_closing("test results_are_kept ... ok"));
    }
}
