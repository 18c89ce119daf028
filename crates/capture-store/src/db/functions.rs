//! Functions of ours that SQL may call.

use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::{Type, ValueRef},
};

use super::write::after_authority;
use crate::condition::{Pattern, PatternError, path};

/// They give the same for the same, and are safe to be called by a view.
pub(super) const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Adds what filters call.
pub(super) fn add(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("wirescope_match", 2, PURE, matches)?;
    connection.create_scalar_function("wirescope_path", 2, PURE, path_of)
}

/// `wirescope_match(pattern, text)`: what is NULL is no match.
fn matches(context: &Context<'_>) -> rusqlite::Result<bool> {
    let text = match context.get_raw(1) {
        ValueRef::Text(text) | ValueRef::Blob(text) => text,
        _ => return Ok(false),
    };
    // Compiled once for all rows of a statement.
    let pattern = context.get_or_create_aux(
        0,
        |encoded| -> Result<Pattern, Box<dyn std::error::Error + Send + Sync>> {
            let encoded = encoded.as_str()?;
            Pattern::decode(encoded).map_err(|error: PatternError| error.into())
        },
    )?;
    Ok(pattern.matches(text))
}

/// `wirescope_path(url, target)`: the target up to its query.
fn path_of(context: &Context<'_>) -> rusqlite::Result<String> {
    let raw = |index| match context.get_raw(index) {
        ValueRef::Text(text) => std::str::from_utf8(text)
            .map(Some)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))),
        _ => Ok(None),
    };
    let target = match raw(1)? {
        Some(target) => target,
        None => after_authority(raw(0)?.unwrap_or_default()),
    };
    Ok(path(target).to_owned())
}
