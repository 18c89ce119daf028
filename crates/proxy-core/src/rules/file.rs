//! Rules as text: TOML and JSON files.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    action::Action,
    content::Content,
    edit::{BodyEdit, BodyEdits},
    error::{Place, RuleError, RuleErrorKind},
    messages::MessageEdit,
    rule::Rule,
};

/// The version of the form that rules are written in.
pub const FILE_VERSION: u64 = 1;
/// The most rules there can be.
pub const MAX_RULES: usize = 10_000;
/// The largest file of rules that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How a file of rules is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

impl FileFormat {
    /// What a file's extension says.
    ///
    /// # Errors
    /// When it is neither `.toml` nor `.json`.
    pub fn of(path: &Path) -> Result<Self, RuleError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "toml" => Ok(Self::Toml),
            "json" => Ok(Self::Json),
            _ => {
                let problem = format!("tell how {path:?} is written (name it `.toml` or `.json`)");
                Err(RuleErrorKind::File(problem).into())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default = "current")]
    version: u64,
    #[serde(default)]
    rules: Vec<Checked>,
}

#[derive(Serialize)]
struct FormOut<'r> {
    version: u64,
    rules: &'r [&'r Rule],
}

fn current() -> u64 {
    FILE_VERSION
}

/// A rule whose parts go together. Checked while it is read, so that the error knows the line.
struct Checked(Rule);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let rule = Rule::deserialize(source)?;
        rule.check().map_err(|error| de::Error::custom(Inner(&error)))?;
        Ok(Self(rule))
    }
}

/// The problem with the path in the rule, without the words around them.
struct Inner<'e>(&'e RuleError);

impl Display for Inner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.kind() {
            RuleErrorKind::Parse { problem, .. } => write!(f, "{}: {problem}", self.0.place().path),
            other => other.fmt(f),
        }
    }
}

/// Reads rules from a text.
pub(super) fn parse(text: &str, format: FileFormat) -> Result<Vec<Rule>, RuleError> {
    let Form { version, rules } = match format {
        FileFormat::Toml => from_toml(text)?,
        FileFormat::Json => from_json("the rules", text)?,
    };
    if version != FILE_VERSION {
        return Err(RuleErrorKind::Version(version).into());
    }
    if rules.len() > MAX_RULES {
        return Err(RuleErrorKind::TooMany(MAX_RULES).into());
    }
    Ok(rules.into_iter().map(|checked| checked.0).collect())
}

/// Reads one rule from JSON.
pub(super) fn rule_from_json(text: &str) -> Result<Rule, RuleError> {
    from_json::<Checked>("a rule", text).map(|checked| checked.0)
}

/// Writes rules.
pub(super) fn print(rules: &[&Rule], format: FileFormat) -> Result<String, RuleError> {
    let form = FormOut { version: FILE_VERSION, rules };
    let failed = |error: &dyn Display| {
        RuleError::from(RuleErrorKind::File(format!("write the rules: {error} (try JSON, which has null)")))
    };
    match format {
        FileFormat::Toml => toml::to_string_pretty(&form).map_err(|error| failed(&error)),
        FileFormat::Json => {
            serde_json::to_string_pretty(&form).map(|text| text + "\n").map_err(|error| failed(&error))
        }
    }
}

/// Reads a file of rules; relative paths in it are relative to its directory.
pub(super) fn load(path: &Path) -> Result<Vec<Rule>, RuleError> {
    let format = FileFormat::of(path)?;
    let unreadable = |problem: &str| {
        RuleError::from(RuleErrorKind::File(format!("read the rules from {path:?}{problem}")))
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable("").because(error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(": it is larger than 64 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable("").because(error))?;
    let mut rules = parse(&text, format).map_err(|mut error| {
        error.place.file = Some(path.to_owned());
        error
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    rules.iter_mut().flat_map(Rule::paths_mut).for_each(|path| *path = base.join(&*path));
    Ok(rules)
}

impl Rule {
    /// The paths of the files and directories that it names.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.then.iter_mut().flat_map(paths)
    }
}

/// The paths that an action names.
fn paths(action: &mut Action) -> Vec<&mut PathBuf> {
    fn of(content: &mut Content) -> Option<&mut PathBuf> {
        if let Content::File(path) = content { Some(path) } else { None }
    }
    fn of_edits(edits: &mut BodyEdits) -> Vec<&mut PathBuf> {
        edits
            .iter_mut()
            .filter_map(|edit| if let BodyEdit::Set(content) = edit { of(content) } else { None })
            .collect()
    }
    match action {
        Action::Mock(mock) => of(&mut mock.body).into_iter().collect(),
        Action::MapLocal(map) => vec![&mut map.directory],
        Action::RequestBody(edits) | Action::ResponseBody(edits) => of_edits(edits),
        Action::InjectMessage(message) => of(&mut message.content).into_iter().collect(),
        Action::EditMessages(edit) => match &mut edit.then {
            MessageEdit::Replace(new) | MessageEdit::Answer(new) => of(new).into_iter().collect(),
            MessageEdit::Edit(edits) => of_edits(edits),
            MessageEdit::Drop => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn from_json<'de, T: Deserialize<'de>>(what: &'static str, text: &'de str) -> Result<T, RuleError> {
    let mut source = serde_json::Deserializer::from_str(text);
    let at = |error: &serde_json::Error| Place {
        line: Some(error.line()).filter(|line| *line > 0),
        column: Some(error.column()).filter(|_| error.line() > 0),
        ..Place::default()
    };
    let value = serde_path_to_error::deserialize(&mut source).map_err(|error| {
        let path = inner_path(error.path());
        let error = error.into_inner();
        let problem = error.to_string();
        // The place is told beside it.
        let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
        let mut told = RuleError::parse(what, problem);
        told.place = Box::new(Place { path, ..at(&error) });
        told
    })?;
    source.end().map_err(|error| {
        let mut told = RuleError::parse(what, "something follows after its end");
        told.place = Box::new(at(&error));
        told
    })?;
    Ok(value)
}

fn from_toml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, RuleError> {
    let told = |error: &toml::de::Error, path: String| {
        let mut told = RuleError::parse("the rules", error.message());
        told.place.path = path;
        if let Some(span) = error.span() {
            let before = text.get(..span.start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            told.place.line = Some(before.matches('\n').count() + 1);
            told.place.column = Some(before[line_start..].chars().count() + 1);
        }
        told
    };
    let source = toml::Deserializer::parse(text).map_err(|error| told(&error, String::new()))?;
    serde_path_to_error::deserialize(source).map_err(|error| {
        let path = inner_path(error.path());
        told(error.inner(), path)
    })
}

/// A path as people write it; empty for the whole.
fn inner_path(path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    if path == "." { String::new() } else { path }
}
