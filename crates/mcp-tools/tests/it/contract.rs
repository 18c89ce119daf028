//! `contract.json` holds what the reference servers' tools take and give: parameters with their types, and result
//! fields by path. Ours may take and give more, never less.

use mcp_tools::{Config, Server, StateDir, output_schemas};
use rmcp::ServerHandler as _;
use serde_json::{Map, Value};

const CONTRACT: &str = include_str!("../contract.json");

/// Defaults that are meant to differ; docs/migrating.md says so.
const OTHER_DEFAULTS: &[(&str, &str)] = &[("proxy_search_session_bodies", "max_scan")];

fn contract() -> Map<String, Value> {
    serde_json::from_str(CONTRACT).unwrap()
}

fn server() -> Server {
    Server::new(Config::new(StateDir::new("unused")))
}

#[test]
fn every_reference_tool_is_there_with_its_parameters() {
    let server = server();
    for (name, wanted) in contract() {
        let tool = server.get_tool(&name).unwrap_or_else(|| panic!("{name} is missing"));
        let required = &tool.input_schema.get("required");
        for parameter in wanted["parameters"].as_array().unwrap() {
            let parameter_name = parameter["name"].as_str().unwrap();
            let ours = &tool.input_schema["properties"][parameter_name];
            assert!(ours.is_object(), "{name} does not take {parameter_name}");
            let (want, have) = (parameter["type"].as_str().unwrap(), types(&ours["type"]));
            assert!(accepts(&have, want), "{name}.{parameter_name} is {have}, not {want}");
            assert_eq!(parameter.get("enum"), ours.get("enum"), "{name}.{parameter_name}");
            // A default that is not declared is none, which takes all.
            if let (Some(theirs), Some(declared)) = (parameter.get("default"), ours.get("default")) {
                let same = match (theirs.as_f64(), declared.as_f64()) {
                    (Some(theirs), Some(declared)) => theirs.total_cmp(&declared).is_eq(),
                    _ => theirs == declared,
                };
                let is_meant = OTHER_DEFAULTS.contains(&(name.as_str(), parameter_name));
                assert!(same || is_meant, "{name}.{parameter_name} is {declared} by default, not {theirs}");
            }
            let demanded = required
                .and_then(Value::as_array)
                .is_some_and(|required| required.iter().any(|field| field == parameter_name));
            assert!(parameter["required"] == true || !demanded, "{name} demands {parameter_name}");
        }
        for field in required.and_then(Value::as_array).into_iter().flatten() {
            let known = wanted["parameters"].as_array().unwrap().iter().any(|p| p["name"] == *field);
            assert!(known, "{name} demands {field}, which the contract does not know");
        }
    }
}

/// Tools that list exchanges: in short rows, and with `fields` `["*"]` as the contract has it. docs/migrating.md names them.
const LISTS: [&str; 10] = [
    "analyze_recorded_traffic",
    "capture_traffic",
    "get_recording_snapshot",
    "peek_live_capture",
    "proxy_list_traffic",
    "proxy_query_session",
    "proxy_search_traffic",
    "query_live_capture_entries",
    "query_recorded_traffic",
    "read_live_capture",
];

#[test]
fn every_list_of_exchanges_has_short_rows_and_gives_those_of_the_contract_for_an_asterisk() {
    let (server, schemas) = (server(), output_schemas());
    let migrating = include_str!("../../../../docs/migrating.md");
    for name in LISTS {
        let tool = server.get_tool(name).unwrap();
        assert_eq!(tool.input_schema["properties"]["fields"]["type"], "array", "{name}");
        for part in ["columns", "rows"] {
            assert!(schemas[name]["properties"][part].is_object(), "{name}: no {part}");
        }
        let required = schemas[name]["required"].to_string();
        for part in ["columns", "rows", "items", "exchanges", "results"] {
            assert!(!required.contains(&format!("\"{part}\"")), "{name} demands {part}: {required}");
        }
        let named = migrating.lines().any(|line| line.contains(name) && !line.starts_with('|'));
        assert!(named, "docs/migrating.md does not name {name} among the lists");
    }
}

/// One type, or several as the contract writes them.
fn types(schema: &Value) -> String {
    match schema {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        one => one.as_str().unwrap_or_default().to_owned(),
    }
}

/// A count or a port may be an integer where the contract only says number.
fn accepts(have: &str, want: &str) -> bool {
    have == want || (have == "integer" && want == "number")
}

#[test]
fn every_result_has_the_fields_of_the_contract() {
    // Clients are sent outlines; what a result holds is what tests check it against.
    let schemas = output_schemas();
    for (name, wanted) in contract() {
        let schema = schemas.get(&name).cloned().unwrap_or_else(|| panic!("{name} is missing"));
        for (path, want) in wanted["result"].as_object().unwrap() {
            let want = want.as_str().unwrap();
            let field = find(&schema, path).unwrap_or_else(|| panic!("{name}: no {path} in {schema}"));
            let kinds = kinds(&field);
            let fits = want == "any" || kinds.iter().any(|kind| accepts(kind, want));
            assert!(fits, "{name}: {path} is {kinds:?}, not {want}");
        }
    }
}

/// The schema of `a.b[].c`, looked for through whatever may be null.
fn find(schema: &Value, path: &str) -> Option<Value> {
    let mut at = vec![schema.clone()];
    for part in path.split('.') {
        let (name, depth) = (part.trim_end_matches("[]"), part.matches("[]").count());
        at = at
            .iter()
            .flat_map(choices)
            .filter_map(|schema| schema["properties"].get(name).cloned())
            .collect();
        for _ in 0..depth {
            at = at.iter().flat_map(choices).filter_map(|schema| schema.get("items").cloned()).collect();
        }
    }
    at.into_iter().next()
}

fn choices(schema: &Value) -> Vec<Value> {
    schema["anyOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()])
}

fn kinds(schema: &Value) -> Vec<String> {
    let kinds = |schema: Value| match &schema["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    choices(schema).into_iter().flat_map(kinds).collect()
}
