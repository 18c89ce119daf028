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

    /// Runs the tests, then tells how long each step took and repeats the runner's closing lines as they were.
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
        println!("==> results");
        for line in closing {
            println!("{line}");
        }
        outcome
    }
}

fn is_closing(line: &str) -> bool {
    line.starts_with("test result:")
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
    fn only_the_runners_results_are_closing_lines() {
        assert!(is_closing("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"));
        assert!(!is_closing("test results_are_kept ... ok"));
    }
}
