//! What the user is told when something fails: one line, and an exit code.

use std::{fmt, process::ExitCode};

use proxy_flags::FlagError;

use crate::{output, text};

/// The exit code of wrong usage; 1 is that of every other failure.
const USAGE: u8 = 2;

/// The command line asks for something that cannot be.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// Says what is wrong, as a fragment that fits after "failed to", and the way out.
    pub(crate) fn error(text: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(text.into()))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Tells of a failure with its causes in one line, and gives the exit code.
///
/// When the reader of stdout has left there is nobody to tell and nothing went wrong.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<output::ReaderLeft>() {
        return ExitCode::SUCCESS;
    }
    output::note(one_line(error));
    let flag = error.downcast_ref::<FlagError>().is_some_and(FlagError::is_usage);
    if flag || error.is::<Usage>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// The error and its causes; a cause whose text the one above ends with already is not said twice.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::from("error: failed to ");
    let mut last = String::new();
    for cause in error.chain() {
        let cause = text::one_line(&cause.to_string());
        if cause.is_empty() || last.ends_with(&cause) {
            continue;
        }
        if !last.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
        last = cause;
    }
    line
}

/// Prints the help or version that was asked for, or says in one line what is wrong with the arguments.
pub(crate) fn of_arguments(error: &clap::Error) -> ExitCode {
    let rendered = error.render();
    if !error.use_stderr() {
        let shown =
            if output::stdout_is_terminal() { rendered.ansi().to_string() } else { rendered.to_string() };
        return match output::Out::new().text(&shown) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&error),
        };
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::note(rendered);
    } else {
        output::note(condensed(&rendered.to_string()));
    }
    ExitCode::from(USAGE)
}

/// clap's paragraphs as one line: what is wrong, its tips, and where to look.
fn condensed(rendered: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut help = "wirescope --help".to_owned();
    let mut usage = false;
    for line in rendered.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(call) = line.strip_prefix("Usage: ") {
            usage = true;
            let words: Vec<&str> =
                call.split(' ').take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
            help = format!("{} --help", words.join(" "));
        } else if line.starts_with("For more information") {
            break;
        } else if !usage {
            parts.push(line.trim_start_matches("error: ").to_owned());
        }
    }
    let said = parts.into_iter().reduce(|said, part| match said.ends_with(':') {
        true => format!("{said} {part}"),
        false => format!("{said}; {part}"),
    });
    let said = text::one_line(&said.unwrap_or_default());
    format!("error: failed to read the arguments: {said} (see `{help}`)")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_stand_in_one_line_and_only_once() {
        let error = anyhow!("permission denied\n(os error 13)").context("open x").context("start the proxy");
        assert_eq!(
            one_line(&error),
            "error: failed to start the proxy: open x: permission denied (os error 13)"
        );
        let twice = anyhow!("no such file").context("read a.pem: no such file");
        assert_eq!(one_line(&twice), "error: failed to read a.pem: no such file");
    }

    #[test]
    fn arguments_that_do_not_parse_are_told_in_one_line() {
        for (rendered, line) in [
            (
                "error: invalid value 'x' for '--port <PORT>': invalid digit\n\nFor more information, try '--help'.\n",
                "error: failed to read the arguments: invalid value 'x' for '--port <PORT>': invalid digit (see \
                 `wirescope --help`)",
            ),
            (
                "error: unexpected argument '--prot' found\n\n  tip: a similar argument exists: '--port'\n\nUsage: \
                 wirescope run --port <PORT>\n\nFor more information, try '--help'.\n",
                "error: failed to read the arguments: unexpected argument '--prot' found; tip: a similar argument \
                 exists: '--port' (see `wirescope run --help`)",
            ),
            (
                "error: the following required arguments were not provided:\n  <TEXT>\n\nUsage: wirescope search \
                 <TEXT>\n\nFor more information, try '--help'.\n",
                "error: failed to read the arguments: the following required arguments were not provided: <TEXT> (see \
                 `wirescope search --help`)",
            ),
        ] {
            assert_eq!(condensed(rendered), line);
        }
    }
}
