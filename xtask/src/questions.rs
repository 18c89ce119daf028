//! Ten questions about a generated session, and what answering them costs, written into docs/token-budget.md.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{process, repo::Repo};

/// The page, of which others write other parts.
const PAGE: &str = "docs/token-budget.md";
/// Between these is ours.
const BEGIN: &str = "<!-- questions: begin; written by cargo xtask questions -->";
const END: &str = "<!-- questions: end -->";
/// What stands before the table.
const INTRODUCTION: &str = "\
## Ten questions

Asked of the built server over standard input and output, about a generated session of 5,000 exchanges with planted answers \
(`bins/wirescope-mcp/tests/it/shop.rs`; that the answers are right is a test, `questions.rs` beside it). Bytes asked are the tools' names \
and arguments, bytes answered the JSON an agent reads. Each question may take two calls and 2,048 bytes.
";

/// Asks the questions and writes the table, or with `check` compares it.
pub(crate) fn run(repo: &Repo, check: bool) -> Result<()> {
    let report = tempfile::NamedTempFile::new()?;
    let arguments = ["test", "--package", "wirescope-mcp", "--test", "it", "--", "questions::"];
    process::run(repo.cargo().args(arguments).env("WIRESCOPE_QUESTIONS_REPORT", report.path()))?;
    let table = fs::read_to_string(report.path())?;
    if table.is_empty() {
        bail!("the test wrote no report");
    }
    let file = repo.root().join(PAGE);
    let page = fs::read_to_string(&file).unwrap_or_else(|_| "# What answers cost\n".to_owned());
    let written = placed(&page, &format!("{INTRODUCTION}\n{table}"));
    if written == page {
        return Ok(());
    }
    if check {
        bail!("{PAGE} is not what the questions cost; run `cargo xtask questions`");
    }
    fs::write(&file, written).with_context(|| format!("failed to write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

/// The page with `part` between the marks, at its end where there are none.
fn placed(page: &str, part: &str) -> String {
    let ours = format!("{BEGIN}\n\n{}\n\n{END}", part.trim());
    match (page.find(BEGIN), page.find(END)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{ours}{}", &page[..from], &page[to + END.len()..])
        }
        _ => format!("{}\n\n{ours}\n", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_is_placed_once_and_the_rest_stays() {
        let once = placed("# page\n\nbefore\n", "one");
        assert!(once.starts_with("# page\n\nbefore\n\n<!-- questions: begin"), "{once}");
        let twice = placed(&format!("{once}\nafter\n"), "two");
        assert!(twice.contains("two") && !twice.contains("one") && twice.ends_with("after\n"), "{twice}");
        assert_eq!(placed(&twice, "two"), twice);
    }
}
