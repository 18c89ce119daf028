//! `rules edit`: changes to a file of rules that leave it right.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;
use proxy_core::rules::{FileFormat, Rule, Rules};

use crate::{
    failure::{Usage, one_line},
    output::note,
    text,
};

/// Edits a file of rules, and writes it only when it is right.
///
/// Without flags a copy is opened in $VISUAL or $EDITOR, and takes the file's place once it is right. With flags the
/// changes are made in their order here, and the file is written anew: comments in it are lost.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file, .toml or .json; made if there is none.
    file: PathBuf,
    /// Add a rule, in JSON; may be repeated.
    #[arg(long, value_name = "JSON")]
    add: Vec<String>,
    /// Merge a JSON object into the rule that it names by `id`; null takes out; may be repeated.
    #[arg(long, value_name = "JSON")]
    merge: Vec<String>,
    /// Enable a rule; may be repeated.
    #[arg(long, value_name = "ID")]
    enable: Vec<String>,
    /// Disable a rule; may be repeated.
    #[arg(long, value_name = "ID")]
    disable: Vec<String>,
    /// Remove a rule; may be repeated.
    #[arg(long, value_name = "ID")]
    remove: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let format = FileFormat::of(&arguments.file)?;
    let old = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Rules::new().to_text(format)?,
        Err(error) => return Err(error).with_context(|| format!("read {:?}", arguments.file)),
    };
    let lists = [&arguments.add, &arguments.merge, &arguments.enable, &arguments.disable, &arguments.remove];
    let new = if lists.iter().all(|list| list.is_empty()) {
        by_hand(&arguments.file, format, &old)?
    } else {
        changed(arguments, format, &old)?
    };
    write(&arguments.file, &new)
}

/// The text after the changes that the flags name.
fn changed(arguments: &Arguments, format: FileFormat, old: &str) -> Result<String> {
    let rules = Rules::new();
    rules.replace_with_text(old, format).with_context(|| format!("use {:?} as it is", arguments.file))?;
    for json in &arguments.add {
        rules.add(Rule::from_json(json).context("use --add")?).context("use --add")?;
    }
    for json in &arguments.merge {
        let named: serde_json::Value = serde_json::from_str(json).context("read --merge as JSON")?;
        let id =
            named["id"].as_str().ok_or_else(|| Usage::error("use --merge: name the rule by `id` in it"))?;
        rules.merge(id, json).context("use --merge")?;
    }
    for id in &arguments.enable {
        rules.enable(id)?;
    }
    for id in &arguments.disable {
        rules.disable(id)?;
    }
    for id in &arguments.remove {
        rules.remove(id)?;
    }
    Ok(rules.to_text(format)?)
}

/// The text after somebody edited it, again until it is right or left alone.
fn by_hand(file: &Path, format: FileFormat, old: &str) -> Result<String> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os).ok_or_else(|| {
        Usage::error(
            "find an editor: set EDITOR, or change the file by flags (see `wirescope rules edit --help`)",
        )
    })?;
    let suffix =
        file.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    let copy = tempfile::Builder::new()
        .prefix("rules-")
        .suffix(&suffix)
        .tempfile()
        .context("make a copy to edit")?;
    std::fs::write(copy.path(), old).context("write the copy to edit")?;
    let mut before = old.to_owned();
    loop {
        let status = Command::new(&editor).arg(copy.path()).status().context("run the editor")?;
        if !status.success() {
            anyhow::bail!("edit {file:?}: the editor ended with {status}; the file is as it was");
        }
        let new = std::fs::read_to_string(copy.path()).context("read what was edited")?;
        match Rules::new().replace_with_text(&new, format) {
            Ok(()) => return Ok(new),
            Err(error) if new == before => {
                return Err(anyhow::Error::new(error).context("take the rules, and the file is as it was"));
            }
            Err(error) => {
                note(format_args!("{}; edit again, or leave it as it is to give up", one_line(&error.into())))
            }
        }
        before = new;
    }
}

/// Puts a text in the place of a file, whole or not at all.
fn write(file: &Path, new: &str) -> Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named = || format!("write {file:?}");
    let mut whole = tempfile::NamedTempFile::new_in(directory).with_context(named)?;
    std::io::Write::write_all(&mut whole, new.as_bytes()).with_context(named)?;
    if let Ok(old) = std::fs::metadata(file) {
        std::fs::set_permissions(whole.path(), old.permissions()).with_context(named)?;
    }
    whole.persist(file).with_context(named)?;
    let rules = Rules::new();
    rules.load(file)?;
    let count = u64::try_from(rules.list().len()).unwrap_or(u64::MAX);
    note(format_args!("wirescope: {} has {}", file.display(), text::count(count, "rule")));
    Ok(())
}
