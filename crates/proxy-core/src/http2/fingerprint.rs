//! The fingerprint of a client's HTTP/2, in Akamai's form.

use std::fmt::Write;

/// Priorities kept for it; more are a flood.
const MAX_PRIORITIES: usize = 32;

/// Settings kept for it; there are nine in all registries.
const MAX_SETTINGS: usize = 32;

/// What a client sends before its first request, and the order of that one's pseudo-fields: `1:65536;4:6291456|15663105|0|m,a,s,p`
/// (Akamai, Passive Fingerprinting of HTTP/2 Clients, 2017).
#[derive(Debug, Default)]
pub(super) struct Fingerprint {
    settings: Vec<(u16, u32)>,
    has_settings: bool,
    window_update: Option<u32>,
    priorities: Vec<[u32; 4]>,
    text: Option<String>,
}

impl Fingerprint {
    /// Takes in the first SETTINGS.
    pub(super) fn settings(&mut self, settings: impl Iterator<Item = (u16, u32)>) {
        if !self.has_settings {
            self.settings = settings.take(MAX_SETTINGS).collect();
            self.has_settings = true;
        }
    }

    /// Takes in a WINDOW_UPDATE of the connection; the first counts.
    pub(super) fn window_update(&mut self, increment: u32) {
        if self.text.is_none() {
            self.window_update.get_or_insert(increment);
        }
    }

    /// Takes in a PRIORITY.
    pub(super) fn priority(&mut self, stream: u32, exclusive: bool, depends_on: u32, weight: u8) {
        if self.text.is_none() && self.priorities.len() < MAX_PRIORITIES {
            self.priorities.push([stream, u32::from(exclusive), depends_on, u32::from(weight) + 1]);
        }
    }

    /// Takes in the names of the first request's fields, and with them it is whole.
    pub(super) fn request<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>) {
        if self.text.is_some() {
            return;
        }
        let order: Vec<&str> = names
            .filter_map(|name| match name {
                b":method" => Some("m"),
                b":authority" => Some("a"),
                b":scheme" => Some("s"),
                b":path" => Some("p"),
                _ => None,
            })
            .take(8)
            .collect();
        let settings: Vec<String> = self.settings.iter().map(|(id, value)| format!("{id}:{value}")).collect();
        let priorities: Vec<String> = self
            .priorities
            .iter()
            .map(|[stream, exclusive, on, weight]| format!("{stream}:{exclusive}:{on}:{weight}"))
            .collect();
        let mut text = settings.join(";");
        let written = match self.window_update {
            Some(increment) => write!(text, "|{increment}|"),
            None => write!(text, "|00|"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        text.push_str(if priorities.is_empty() { "0" } else { "" });
        text.push_str(&priorities.join(","));
        text.push('|');
        text.push_str(&order.join(","));
        self.text = Some(text);
    }

    /// The fingerprint, once the first request came.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROME: [&[u8]; 5] = [b":method", b":authority", b":scheme", b":path", b"accept"];

    #[test]
    fn known_clients_have_their_known_fingerprints() {
        // As published for Chrome 120.
        let mut chrome = Fingerprint::default();
        assert_eq!(chrome.text(), None);
        chrome.settings([(1, 65_536), (2, 0), (4, 6_291_456), (6, 262_144)].into_iter());
        chrome.window_update(15_663_105);
        chrome.request(CHROME.into_iter());
        chrome.window_update(1);
        chrome.request([&b":path"[..]].into_iter());
        assert_eq!(chrome.text(), Some("1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p"));

        // As published for Firefox 98.
        let mut firefox = Fingerprint::default();
        firefox.settings([(1, 65_536), (4, 131_072), (5, 16_384)].into_iter());
        firefox.window_update(12_517_377);
        for (stream, on, weight) in [(3, 0, 200), (5, 0, 100), (7, 0, 0), (9, 7, 0), (11, 3, 0), (13, 0, 240)]
        {
            firefox.priority(stream, false, on, weight);
        }
        firefox.request([&b":method"[..], b":path", b":authority", b":scheme"].into_iter());
        let expected = "1:65536;4:131072;5:16384|12517377|3:0:0:201,5:0:0:101,7:0:0:1,9:0:7:1,11:0:3:1,13:0:0:241|m,p,a,s";
        assert_eq!(firefox.text(), Some(expected));

        let mut bare = Fingerprint::default();
        bare.settings(std::iter::empty());
        bare.request(CHROME.into_iter());
        assert_eq!(bare.text(), Some("|00|0|m,a,s,p"));
    }
}
