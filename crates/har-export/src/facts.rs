//! What a file says beside its entries: pages, the tool and browser that made it, and what tools add.
//!
//! Kept with the session on import, and written again on export. Pages of several sessions in one file keep apart: their ids
//! have the session in front then.

use capture_store::{SessionId, Store};
use serde_json::{Map, Value, json};

use crate::{clock, error::Error, extra::EXTRA, tree};

/// What we write as the maker of a file.
const CREATOR: &str = "wirescope";

/// What to keep of a log that was read, as JSON; `None` where it says nothing that we would not. Pages that are none are
/// left out, and said in `notes`.
pub(crate) fn kept(mut log: Map<String, Value>, notes: &mut Vec<String>) -> Option<String> {
    let ours = log.get("creator").and_then(|creator| creator.get("name")).is_some_and(|name| name == CREATOR);
    let earlier = log.remove(EXTRA);
    if ours {
        log.remove("creator");
        if let Some(creator) = earlier.as_ref().and_then(|extra| extra.get("creator")) {
            log.insert("creator".to_owned(), creator.clone());
        }
    }
    if let Some(pages) = log.remove("pages") {
        let pages = valid_pages(pages, notes);
        if !pages.is_empty() {
            log.insert("pages".to_owned(), Value::Array(pages));
        }
    }
    log.retain(|name, value| name.starts_with('_') || !value.is_null());
    (!log.is_empty()).then(|| Value::Object(log).to_string())
}

/// Pages with all that HAR asks of one; what tools leave out is empty.
fn valid_pages(pages: Value, notes: &mut Vec<String>) -> Vec<Value> {
    let Value::Array(pages) = pages else {
        if !pages.is_null() {
            notes.push("its pages are no list and were left out".to_owned());
        }
        return Vec::new();
    };
    let total = pages.len();
    let valid: Vec<_> = pages.into_iter().filter_map(valid_page).collect();
    if valid.len() < total {
        notes.push(format!(
            "{} of its {total} pages have no id or no time and were left out",
            total - valid.len()
        ));
    }
    valid
}

fn valid_page(mut page: Value) -> Option<Value> {
    let began = page.get("startedDateTime")?.as_str().and_then(clock::parse_iso)?;
    let has_offset =
        page["startedDateTime"].as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok());
    let members = page.as_object_mut()?;
    let id = members.get("id").filter(|id| id.is_string() || id.is_number())?;
    if let Value::Number(number) = id {
        let id = number.to_string();
        members.insert("id".to_owned(), id.into());
    }
    if !has_offset {
        members.insert("startedDateTime".to_owned(), clock::iso(began).into());
    }
    if !members.get("title").is_some_and(Value::is_string) {
        members.insert("title".to_owned(), "".into());
    }
    let timings = members.entry("pageTimings").or_insert_with(|| json!({}));
    match timings.as_object_mut() {
        Some(timings) => timings.retain(|name, value| {
            name.starts_with('_')
                || (name == "comment" && value.is_string())
                || value.as_f64().is_some_and(|millis| millis >= -1.0)
        }),
        None => *timings = json!({}),
    }
    Some(page)
}

/// What goes beside the entries of a file that is written.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The members of the log, but for its version, creator and entries.
    pub(crate) members: Map<String, Value>,
    /// Whether the ids of pages have their session in front.
    pub(crate) by_session: bool,
}

/// Gathers what sessions say of themselves: of one, all it says; of several, their pages.
pub(crate) fn gather(store: &Store, session: Option<SessionId>) -> Result<Beside, Error> {
    let mut beside = Beside::default();
    let sessions = match session {
        Some(session) => vec![session],
        None => store.sessions()?.iter().map(|info| info.id).rev().collect(),
    };
    let mut said = Vec::new();
    for session in sessions {
        if let Some(Value::Object(log)) = store.foreign_facts(session)?.as_deref().and_then(tree::parse) {
            said.push((session, log));
        }
    }
    beside.by_session = session.is_none() && said.len() > 1;
    let mut pages = Vec::new();
    for (session, mut log) in said {
        let Some(Value::Array(own)) = log.remove("pages") else {
            beside.take_rest(log);
            continue;
        };
        for mut page in own {
            if beside.by_session
                && let Some(id) = page.get("id").and_then(Value::as_str)
            {
                page["id"] = session_page(session, id).into();
            }
            pages.push(page);
        }
        beside.take_rest(log);
    }
    beside.members.insert("pages".to_owned(), Value::Array(pages));
    Ok(beside)
}

impl Beside {
    fn take_rest(&mut self, mut log: Map<String, Value>) {
        if self.by_session {
            return;
        }
        if let Some(creator) = log.remove("creator") {
            self.members.insert(EXTRA.to_owned(), json!({ "creator": creator }));
        }
        let is_browser = |value: &Value| {
            ["name", "version"].into_iter().all(|name| value.get(name).is_some_and(Value::is_string))
        };
        for (name, value) in log {
            let is_valid = match name.as_str() {
                "browser" => is_browser(&value),
                "comment" => value.is_string(),
                "entries" | "version" | "creator" => false,
                _ => true,
            };
            if is_valid {
                self.members.insert(name, value);
            }
        }
    }
}

/// The id of a page among those of several sessions.
pub(crate) fn session_page(session: SessionId, id: &str) -> String {
    format!("{session}:{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(log: Value) -> (Option<Value>, Vec<String>) {
        let Value::Object(log) = log else { panic!() };
        let mut notes = Vec::new();
        let kept = kept(log, &mut notes);
        (kept.map(|text| serde_json::from_str(&text).unwrap()), notes)
    }

    #[test]
    fn what_a_tool_says_is_kept_and_what_we_say_is_not() {
        let theirs = json!({"creator": {"name": "a browser", "version": "1"}, "_x": 1, "comment": null});
        assert_eq!(
            kept_of(theirs).0,
            Some(json!({"creator": {"name": "a browser", "version": "1"}, "_x": 1}))
        );
        let ours = json!({"creator": {"name": "wirescope", "version": "1"}, "pages": []});
        assert_eq!(kept_of(ours), (None, vec![]));
        let again = json!({"creator": {"name": "wirescope", "version": "1"}, "_wirescope": {"creator": {"name": "a"}}});
        assert_eq!(kept_of(again).0, Some(json!({"creator": {"name": "a"}})));
    }

    #[test]
    fn pages_are_made_whole_or_left_out_with_a_note() {
        let pages = json!({"pages": [
            {"id": "p1", "startedDateTime": "2026-03-02T09:15:00Z", "title": "T", "pageTimings": {"onLoad": null, "_x": 1, "onContentLoad": -1}, "_y": 2},
            {"id": 2, "startedDateTime": "2026-03-02T09:15:00"},
            {"startedDateTime": "2026-03-02T09:15:00Z"}, 7]});
        let (kept, notes) = kept_of(pages);
        assert_eq!(
            kept.unwrap()["pages"],
            json!([
                {"id": "p1", "startedDateTime": "2026-03-02T09:15:00Z", "title": "T", "pageTimings": {"_x": 1, "onContentLoad": -1}, "_y": 2},
                {"id": "2", "startedDateTime": "2026-03-02T09:15:00.000Z", "title": "", "pageTimings": {}}])
        );
        assert_eq!(notes, ["2 of its 4 pages have no id or no time and were left out"]);
        assert_eq!(kept_of(json!({"pages": {}})).1.len(), 1);
    }
}
