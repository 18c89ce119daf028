//! Completions of arguments: hosts, sessions and exchanges there are.

use capture_store::{Order, Query, Sql, SqlValue, Store};
use rmcp::{
    ErrorData,
    model::{CompleteRequestParams, CompleteResult, CompletionInfo},
};

use crate::{
    error::ToolError,
    toolbox::{Toolbox, blocking},
};

/// What an argument names.
#[derive(Clone, Copy)]
enum Kind {
    Host,
    Session,
    Exchange,
}

/// By the argument's name, whatever it belongs to.
fn kind(name: &str) -> Option<Kind> {
    match name {
        "host" | "hostname" | "hostname_filter" => Some(Kind::Host),
        "session_id" | "session" | "before" | "after" => Some(Kind::Session),
        "exchange_id" | "exchange" => Some(Kind::Exchange),
        _ => None,
    }
}

/// Completes one argument; with nothing where there is nothing to propose.
pub(crate) async fn complete(
    toolbox: &Toolbox,
    request: &CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let Some(kind) = kind(&request.argument.name) else { return Ok(CompleteResult::default()) };
    let begun = request.argument.value.to_ascii_lowercase();
    let found = async {
        let store = toolbox.store().await?;
        blocking(move || match kind {
            Kind::Host => hosts(&store, &begun),
            Kind::Session => sessions(&store, &begun),
            Kind::Exchange => exchanges(&store, &begun),
        })
        .await
    };
    let mut values = found.await.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let more = values.len() > CompletionInfo::MAX_VALUES;
    values.truncate(CompletionInfo::MAX_VALUES);
    let completion = CompletionInfo::with_pagination(values, None, more)
        .map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

/// Hosts that begin so, or hold it; those asked most first.
fn hosts(store: &Store, begun: &str) -> Result<Vec<String>, ToolError> {
    let plain =
        begun.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    let plain: String = plain.take(255).collect();
    let limit = CompletionInfo::MAX_VALUES + 1;
    let answer = store.sql(&Sql::new(format!(
        "SELECT host, count(*) FROM exchanges WHERE instr(lower(host), '{plain}') > 0 \
         GROUP BY host ORDER BY instr(lower(host), '{plain}') > 1, 2 DESC LIMIT {limit}"
    )))?;
    let host = |row: Vec<SqlValue>| match row.into_iter().next() {
        Some(SqlValue::Text(host)) => Some(host),
        _ => None,
    };
    Ok(answer.rows.into_iter().filter_map(host).collect())
}

/// Newest first, by their id or a part of their name.
fn sessions(store: &Store, begun: &str) -> Result<Vec<String>, ToolError> {
    let mut sessions = store.sessions()?;
    sessions.reverse();
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| name.to_lowercase().contains(begun));
    let ids = sessions.into_iter().filter_map(|session| {
        let id = session.id.to_string();
        (id.starts_with(begun) || named(&session.name)).then_some(id)
    });
    Ok(ids.take(CompletionInfo::MAX_VALUES + 1).collect())
}

/// Of the newest thousand, newest first.
fn exchanges(store: &Store, begun: &str) -> Result<Vec<String>, ToolError> {
    let mut query = Query::default();
    (query.limit, query.order) = (1_000, Order::Descending);
    let newest = store.query(&query)?.items.into_iter().map(|item| item.seq.to_string());
    Ok(newest.filter(|id| id.starts_with(begun)).take(CompletionInfo::MAX_VALUES + 1).collect())
}
