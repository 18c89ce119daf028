//! SQL over what was recorded.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{ErrorKind, Sql, SqlValue, Store};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    budget::{NextCall, cut, fit},
    catalogue::Family,
    error::ToolError,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "query",
    toolset: Toolset::Analysis,
    summary: "SQL over what was recorded.",
    router,
    references: &[],
};

/// Characters of a text in a row.
const MAX_CELL_CHARS: usize = 1_000;
/// Bytes of a blob in a row.
const MAX_BLOB_BYTES: usize = 300;

/// The views there are; docs/sql.md says what is in them.
const VIEWS: [&str; 5] = ["exchanges", "headers", "bodies", "messages", "sessions"];
/// What else statements need to know.
const FUNCTIONS: &str = "session is a number (s3 is 3); side is 'req' or 'resp'. Functions: header(seq, side, name), \
                         body_text(seq, side) decoded, json_at(text, pointer), path_template(path), and SQLite's own.";

fn router() -> ToolRouter<Toolbox> {
    Toolbox::query_router()
}

fn two_hundred() -> u32 {
    200
}

fn ten_seconds() -> u32 {
    10_000
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SqlParams {
    /// One SELECT over the views exchanges, headers, bodies, messages, sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20_000))]
    sql: Option<String>,
    /// Tell the views' columns and the functions.
    #[serde(default, skip_serializing_if = "is_false")]
    schema: bool,
    /// Rows at most.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 5_000))]
    max_rows: u32,
    /// Rows to skip.
    #[serde(default)]
    #[schemars(range(max = 9_000))]
    offset: u32,
    /// How long it may run.
    #[serde(default = "ten_seconds")]
    #[schemars(range(min = 10, max = 60_000))]
    timeout_ms: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SqlRows {
    status: Success,
    /// The columns' names.
    columns: Vec<String>,
    /// The rows; texts are cut at 1,000 characters, bytes are base64.
    rows: Vec<Vec<Value>>,
    /// Whether there are more rows.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// The call that continues; rows stay in their place only with an ORDER BY.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
    /// What there is to select from, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
}

#[tool_router(router = query_router, vis = "pub(crate)")]
impl Toolbox {
    /// Query recorded traffic in SQL (SQLite, read-only). header(seq,'resp','x-a'), body_text(seq,'resp'), json_at(text,'/a/b')
    /// reach into messages.
    #[tool(
        name = "query_sql",
        title = "Query by SQL",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn query_sql(
        &self,
        Parameters(params): Parameters<SqlParams>,
    ) -> Result<Json<SqlRows>, ToolError> {
        let (store, budget) = (self.fresh_store().await?, self.config().answer_bytes);
        let Some(statement) = params.sql.clone() else {
            let schema = blocking(move || Ok(schema(&store))).await?;
            if !params.schema {
                return Err(ToolError::invalid("query_sql needs the argument sql").hint(schema));
            }
            let (columns, rows, schema) = (Vec::new(), Vec::new(), Some(schema));
            let (truncated, next) = (false, None);
            return Ok(Json(SqlRows { status: Success::Success, columns, rows, truncated, next, schema }));
        };
        let (skip, most) = (params.offset as usize, params.max_rows as usize);
        let mut sql = Sql::new(statement);
        sql.timeout = Duration::from_millis(params.timeout_ms.into());
        // One more than asked for tells whether there are more.
        sql.max_rows = skip + most + 1;
        let asks_schema = params.schema;
        let (answer, schema) = blocking(move || {
            let answer = store.sql(&sql).map_err(|error| refused(error, &store))?;
            Ok((answer, asks_schema.then(|| schema(&store))))
        })
        .await?;
        let all = answer.rows.len().saturating_sub(skip);
        let rows =
            answer.rows.into_iter().skip(skip).take(most).map(|row| row.into_iter().map(cell).collect());
        let (rows, _) = fit::<Vec<Value>>(rows.collect(), budget);
        let truncated = rows.len() < all || answer.truncated;
        let reached = skip + rows.len();
        let next = (truncated && !rows.is_empty() && reached <= 9_000).then(|| {
            let mut arguments = json!(params);
            arguments["offset"] = reached.into();
            NextCall::new("query_sql", arguments)
        });
        let columns = answer.columns;
        Ok(Json(SqlRows { status: Success::Success, columns, rows, truncated, next, schema }))
    }
}

/// What there is to select from, in one line. Blocks.
fn schema(store: &Store) -> String {
    let mut text = String::new();
    for view in VIEWS {
        // A view that cannot be read is left out; what is told is not what failed.
        let columns = store.sql(&Sql::new(format!("SELECT * FROM {view} LIMIT 0")));
        if let Ok(answer) = columns {
            text.push_str(&format!("{view}({}); ", answer.columns.join(", ")));
        }
    }
    text + FUNCTIONS
}

fn refused(error: capture_store::Error, store: &Store) -> ToolError {
    match error.kind() {
        ErrorKind::Sql(message) => {
            ToolError::new("sql_refused", format!("sql: {message}")).hint(schema(store))
        }
        ErrorKind::SqlTimeout(after) => {
            ToolError::new("sql_timeout", format!("sql: it did not end within {} ms", after.as_millis())).hint(
                "narrow it by session, host, method or status, which have indexes, before bodies and headers are read; or \
                 raise timeout_ms",
            )
        }
        _ => error.into(),
    }
}

fn cell(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => number.into(),
        SqlValue::Real(number) => number.into(),
        SqlValue::Text(text) => cut(&text, MAX_CELL_CHARS).into(),
        SqlValue::Blob(mut bytes) => {
            let cut = bytes.len() > MAX_BLOB_BYTES;
            bytes.truncate(MAX_BLOB_BYTES);
            format!("{}{}", STANDARD.encode(bytes), if cut { "\u{2026}" } else { "" }).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{Bench, Fed, call, params};

    #[tokio::test]
    async fn rows_come_under_their_columns_and_the_next_call_has_the_rest() {
        let bench = Bench::new().await;
        for n in 0..30 {
            bench.feed(n, Fed::get(format!("/users/{n}")));
        }
        let sql = "SELECT seq, template FROM exchanges ORDER BY seq";
        let first = call!(bench, query_sql, json!({"sql": sql, "max_rows": 20}));
        assert_eq!(first["columns"], json!(["seq", "template"]));
        assert_eq!(first["rows"].as_array().unwrap().len(), 20);
        assert_eq!(first["truncated"], true);
        let rest = call!(bench, query_sql, first["next"]["arguments"].clone());
        assert_eq!(rest["rows"].as_array().unwrap().len(), 10);
        assert_eq!(rest["rows"][9], json!([30, "/users/{id}"]));
        assert!(rest.get("next").is_none() && rest.get("truncated").is_none());
    }

    #[tokio::test]
    async fn what_is_refused_says_what_there_is() {
        let bench = Bench::new().await;
        for sql in ["SELECT nope FROM exchanges", "DELETE FROM exchanges", "SELECT 1; SELECT 2"] {
            let refused = bench.toolbox.query_sql(params("query_sql", json!({"sql": sql}))).await;
            let error = refused.err().unwrap();
            assert_eq!(error.code(), "sql_refused", "{sql}");
            let result = error.into_result().structured_content.unwrap();
            assert!(result["hint"].as_str().unwrap().contains("template"), "{result}");
        }
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let late =
            bench.toolbox.query_sql(params("query_sql", json!({"sql": endless, "timeout_ms": 20}))).await;
        assert_eq!(late.err().unwrap().code(), "sql_timeout");
        let none = bench.toolbox.query_sql(params("query_sql", json!({}))).await;
        assert_eq!(none.err().unwrap().code(), "invalid_argument");
        let told = call!(bench, query_sql, json!({"schema": true}));
        let told = told["schema"].as_str().unwrap();
        for known in ["exchanges(seq, ", "headers(", "bodies(", "messages(", "sessions(id, ", "json_at("] {
            assert!(told.contains(known), "{told}");
        }
        assert!(told.len() < 2_000);
    }

    #[tokio::test]
    async fn long_rows_are_dropped_whole() {
        let bench = Bench::new().await;
        for n in 0..40 {
            bench.feed(n, Fed::get(format!("/{n}?{}", "y".repeat(900))));
        }
        let mut arguments = json!({"sql": "SELECT seq, url FROM exchanges ORDER BY seq"});
        let mut seen = 0;
        loop {
            let answer = call!(bench, query_sql, arguments);
            assert!(answer.to_string().len() <= 16 * 1024);
            seen += answer["rows"].as_array().unwrap().len();
            match answer.get("next") {
                Some(next) => arguments = next["arguments"].clone(),
                None => break,
            }
        }
        assert_eq!(seen, 40);
    }
}
