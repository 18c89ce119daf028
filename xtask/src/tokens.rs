//! docs/token-budget.md: what the list of tools costs, and what a list of exchanges does.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{client::Client, process, repo::Repo};

/// The page; other parts of it are written by others.
const PAGE: &str = "docs/token-budget.md";
const BEGIN: &str = "<!-- tools: begin; written by cargo xtask tokens -->\n";
const END: &str = "<!-- tools: end -->\n";

/// What the lists may cost.
const CORE_BYTES: usize = 24_000;
const ALL_BYTES: usize = 80_000;
/// What a row of a list may cost, and a list.
const ROW_BYTES: usize = 160;
const LIST_BYTES: usize = 16 * 1024;

/// Exchanges of the session that is listed.
const EXCHANGES: usize = 2_000;

/// Measures, and writes the page, or with `check` compares it and writes nothing.
pub(crate) fn run(repo: &Repo, check: bool) -> Result<()> {
    let mut build = repo.cargo();
    process::run(build.args(["build", "--locked", "-p", "wirescope-mcp"]))?;
    let server = repo.target()?.join("debug/wirescope-mcp");
    let mut part = format!("{BEGIN}\n## Lists of tools\n\n");
    part.push_str(&lists(&server)?);
    part.push_str("\n## Lists of exchanges\n\n");
    part.push_str(&rows(&server)?);
    let _ = write!(part, "\n{END}");
    let file = repo.root().join(PAGE);
    let page = fs::read_to_string(&file).unwrap_or_else(|_| "# What answers cost\n".to_owned());
    let new = spliced(&page, &part);
    if new == page {
        return Ok(());
    }
    if check {
        bail!("{PAGE} is not what the server says; run `cargo xtask tokens`");
    }
    fs::write(&file, new)?;
    println!("wrote {PAGE}");
    Ok(())
}

/// The page with this part in its place, or after its title.
fn spliced(page: &str, part: &str) -> String {
    if let (Some(from), Some(to)) = (page.find(BEGIN), page.find(END)) {
        return format!("{}{part}{}", &page[..from], &page[to + END.len()..]);
    }
    let (title, rest) = page.split_once('\n').unwrap_or((page, ""));
    format!("{title}\n\n{part}\n{}", rest.trim_start())
}

/// What each toolset costs.
fn lists(server: &Path) -> Result<String> {
    let mut client = Client::start(server, &["--toolsets", "core"])?;
    let sets = client.call("list_toolsets", json!({}))?;
    let names = sets["toolsets"].as_array().context("no toolsets")?.iter();
    let mut names: Vec<String> = names.filter_map(|set| set["name"].as_str().map(str::to_owned)).collect();
    names.push("all".to_owned());
    let mut table = "The result of `tools/list` as compact JSON, with `--toolsets` as named; the two tools that open others are in \
                     each. One token is about four bytes.\n\n| toolset | tools | bytes | tokens |\n|---|---|---|---|\n"
        .to_owned();
    for name in names {
        let mut client = Client::start(server, &["--toolsets", &name])?;
        let listed = client.ask("tools/list", json!({}))?;
        let tools = listed["tools"].as_array().context("no tools")?;
        let bytes = listed["tools"].to_string().len();
        let _ = writeln!(table, "| `{name}` | {} | {bytes} | {} |", tools.len(), bytes / 4);
        let allowed = match name.as_str() {
            "core" => CORE_BYTES,
            "all" => ALL_BYTES,
            _ => continue,
        };
        if bytes > allowed {
            bail!("the toolset {name} has {bytes} bytes of {allowed}");
        }
    }
    let _ = writeln!(table, "\n`core` may have {CORE_BYTES} bytes, all of them {ALL_BYTES}.");
    Ok(table)
}

/// A call that lists exchanges of session `s1`.
struct List {
    tool: &'static str,
    arguments: Value,
    /// How the table names it beside the tool.
    with: &'static str,
    /// Where its rows are.
    rows: &'static str,
    /// Whether a row may have [`ROW_BYTES`] only.
    bounded: bool,
}

impl List {
    fn new(tool: &'static str, arguments: Value) -> Self {
        Self { tool, arguments, with: "", rows: "rows", bounded: true }
    }
}

