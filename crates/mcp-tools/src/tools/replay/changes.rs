//! What is changed in requests that are sent again, as arguments say it.

use traffic_analysis::replay::Changes;

use super::ReplayParams;
use crate::{budget::cut, error::ToolError};

/// Reads what the arguments say.
pub(super) fn changes(params: &ReplayParams) -> Result<Changes, ToolError> {
    let mut changes = Changes::default();
    if let Some(text) = &params.target_base_url {
        let target = text.parse().map_err(|error| {
            ToolError::invalid(format!("target_base_url: failed to {error}"))
                .hint("write a scheme, a host and perhaps a port and a path")
        })?;
        changes.target = Some(target);
    }
    for text in &params.changes {
        change(&mut changes, text)?;
    }
    Ok(changes)
}

/// Adds one change as it is written.
fn change(changes: &mut Changes, text: &str) -> Result<(), ToolError> {
    let refused = |hint: &str| {
        ToolError::invalid(format!("changes: {:?} cannot be read", cut(text, 80))).hint(hint.to_owned())
    };
    let (kind, what) = text.split_once(' ').unwrap_or((text, ""));
    if kind == "header" {
        let named = what.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_field = |(name, value): &(&str, &str)| {
            !name.is_empty() && name.bytes().all(is_token) && !value.contains(['\r', '\n', '\0'])
        };
        let (name, value) = named
            .filter(is_field)
            .ok_or_else(|| refused("write header X-Env: test, or header X-Env: to take it out"))?;
        changes.headers.push((name.to_owned(), (!value.is_empty()).then(|| value.to_owned())));
        return Ok(());
    }
    let pair = what.split_once('=').filter(|(name, _)| !name.is_empty());
    match (kind, pair) {
        ("param", Some((name, value))) => {
            changes.parameters.push((name.to_owned(), Some(value.to_owned())));
        }
        ("param", None) if !what.is_empty() && !what.starts_with('=') => {
            changes.parameters.push((what.to_owned(), None));
        }
        ("replace", Some((from, to))) => changes.replacements.push((from.to_owned(), to.to_owned())),
        ("var", Some((name, value))) => {
            changes.variables.insert(name.to_owned(), value.to_owned());
        }
        _ => {
            return Err(refused(
                "write header NAME: VALUE, param NAME=VALUE (param NAME takes it out), replace TEXT=BY, or var NAME=VALUE",
            ));
        }
    }
    Ok(())
}
