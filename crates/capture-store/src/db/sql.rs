//! A connection that can only read, and only the documented views.

use std::{path::Path, sync::Arc, time::Instant};

use rusqlite::{
    Batch, ErrorCode,
    fallible_iterator::FallibleIterator,
    functions::{Context, FunctionFlags},
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
    types::ValueRef,
};

use super::{Connection, DbError, Mode, functions, uint, views};
use crate::{
    id::Seq,
    record::BodySide,
    sql::{Sql, SqlAnswer, SqlValue},
};

/// Instructions of SQLite's machine between two looks at the clock; some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
/// The longest text or blob, and row.
const MAX_VALUE_BYTES: i32 = 64 * 1024 * 1024;
/// The longest statement.
const MAX_STATEMENT_BYTES: i32 = 256 * 1024;
/// The most parts of a compound or an expression's depth.
const MAX_PARTS: i32 = 200;

/// What functions of SQL ask of the store.
pub(crate) trait Contents: Send + Sync {
    /// A field's values, joined.
    fn header(&self, seq: Seq, side: BodySide, name: &str) -> Option<String>;
    /// A body, decoded, as text; bytes that are none are replaced.
    fn body_text(&self, seq: Seq, side: BodySide) -> Option<String>;
}

/// Why a statement gave nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is wrong, or asks for what it may not.
    Statement(String),
    /// It ran too long.
    Timeout,
    /// The database failed.
    Database(DbError),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Timeout,
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::CannotOpen) => {
                Self::Database(error.into())
            }
            Some(ErrorCode::AuthorizationForStatementDenied) => Self::Statement(
                "only SELECT over the views exchanges, headers, bodies, messages and sessions is allowed (docs/sql.md)"
                    .to_owned(),
            ),
            _ => Self::Statement(error.to_string()),
        }
    }
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// Runs a statement on a connection of its own.
pub(crate) fn run(
    (path, mode): (&Path, Mode),
    contents: Arc<dyn Contents>,
    sql: &Sql,
) -> Result<SqlAnswer, Refused> {
    let mut connection = Connection::open(path, mode)?.sql;
    functions::add_facts(&connection)?;
    add_contents(&connection, contents)?;
    connection.execute_batch("PRAGMA query_only = OFF; PRAGMA temp_store = FILE;")?;
    connection.execute_batch(views::VIEWS)?;
    connection.execute_batch("PRAGMA query_only = ON;")?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, MAX_PARTS),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, MAX_PARTS),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.authorizer(Some(authorize))?;
    let deadline = Instant::now() + sql.timeout;
    connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() >= deadline))?;
    let mut batch = Batch::new(&connection, &sql.statement);
    let Some(mut statement) = batch.next()? else {
        return Err(Refused::Statement(
            "there is no statement; write one like SELECT url FROM exchanges".to_owned(),
        ));
    };
    if batch.next()?.is_some() {
        return Err(Refused::Statement("there is more than one statement; write one at a time".to_owned()));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut answer = SqlAnswer { columns, rows: Vec::new(), truncated: false };
    let mut room = sql.max_bytes;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..answer.columns.len()).map(|index| Ok(value(row.get_ref(index)?)));
        let values = values.collect::<Result<Vec<_>, rusqlite::Error>>()?;
        let bytes: usize = values.iter().map(weight).sum();
        if answer.rows.len() == sql.max_rows || bytes > room {
            answer.truncated = true;
            break;
        }
        room -= bytes;
        answer.rows.push(values);
    }
    Ok(answer)
}

/// Reading is allowed through the views, and of what the views give; nothing else is.
fn authorize(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Read { table_name, column_name } => {
            // Tables lie in `main` and are read by views only; a table that is neither comes from the statement itself.
            // Of a table that is walked over for its rows alone, no column is named.
            column_name.is_empty()
                || context.accessor.is_some_and(|view| views::NAMES.contains(&view))
                || context.database_name != Some("main")
                || table_name.starts_with("json_")
        }
        AuthAction::Function { function_name } => {
            !matches!(
                function_name.to_ascii_lowercase().as_str(),
                "load_extension" | "fts3_tokenizer" | "wirescope_fact"
            ) || context.accessor.is_some()
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

fn add_contents(connection: &rusqlite::Connection, contents: Arc<dyn Contents>) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    let of = contents.clone();
    connection.create_scalar_function("header", 3, flags, move |context| {
        let (seq, side) = subject(context)?;
        Ok(of.header(seq, side, &context.get::<String>(2)?))
    })?;
    connection.create_scalar_function("body_text", 2, flags, move |context| {
        let (seq, side) = subject(context)?;
        Ok(contents.body_text(seq, side))
    })
}

/// The exchange and side that a function is asked about.
fn subject(context: &Context<'_>) -> rusqlite::Result<(Seq, BodySide)> {
    let seq = Seq(uint(context.get(0)?));
    let side = match context.get::<String>(1)?.to_ascii_lowercase().as_str() {
        "req" | "request" => BodySide::Request,
        "resp" | "response" => BodySide::Response,
        other => {
            let text = format!("the side is 'req' or 'resp', not {other:?}");
            return Err(rusqlite::Error::UserFunctionError(text.into()));
        }
    };
    Ok((seq, side))
}

fn value(value: ValueRef<'_>) -> SqlValue {
    match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(number) => SqlValue::Integer(number),
        ValueRef::Real(number) => SqlValue::Real(number),
        ValueRef::Text(text) => SqlValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => SqlValue::Blob(bytes.to_vec()),
    }
}

fn weight(value: &SqlValue) -> usize {
    match value {
        SqlValue::Text(text) => text.len() + size_of::<SqlValue>(),
        SqlValue::Blob(bytes) => bytes.len() + size_of::<SqlValue>(),
        _ => size_of::<SqlValue>(),
    }
}