/// The calls whose answers are the same every time; lists of live traffic tell times, and have the same rows.
fn lists_of_exchanges() -> Vec<List> {
    let session = |fields: &[&str]| json!({"session_id": "s1", "limit": 1000, "fields": fields});
    let fields = ["id", "ts", "ms", "method", "status", "url"];
    let sql = "SELECT id, method, status, url FROM exchanges";
    vec![
        List::new("proxy_query_session", session(&[])),
        List { with: " with `fields`", ..List::new("proxy_query_session", session(&fields)) },
        List {
            with: " with `fields: [\"*\"]`",
            rows: "items",
            bounded: false,
            ..List::new("proxy_query_session", session(&["*"]))
        },
        List::new("analyze_recorded_traffic", json!({"recording_path": "s1", "max_items": 200})),
        List {
            with: " with `fields: [\"*\"]`",
            rows: "items",
            bounded: false,
            ..List::new(
                "analyze_recorded_traffic",
                json!({"recording_path": "s1", "max_items": 200, "fields": ["*"]}),
            )
        },
        List::new("get_recording_snapshot", json!({"path": "s1"})),
        List::new("query_recorded_traffic", json!({"host_contains": "shop"})),
        List::new("query_sql", json!({"sql": sql, "max_rows": 1000})),
    ]
}

/// What lists of exchanges cost.
fn rows(server: &Path) -> Result<String> {
    let mut client = Client::start(server, &["--toolsets", "all"])?;
    fs::write(client.directory().join("session.har"), session().to_string())?;
    client.call("proxy_import_har", json!({"har_file": "session.har", "session_name": "measured"}))?;
    let mut table = format!(
        "Pages of a session of {EXCHANGES} exchanges with URLs of 60 to 90 characters. A page stops at {LIST_BYTES} bytes, whole rows \
         only, and says which call continues.\n\n| call | rows | bytes | bytes a row | at most |\n|---|---|---|---|---|\n"
    );
    for List { tool, arguments, with, rows, bounded } in lists_of_exchanges() {
        let answer = client.call(tool, arguments)?;
        let listed = answer[rows].as_array().with_context(|| format!("{tool} gave no {rows}: {answer}"))?;
        let bytes = answer.to_string().len();
        let each = answer[rows].to_string().len() / listed.len().max(1);
        let most = listed.iter().map(|row| row.to_string().len()).max().unwrap_or_default();
        let _ = writeln!(table, "| `{tool}`{with} | {} | {bytes} | {each} | {most} |", listed.len());
        if bytes > LIST_BYTES || bounded && most > ROW_BYTES {
            bail!("{tool} has {bytes} bytes of {LIST_BYTES}, up to {most} a row of {ROW_BYTES}");
        }
        if !answer["next"].is_object() {
            bail!("{tool} does not say how to go on: {answer}");
        }
    }
    let _ = writeln!(
        table,
        "\nA short row has {ROW_BYTES} bytes at most, whatever the URL: it is cut. `fields: [\"*\"]` brings the rows of the server that a \
         tool stands in for. `proxy_list_traffic`, `proxy_search_traffic` and the live captures list by the same rows; that they keep to \
         the {ROW_BYTES} bytes is a test (`crates/mcp-tools/src/tests/lists.rs`)."
    );
    Ok(table)
}

/// A session as a HAR file; the same every time.
fn session() -> Value {
    let entry = |n: usize| {
        let host = ["api", "cdn", "auth"][n % 3];
        let url = format!(
            "https://{host}.shop.example.com/v1/customers/{}/orders/{}?page={}",
            n * 37,
            n * 101,
            n % 9
        );
        json!({
            "startedDateTime": format!("2026-03-01T10:{:02}:{:02}.000Z", n / 60 % 60, n % 60),
            "time": 20 + n % 300,
            "request": {"method": if n.is_multiple_of(4) { "POST" } else { "GET" }, "url": url, "httpVersion": "HTTP/2",
                "headers": [], "queryString": [], "cookies": [], "headersSize": -1, "bodySize": 0},
            "response": {"status": if n.is_multiple_of(17) { 503 } else { 200 }, "statusText": "", "httpVersion": "HTTP/2",
                "headers": [{"name": "content-type", "value": "application/json"}], "cookies": [], "redirectURL": "",
                "headersSize": -1, "bodySize": 20, "content": {"size": 20, "mimeType": "application/json",
                "text": format!("{{\"order\":{:08}}}", n)}},
            "cache": {}, "timings": {"send": 1, "wait": 10 + n % 300, "receive": 1},
        })
    };
    let entries: Vec<Value> = (1..=EXCHANGES).map(entry).collect();
    json!({"log": {"version": "1.2", "creator": {"name": "xtask", "version": "1"}, "entries": entries}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_takes_its_own_place_and_leaves_the_others() {
        let part = format!("{BEGIN}new\n{END}");
        let page = format!("# Title\n\n{BEGIN}old\n{END}\nothers\n");
        assert_eq!(spliced(&page, &part), format!("# Title\n\n{part}\nothers\n"));
        assert_eq!(spliced("# Title\n\nothers\n", &part), format!("# Title\n\n{part}\nothers\n"));
    }
}
