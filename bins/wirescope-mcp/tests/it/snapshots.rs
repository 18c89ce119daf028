//! Every tool's result, as it stands in `tests/snapshots/`: a file per tool, with its calls in the order of the tour.
//!
//! `WIRESCOPE_UPDATE_SNAPSHOTS=1 cargo test -p wirescope-mcp snapshots` writes them anew. The first call of each file
//! is the example in docs/tools.md.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{agent::Agent, tour::Tour};

/// Set to have the snapshots written anew.
const UPDATE: &str = "WIRESCOPE_UPDATE_SNAPSHOTS";

/// Lines around what differs.
const CONTEXT: usize = 3;
/// Lines of a difference that are shown.
const MAX_LINES: usize = 60;

#[tokio::test]
async fn every_tool_answers_as_its_snapshot_says() {
    let (taken, listed) = Tour::take().await;
    let untaken: Vec<_> = listed.iter().filter(|name| !taken.contains_key(*name)).collect();
    assert!(untaken.is_empty(), "tests/it/tour.rs calls no {untaken:?}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    if std::env::var(UPDATE).is_ok_and(|set| set == "1") {
        return write(&directory, &taken);
    }
    let mut wrong = String::new();
    for (tool, calls) in &taken {
        let stored = fs::read_to_string(file(&directory, tool)).unwrap_or_default();
        if let Some(difference) = difference(&stored, &pretty(calls)) {
            let _ = write!(wrong, "\n--- {tool}\n{difference}");
        }
    }
    for stray in strays(&directory, &taken) {
        let _ = write!(wrong, "\n--- {} is of no tool\n", stray.display());
    }
    assert!(wrong.is_empty(), "results differ from tests/snapshots ({UPDATE}=1 writes them anew):\n{wrong}");
}

fn file(directory: &Path, tool: &str) -> PathBuf {
    directory.join(format!("{tool}.json"))
}

fn pretty(calls: &[Value]) -> String {
    serde_json::to_string_pretty(&json!({"calls": calls})).unwrap() + "\n"
}

fn write(directory: &Path, taken: &BTreeMap<String, Vec<Value>>) {
    fs::create_dir_all(directory).unwrap();
    for (tool, calls) in taken {
        fs::write(file(directory, tool), pretty(calls)).unwrap();
    }
    strays(directory, taken).iter().for_each(|stray| fs::remove_file(stray).unwrap());
}

/// Snapshots of tools that are gone.
fn strays(directory: &Path, taken: &BTreeMap<String, Vec<Value>>) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| !taken.contains_key(path.file_stem().unwrap().to_str().unwrap())).collect()
}

/// The lines that are in one only, with what stands around them.
fn difference(stored: &str, found: &str) -> Option<String> {
    if stored == found {
        return None;
    }
    let (stored, found): (Vec<&str>, Vec<&str>) = (stored.lines().collect(), found.lines().collect());
    let lines = compared(&stored, &found);
    let differs: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].0 != ' ').collect();
    let near = |at: &usize| differs.iter().any(|other| other.abs_diff(*at) <= CONTEXT);
    let shown = (0..lines.len()).filter(near).take(MAX_LINES);
    let mut text = String::new();
    let mut last = None;
    for at in shown {
        if last.is_some_and(|last| last + 1 != at) {
            text.push_str("  ...\n");
        }
        last = Some(at);
        let _ = writeln!(text, "{} {}", lines[at].0, lines[at].1);
    }
    Some(text)
}

/// All lines in order: of both (` `), of the first only (`-`), of the second only (`+`).
fn compared<'a>(stored: &[&'a str], found: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = stored.iter().zip(found).take_while(|(a, b)| a == b).count();
    let (left, right) = (&stored[same..], &found[same..]);
    // The longest common subsequence of what follows, from the end.
    let mut longest = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for (i, a) in left.iter().enumerate().rev() {
        for (j, b) in right.iter().enumerate().rev() {
            let one_less = longest[i + 1][j].max(longest[i][j + 1]);
            longest[i][j] = if a == b { longest[i + 1][j + 1] + 1 } else { one_less };
        }
    }
    let mut lines: Vec<_> = stored[..same].iter().map(|line| (' ', *line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            lines.push((' ', left[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(('-', left[i]));
            i += 1;
        } else {
            lines.push(('+', right[j]));
            j += 1;
        }
    }
    lines
}

#[test]
fn a_difference_shows_the_lines_that_differ() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(difference("a\nb\nc\nd\n", "a\nx\nc\nd\n").unwrap(), "  a\n- b\n+ x\n  c\n  d\n");
    assert_eq!(difference("a\nb\nc\n", "b\nc\nd\n").unwrap(), "- a\n  b\n  c\n+ d\n");
    assert_eq!(difference("", "a\n").unwrap(), "+ a\n");
}

/// Values that break what a schema says of an argument, and nothing else.
fn breaches(schema: &Value) -> Vec<Value> {
    let mut wrong = Vec::new();
    match schema["type"].as_str() {
        Some("string") => {
            wrong.push(json!(7));
            if let Some(most) = schema["maxLength"].as_u64().filter(|most| *most <= 100_000) {
                wrong.push(json!("x".repeat(usize::try_from(most).unwrap() + 1)));
            }
            if schema["enum"].is_array() {
                wrong.push(json!("no-such-choice"));
            }
        }
        Some("integer" | "number") => {
            wrong.push(json!("many"));
            wrong.extend(schema["maximum"].as_f64().map(|most| json!(most + 1.0)));
            wrong.extend(schema["minimum"].as_f64().map(|least| json!(least - 1.0)));
        }
        Some("boolean") => wrong.push(json!("yes")),
        Some("array") => wrong.push(json!("not a list")),
        Some("object") => wrong.push(json!([])),
        _ => {}
    }
    wrong
}

/// A value that the schema of a required argument allows.
fn sample(schema: &Value) -> Value {
    if let Some(choice) = schema["enum"].get(0) {
        return choice.clone();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("x".repeat(usize::try_from(schema["minLength"].as_u64().unwrap_or(1)).unwrap())),
    }
}

#[tokio::test]
async fn every_tool_refuses_what_its_schema_does_not_allow_and_names_the_argument() {
    let agent = Agent::new().await;
    let none = Map::new();
    let refused = async |tool: &str, arguments: Map<String, Value>, name: &str| {
        let error = agent.refused(tool, Value::Object(arguments), "invalid_argument").await;
        let said = error["error"].as_str().unwrap();
        assert!(said.contains(name), "{tool}: {name} is not named in {error}");
    };
    for tool in agent.tools() {
        let schema = Value::Object(tool.input_schema.as_ref().clone());
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
        let required: Vec<_> = required.into_iter().filter_map(Value::as_str).collect();
        let mut least: Map<String, Value> =
            required.iter().map(|name| ((*name).to_owned(), sample(&properties[*name]))).collect();
        for name in &required {
            let mut without = least.clone();
            without.remove(*name);
            refused(&tool.name, without, name).await;
        }
        for (name, schema) in properties {
            for wrong in breaches(schema) {
                let mut arguments = least.clone();
                arguments.insert(name.clone(), wrong);
                refused(&tool.name, arguments, name).await;
            }
        }
        least.insert("no_such_argument".to_owned(), json!(1));
        refused(&tool.name, least, "no_such_argument").await;
    }
}
