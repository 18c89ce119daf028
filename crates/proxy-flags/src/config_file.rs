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

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, parser::ValueSource};
use toml::{Table, Value};

use crate::error::FlagError;

/// The largest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// How unlike two names may be for one to be meant by the other.
const MIN_LIKENESS: f64 = 0.7;

/// Why there is no command line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// The arguments, or help was asked for.
    Arguments(clap::Error),
    /// The file.
    File(FlagError),
}

/// Reads the command line, the environment and the file they name by `--config`, in that order of precedence.
///
/// `C` has an argument with the id `config`, a path; what else it has, the file may say.
///
/// # Errors
///
/// When arguments do not parse, or when the file cannot be read or says what is no flag.
pub fn parse<C: CommandFactory + FromArgMatches>(arguments: &[OsString]) -> Result<C, Refused> {
    let command = C::command();
    let read =
        |arguments: &[OsString]| command.clone().try_get_matches_from(arguments).map_err(Refused::Arguments);
    let mut matches = read(arguments)?;
    if let Some(file) = file(&matches) {
        let table = load(&file).map_err(Refused::File)?;
        let added = flags(&command, &matches, &table)
            .map_err(|error| Refused::File(error.within(&format!("use --config {}", file.display()))))?;
        matches = read(&spliced(arguments, &command, &matches, added))?;
    }
    C::from_arg_matches(&matches).map_err(|error| Refused::Arguments(error.format(&mut C::command())))
}

/// The file that is named, with the command or before it.
fn file(matches: &ArgMatches) -> Option<PathBuf> {
    let named = |matches: &ArgMatches| matches.try_get_one::<PathBuf>("config").ok().flatten().cloned();
    matches.subcommand().and_then(|(_, below)| named(below)).or_else(|| named(matches))
}

fn load(file: &Path) -> Result<Table, FlagError> {
    let named = || format!("read --config {}", file.display());
    let size = fs::metadata(file).map_err(|error| FlagError::failed(named(), error))?.len();
    if size > MAX_BYTES {
        return Err(FlagError::usage(format!("{}: it has more than 1 MiB", named())));
    }
    let text = fs::read_to_string(file).map_err(|error| FlagError::failed(named(), error))?;
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        FlagError::usage(format!("{}: line {line}: {}", named(), error.message()))
    })
}

/// The flags a file adds to a command line.
fn flags(command: &Command, matches: &ArgMatches, table: &Table) -> Result<Vec<OsString>, FlagError> {
    let (name, given) = match matches.subcommand() {
        Some((name, given)) => (Some(name), given),
        // A program of one command takes all flags itself.
        None if command.get_subcommands().all(Command::is_hide_set) => (None, matches),
        None => return Ok(Vec::new()),
    };
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
                if Some(key.as_str()) == name {
                    asked.add(&mut added, flag, value)?;
                }
            }
            continue;
        }
        let known = longs(command, |_| true);
        if !known.contains(&key.as_str()) {
            return Err(unknown("flag", key, known));
        }
        let own = name.and_then(|name| table.get(name)).and_then(Value::as_table);
        if !own.is_some_and(|own| own.contains_key(key)) {
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

fn unknown<'n>(what: &str, name: &str, known: impl IntoIterator<Item = &'n str>) -> FlagError {
    let nearest = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= MIN_LIKENESS)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = nearest.map(|(_, known)| format!("; {known:?} is one")).unwrap_or_default();
    FlagError::usage(format!("{name:?} is no {what}{hint}"))
}

/// The command that was asked for, and what was given with it.
struct Asked<'a> {
    command: &'a Command,
    /// Nothing for a program of one command.
    name: Option<&'a str>,
    given: &'a ArgMatches,
}

impl Asked<'_> {
    /// Adds one flag, if the command has it and it was not given already.
    fn add(&self, added: &mut Vec<OsString>, long: &str, value: &Value) -> Result<(), FlagError> {
        let Self { command, name, given } = self;
        let below = name.and_then(|name| command.find_subcommand(name));
        let below = below.into_iter().flat_map(Command::get_arguments);
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
                _ if takes_value => {
                    return Err(FlagError::usage(format!("{long:?} takes a text or a number")));
                }
                _ => return Err(FlagError::usage(format!("{long:?} is either true or false"))),
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
    if name.is_none() {
        let (before, after) = arguments.split_at(arguments.len().min(1));
        return [before, &added, after].concat();
    }
    let mut at = 1;
    while at < arguments.len() && Some(arguments[at].as_os_str()) != name {
        at += if takes_value(&arguments[at]) { 2 } else { 1 };
    }
    let (before, after) = arguments.split_at((at + 1).min(arguments.len()));
    [before, &added, after].concat()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[arg(long, global = true)]
        store: Option<PathBuf>,
        #[arg(long, global = true)]
        log: Option<String>,
        #[arg(long, global = true)]
        config: Option<PathBuf>,
        #[command(subcommand)]
        command: Below,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Below {
        Run {
            #[arg(long)]
            port: Option<u16>,
            #[arg(long)]
            no_capture: bool,
            #[arg(long)]
            passthrough: Vec<String>,
        },
        Exec {
            #[arg(long)]
            har: Option<PathBuf>,
            #[arg(last = true)]
            rest: Vec<OsString>,
        },
    }

    #[derive(Debug, Parser)]
    struct Single {
        #[arg(long)]
        port: Option<u16>,
        #[arg(long)]
        config: Option<PathBuf>,
    }

    fn added(arguments: &[&str], table: &str) -> Result<Vec<String>, FlagError> {
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

    #[test]
    fn a_program_of_one_command_takes_all_flags_itself() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("flags.toml");
        fs::write(&file, "port = 7\n").unwrap();
        let arguments = |more: &[&str]| -> Vec<OsString> {
            let named = ["w", "--config", file.to_str().unwrap()];
            named.iter().chain(more).map(OsString::from).collect()
        };
        assert_eq!(parse::<Single>(&arguments(&[])).unwrap().port, Some(7));
        assert_eq!(parse::<Single>(&arguments(&["--port", "8"])).unwrap().port, Some(8));
        fs::write(&file, "prot = 7\n").unwrap();
        let Err(Refused::File(error)) = parse::<Single>(&arguments(&[])) else { panic!("not refused") };
        assert!(error.is_usage() && error.to_string().ends_with("\"port\" is one"), "{error}");
    }
}
