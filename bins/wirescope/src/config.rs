//! The configuration file: flags by name, for those that neither the command line nor the environment gives.
//!
//! ```toml
//! store = "/var/lib/captures"      # for every command that has --store
//!
//! [run]                            # for `wirescope run` alone
//! listen = ["127.0.0.1:8080", "socks5://127.0.0.1:1080"]
//! max-disk-mb = 4096
//! ```
//!
//! What it says is added to the command line as flags, so that it is checked by the same rules and told of in the same
//! words.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, parser::ValueSource,
};
use toml::{Table, Value};

use crate::{cli::Cli, failure::Usage};

/// The largest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// How unlike two names may be for one to be meant by the other.
const MIN_LIKENESS: f64 = 0.7;

/// Why there is no command line.
pub(crate) enum Refused {
    /// The arguments, or help was asked for.
    Arguments(clap::Error),
    /// The file.
    File(anyhow::Error),
}

/// Reads the command line, the environment and the file they name, in that order of precedence.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, Refused> {
    let command = Cli::command();
    let read =
        |arguments: &[OsString]| command.clone().try_get_matches_from(arguments).map_err(Refused::Arguments);
    let mut matches = read(arguments)?;
    let file = matches.subcommand().and_then(|(_, below)| below.get_one::<PathBuf>("config").cloned());
    if let Some(file) = file {
        let table = load(&file).map_err(Refused::File)?;
        let added = flags(&command, &matches, &table)
            .with_context(|| format!("use --config {}", file.display()))
            .map_err(Refused::File)?;
        matches = read(&spliced(arguments, &command, &matches, added))?;
    }
    Cli::from_arg_matches(&matches).map_err(|error| Refused::Arguments(error.format(&mut Cli::command())))
}

fn load(file: &Path) -> Result<Table> {
    let named = || format!("read --config {}", file.display());
    let size = fs::metadata(file).with_context(named)?.len();
    if size > MAX_BYTES {
        return Err(Usage::error(format!("{}: it has more than 1 MiB", named())));
    }
    let text = fs::read_to_string(file).with_context(named)?;
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Usage::error(format!("{}: line {line}: {}", named(), error.message()))
    })
}

/// The flags a file adds to a command line.
fn flags(command: &Command, matches: &ArgMatches, table: &Table) -> Result<Vec<OsString>> {
    let Some((name, given)) = matches.subcommand() else { return Ok(Vec::new()) };
    let asked = Asked { command, name, given };
    let mut added = Vec::new();
    for (key, value) in table {
        if let Value::Table(below) = value {
            let commands: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            if !commands.contains(&key.as_str()) {
                return Err(unknown("command", key, commands));
            }
            let known = longs(command, |of| of.get_name() == key);
            for (flag, value) in below {
                if !known.contains(&flag.as_str()) {
                    return Err(unknown("flag", flag, known));
                }
                if key == name {
                    asked.add(&mut added, flag, value)?;
                }
            }
            continue;
        }
        let known = longs(command, |_| true);
        if !known.contains(&key.as_str()) {
            return Err(unknown("flag", key, known));
        }
        let is_said_apart =
            table.get(name).and_then(Value::as_table).is_some_and(|own| own.contains_key(key));
        if !is_said_apart {
            asked.add(&mut added, key, value)?;
        }
    }
    Ok(added)
}

/// The names of the flags of these commands, and of those that every command has.
fn longs(command: &Command, of: impl Fn(&Command) -> bool) -> Vec<&str> {
    let everywhere = command.get_arguments();
    let below = command.get_subcommands().filter(|below| of(below)).flat_map(Command::get_arguments);
    let named = everywhere.chain(below).filter_map(Arg::get_long);
    named.filter(|long| !matches!(*long, "config" | "help" | "version")).collect()
}

fn unknown<'n>(what: &str, name: &str, known: impl IntoIterator<Item = &'n str>) -> anyhow::Error {
    let nearest = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= MIN_LIKENESS)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = nearest.map(|(_, known)| format!("; {known:?} is one")).unwrap_or_default();
    Usage::error(format!("{name:?} is no {what}{hint}"))
}

/// The command that was asked for, and what was given with it.
struct Asked<'a> {
    command: &'a Command,
    name: &'a str,
    given: &'a ArgMatches,
}

