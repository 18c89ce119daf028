//! Functions of ours that SQL may call.

use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::{Type, Value, ValueRef},
};

use super::write::after_authority;
use crate::{
    condition::{Pattern, PatternError, listener_name, path},
    detail::{Detail, StoredPeer, joined},
    template::path_template,
};

/// They give the same for the same, and are safe to be called by a view.
pub(super) const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Adds what filters call.
pub(super) fn add(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("wirescope_match", 2, PURE, matches)?;
    connection.create_scalar_function("wirescope_path", 2, PURE, path_of)
}

/// Adds what the views of SQL call.
pub(super) fn add_facts(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("wirescope_fact", 3, PURE, fact)?;
    connection.create_scalar_function("json_at", 2, PURE, json_at)?;
    connection.create_scalar_function("path_template", 1, PURE, template)
}

/// `wirescope_fact(name, detail, facts)`: a fact out of the encoded details, and the facts that they share with others.
fn fact(context: &Context<'_>) -> rusqlite::Result<Value> {
    let ValueRef::Blob(blob) = context.get_raw(1) else { return Ok(Value::Null) };
    let blob = match context.get_raw(2) {
        ValueRef::Blob(facts) => joined(facts, blob),
        _ => blob.to_vec(),
    };
    let Ok(detail) = Detail::decode(blob) else { return Ok(Value::Null) };
    let name = context.get_raw(0).as_str()?;
    let client = detail.client.as_ref();
    let upstream = detail.upstream.as_ref();
    let tls = client.and_then(|peer| peer.peer.tls.as_ref());
    let process = client.and_then(|peer| peer.peer.process.as_ref());
    let print = tls.and_then(|tls| tls.fingerprint.as_ref());
    let address = |peer: Option<&StoredPeer>| {
        peer.and_then(|peer| peer.peer.address).map(|address| address.to_string())
    };
    let text = match name {
        "client_address" => address(client),
        "upstream_address" => address(upstream),
        "tunnel" => detail.tunnel.clone(),
        "comment" => detail.comment.clone(),
        "tls_version" => tls.map(|tls| tls.version.clone()),
        "tls_sni" => tls.and_then(|tls| tls.sni.clone()),
        "tls_alpn" => tls.and_then(|tls| tls.alpn.clone()),
        "upstream_tls_version" => {
            upstream.and_then(|peer| peer.peer.tls.as_ref()).map(|tls| tls.version.clone())
        }
        "ja3" => print.map(|print| print.ja3_hash.clone()),
        "ja4" => print.map(|print| print.ja4.clone()),
        "listener" => client.and_then(|peer| peer.peer.listener).map(|kind| listener_name(kind).to_owned()),
        "replay_of" => client.and_then(|peer| peer.peer.origin.clone()),
        "client_process" => process.map(|process| process.name.clone()),
        "client_pid" => return Ok(process.map_or(Value::Null, |process| Value::Integer(process.pid.into()))),
        "user" => client.and_then(|peer| peer.peer.user.clone()),
        "parent" => upstream.and_then(|peer| peer.peer.parent.clone()),
        "rules" => {
            let rules: Vec<_> = detail.rules.iter().map(|hit| hit.rule.as_str()).collect();
            Some(serde_json::Value::from(rules).to_string())
        }
        "headers" => Some(headers(&detail)),
        "wait_ms" => {
            return Ok(match detail.response {
                Some(_) => Value::Real(detail.timings.wait.as_secs_f64() * 1_000.0),
                None => Value::Null,
            });
        }
        _ => None,
    };
    Ok(text.map_or(Value::Null, Value::Text))
}

/// All fields as JSON: `[["req","Host","a.test"], ...]`.
fn headers(detail: &Detail) -> String {
    let response = detail.response.as_ref().map(|head| &head.headers);
    let parts = [
        ("req", Some(&detail.request.headers)),
        ("req", Some(&detail.request_trailers)),
        ("resp", response),
        ("resp", Some(&detail.response_trailers)),
    ];
    let fields = parts.into_iter().flat_map(|(side, headers)| {
        headers
            .into_iter()
            .flatten()
            .map(move |field| serde_json::json!([side, field.name_text(), field.value_text()]))
    });
    serde_json::Value::Array(fields.collect()).to_string()
}

/// `path_template(path)`: NULL of what is no text.
fn template(context: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let ValueRef::Text(text) = context.get_raw(0) else { return Ok(None) };
    Ok(std::str::from_utf8(text).ok().map(|path| path_template(path).into_owned()))
}

/// `json_at(text, pointer)`: what a JSON pointer (RFC 6901) leads to; NULL where it leads nowhere or the text is no JSON.
fn json_at(context: &Context<'_>) -> rusqlite::Result<Value> {
    let (ValueRef::Text(text), ValueRef::Text(pointer)) = (context.get_raw(0), context.get_raw(1)) else {
        return Ok(Value::Null);
    };
    let parsed: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let found = parsed.as_ref().and_then(|json| json.pointer(std::str::from_utf8(pointer).ok()?));
    Ok(match found {
        None | Some(serde_json::Value::Null) => Value::Null,
        Some(serde_json::Value::String(text)) => Value::Text(text.clone()),
        Some(serde_json::Value::Bool(bool)) => Value::Integer(i64::from(*bool)),
        Some(serde_json::Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Integer(number),
            (None, Some(number)) => Value::Real(number),
            _ => Value::Text(number.to_string()),
        },
        Some(other) => Value::Text(other.to_string()),
    })
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
