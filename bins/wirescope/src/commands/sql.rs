//! `sql`: what was recorded, as tables.

use std::time::Duration;

use anyhow::Result;
use capture_store::{Sql, SqlAnswer, SqlValue};
use clap::Args;
use serde_json::{Map, Value};

use crate::{
    json,
    output::{Out, note},
    place::Place,
    table::{Column, Table},
    text,
};

/// Runs one SELECT over what was recorded; nothing can be changed. docs/sql.md has the tables and functions.
///
/// Tables: exchanges, headers, bodies, messages, sessions. Functions: header(seq, 'resp', 'name'),
/// body_text(seq, 'resp'), json_at(text, '/pointer'), and SQLite's own.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The statement, like "SELECT host, count(*) FROM exchanges GROUP BY host".
    #[arg(value_name = "SELECT")]
    statement: String,
    /// Print one JSON object to the row.
    #[arg(long)]
    json: bool,
    /// Print comma-separated values, names first.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// At most this many rows.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    /// At most this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let store = place.store_to_read()?;
    let mut sql = Sql::new(arguments.statement.clone());
    sql.max_rows = arguments.limit;
    sql.timeout = Duration::from_secs(arguments.timeout);
    let answer = store.sql(&sql)?;
    let mut out = Out::new();
    if arguments.json {
        for row in &answer.rows {
            out.line(json::line(&object(&answer.columns, row)))?;
        }
    } else if arguments.csv {
        print_csv(&answer, &mut out)?;
    } else {
        print_table(&answer, &mut out)?;
    }
    out.flush()?;
    if answer.truncated {
        note("more rows follow; raise --limit, or ask for less");
    }
    Ok(())
}

fn object(columns: &[String], row: &[SqlValue]) -> Value {
    let pairs = columns.iter().zip(row).map(|(name, value)| (name.clone(), to_json(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn to_json(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => (*number).into(),
        SqlValue::Real(number) => (*number).into(),
        SqlValue::Text(text) => text.as_str().into(),
        SqlValue::Blob(bytes) => hex(bytes).into(),
    }
}

fn plain(value: &SqlValue) -> String {
    match value {
        SqlValue::Null => String::new(),
        SqlValue::Integer(number) => number.to_string(),
        SqlValue::Real(number) => number.to_string(),
        SqlValue::Text(text) => text.clone(),
        SqlValue::Blob(bytes) => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print_table(answer: &SqlAnswer, out: &mut Out) -> Result<()> {
    let number = |index: usize| {
        let mut values = answer.rows.iter().map(|row| &row[index]);
        values.all(|value| matches!(value, SqlValue::Null | SqlValue::Integer(_) | SqlValue::Real(_)))
    };
    let names: Vec<String> = answer.columns.iter().map(|name| text::one_line(name)).collect();
    let columns = names.iter().enumerate().map(|(index, name)| match number(index) {
        true => Column::Right(name),
        false => Column::Wide(name),
    });
    let mut table = Table::new(columns.collect::<Vec<_>>());
    for row in &answer.rows {
        table.add(row.iter().map(|value| text::one_line(&plain(value))).collect::<Vec<_>>());
    }
    for line in table.lines(out.width()) {
        out.line(line)?;
    }
    Ok(())
}

/// RFC 4180, with line feeds alone; what could act on a terminal is made harmless there.
fn print_csv(answer: &SqlAnswer, out: &mut Out) -> Result<()> {
    let terminal = out.is_terminal();
    let field = |text: &str| {
        let text = if terminal { text::harmless(text) } else { text.into() };
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.into_owned()
        }
    };
    let names: Vec<_> = answer.columns.iter().map(|name| field(name)).collect();
    out.line(names.join(","))?;
    for row in &answer.rows {
        let values: Vec<_> = row.iter().map(|value| field(&plain(value))).collect();
        out.line(values.join(","))?;
    }
    Ok(())
}
