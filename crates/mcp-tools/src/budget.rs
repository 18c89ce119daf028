//! Answers within a budget of bytes: whole items are dropped, never halves, and the answer says how to go on.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The call that gives what this answer left out.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct NextCall {
    /// The tool to call.
    pub(crate) tool: String,
    /// Its arguments: those of this call, further on.
    pub(crate) arguments: serde_json::Map<String, Value>,
}

impl NextCall {
    /// Names `tool` with `arguments`, of which those that are null were not given.
    pub(crate) fn new(tool: &str, arguments: Value) -> Self {
        let mut arguments = match arguments {
            Value::Object(map) => map,
            _ => serde_json::Map::new(),
        };
        arguments.retain(|_, value| !value.is_null());
        Self { tool: tool.to_owned(), arguments }
    }
}

/// Keeps the items that fit into `budget` bytes of JSON together, at least the first, and says whether any was
/// dropped. The rest of the answer is taken to need 1 KiB.
pub(crate) fn fit<T: Serialize>(items: Vec<T>, budget: usize) -> (Vec<T>, bool) {
    let mut room = budget.saturating_sub(1024);
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        let size = json_bytes(&item) + 1;
        if size > room && !kept.is_empty() {
            return (kept, true);
        }
        room = room.saturating_sub(size);
        kept.push(item);
    }
    (kept, false)
}

/// The length of a value's compact JSON.
pub(crate) fn json_bytes<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What does not serialise here does not serialise in the answer either, where it becomes an error.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Cuts a text for display at `max_chars` characters, with an ellipsis in the place of the rest.
pub(crate) fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Cuts a text so that its JSON, quotes included, has at most `max_bytes`, with an ellipsis in the place of the rest.
pub(crate) fn cut_json(text: &str, max_bytes: usize) -> String {
    const QUOTES_AND_ELLIPSIS: usize = 2 + '…'.len_utf8();
    if json_bytes(&text) <= max_bytes {
        return text.to_owned();
    }
    let mut room = max_bytes.saturating_sub(QUOTES_AND_ELLIPSIS);
    let fits = |(_, character): &(usize, char)| {
        let escaped = json_bytes(character) - 2;
        let fits = escaped <= room;
        room = room.saturating_sub(escaped);
        fits
    };
    let end = text.char_indices().take_while(fits).last().map_or(0, |(at, last)| at + last.len_utf8());
    format!("{}…", &text[..end])
}

/// As [`cut_json`], but a URL ends at the end of a part: half a credential would not be known as one.
pub(crate) fn cut_url_json(url: &str, max_bytes: usize) -> String {
    let cut = cut_json(url, max_bytes);
    let Some(kept) = cut.strip_suffix('…').filter(|_| cut != url) else { return cut };
    let host = kept.find("://").map_or(0, |at| at + 3);
    match kept[host..].rfind(['/', '?', '&', '=']) {
        Some(end) => format!("{}…", &kept[..=host + end]),
        None => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_beyond_the_budget_are_dropped_whole() {
        let items: Vec<String> = (0..100).map(|n| format!("{n:098}")).collect();
        let (kept, dropped) = fit(items.clone(), 1024 + 1010);
        assert_eq!((kept.len(), dropped), (10, true));
        let (kept, dropped) = fit(items.clone(), 1 << 20);
        assert_eq!((kept.len(), dropped), (100, false));
        let (kept, dropped) = fit(items, 0);
        assert_eq!((kept.len(), dropped), (1, true));
    }

    #[test]
    fn cutting_for_json_counts_what_is_written() {
        assert_eq!(cut_json("abcdef", 8), "abcdef");
        assert_eq!(cut_json("abcdefg", 8), "abc…");
        assert_eq!(cut_json("\"\"\"\"\"", 10), "\"\"…");
        assert_eq!(cut_json("äöüäöü", 9), "äö…");
        assert_eq!(cut_json("abcdef", 0), "…");
    }

    #[test]
    fn a_url_is_cut_between_its_parts() {
        let url = "https://a.test/one/two?token=secret&page=1";
        assert_eq!(cut_url_json(url, 100), url);
        for (bytes, want) in [
            (44, url),
            (43, "https://a.test/one/two?token=secret&…"),
            (41, "https://a.test/one/two?token=secret&…"),
            (38, "https://a.test/one/two?token=…"),
            (24, "https://a.test/one/…"),
            (15, "https://a.…"),
        ] {
            assert_eq!(cut_url_json(url, bytes), want, "{bytes}");
        }
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