impl Asked<'_> {
    /// Adds one flag, if the command has it and it was not given already.
    fn add(&self, added: &mut Vec<OsString>, long: &str, value: &Value) -> Result<()> {
        let Self { command, name, given } = self;
        let below = command.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
        let mut arguments = command.get_arguments().chain(below);
        let Some(argument) = arguments.find(|argument| argument.get_long() == Some(long)) else {
            return Ok(());
        };
        let source = given.value_source(argument.get_id().as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            return Ok(());
        }
        let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = match value {
                Value::Boolean(wanted) if !takes_value => {
                    added.extend(wanted.then(|| OsString::from(format!("--{long}"))));
                    continue;
                }
                Value::String(text) if takes_value => text.clone(),
                Value::Integer(number) if takes_value => number.to_string(),
                _ if takes_value => return Err(Usage::error(format!("{long:?} takes a text or a number"))),
                _ => return Err(Usage::error(format!("{long:?} is either true or false"))),
            };
            added.push(format!("--{long}={text}").into());
        }
        Ok(())
    }
}

/// The command line with flags added right behind the command's name.
fn spliced(
    arguments: &[OsString],
    command: &Command,
    matches: &ArgMatches,
    added: Vec<OsString>,
) -> Vec<OsString> {
    let name = matches.subcommand_name().map(OsStr::new);
    let takes_value = |argument: &OsString| {
        let long = argument.to_str().and_then(|text| text.strip_prefix("--"));
        command.get_arguments().any(|known| long.is_some() && known.get_long() == long)
    };
    let mut at = 1;
    while at < arguments.len() && Some(arguments[at].as_os_str()) != name {
        at += if takes_value(&arguments[at]) { 2 } else { 1 };
    }
    let (before, after) = arguments.split_at((at + 1).min(arguments.len()));
    [before, &added, after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(arguments: &[&str], table: &str) -> Result<Vec<String>> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let command = Cli::command();
        let matches = command.clone().try_get_matches_from(&arguments).unwrap();
        let added = flags(&command, &matches, &table.parse().unwrap())?;
        let all = spliced(&arguments, &command, &matches, added);
        Ok(all.into_iter().map(|argument| argument.into_string().unwrap()).collect())
    }

    #[test]
    fn flags_of_the_file_stand_behind_the_command() {
        for (arguments, table, expected) in [
            (&["w", "run"][..], "port = 1", &["w", "run", "--port=1"][..]),
            (&["w", "run", "--port", "2"], "port = 1", &["w", "run", "--port", "2"]),
            (&["w", "--store", "run", "run"], "port = 1", &["w", "--store", "run", "run", "--port=1"]),
            (&["w", "run"], "no-capture = true", &["w", "run", "--no-capture"]),
            (&["w", "run"], "no-capture = false", &["w", "run"]),
            (
                &["w", "run"],
                "passthrough = ['a.b', '*.c']",
                &["w", "run", "--passthrough=a.b", "--passthrough=*.c"],
            ),
            // Other commands' flags are none of this one's.
            (&["w", "exec", "--", "true"], "port = 1", &["w", "exec", "--", "true"]),
            (&["w", "exec", "--", "true"], "[exec]\nhar = 'x'", &["w", "exec", "--har=x", "--", "true"]),
            (&["w", "run"], "[exec]\nhar = 'x'", &["w", "run"]),
            (&["w", "run"], "port = 1\n[run]\nport = 2", &["w", "run", "--port=2"]),
            (&["w", "run"], "log = 'debug'", &["w", "run", "--log=debug"]),
        ] {
            assert_eq!(added(arguments, table).unwrap(), expected, "{arguments:?} {table}");
        }
    }

    #[test]
    fn what_is_no_flag_is_refused_with_the_nearest() {
        for (table, said) in [
            ("prot = 1", "\"prot\" is no flag; \"port\" is one"),
            ("[run]\nhar = 'x'", "\"har\" is no flag"),
            ("[rum]\nport = 1", "\"rum\" is no command; \"run\" is one"),
            ("config = 'x'", "\"config\" is no flag"),
            ("port = 1.5", "\"port\" takes a text or a number"),
            ("no-capture = 1", "\"no-capture\" is either true or false"),
        ] {
            let error = added(&["w", "run"], table).unwrap_err().to_string();
            assert!(error.starts_with(said), "{table}: {error}");
        }
    }
}
