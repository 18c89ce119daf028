//! Which rules may match at all: found without looking at each.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use super::{host::HostKey, matcher::Matcher, pattern::Pattern, subject::Subject};

/// Literals shorter than this say too little to be worth a search.
const MIN_LITERAL_BYTES: usize = 3;

/// Looks rules up by what they cannot do without: a host, a domain, or a literal in the URL.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_host: HashMap<String, Vec<u32>>,
    by_domain: HashMap<String, Vec<u32>>,
    by_literal: Option<Literals>,
    /// Rules that have to be looked at each time.
    always: Vec<u32>,
}

#[derive(Debug)]
struct Literals {
    search: AhoCorasick,
    /// The rules of each literal, by the literal's number.
    rules: Vec<Vec<u32>>,
}

impl Index {
    /// Sorts rules, by their place in the order, under what finds them.
    pub(super) fn new<'m>(matchers: impl Iterator<Item = &'m Matcher>) -> Self {
        let mut index = Self::default();
        let mut literals: HashMap<String, Vec<u32>> = HashMap::new();
        for (at, when) in (0..).zip(matchers) {
            if let Some(found) = url_literals(when) {
                found.into_iter().for_each(|literal| literals.entry(literal).or_default().push(at));
            } else if !index.add_hosts(when, at) {
                index.always.push(at);
            }
        }
        index.add_literals(literals);
        index
    }

    /// Sorts a rule under its hosts, if each of them can be looked up.
    fn add_hosts(&mut self, when: &Matcher, at: u32) -> bool {
        let keys: Option<Vec<_>> = when.host.iter().map(super::host::HostMatch::key).collect();
        let Some(keys) = keys.filter(|keys| !keys.is_empty()) else { return false };
        for key in keys {
            let rules = match key {
                HostKey::Exact(host) => self.by_host.entry(host.to_owned()),
                HostKey::Below(domain) => self.by_domain.entry(domain.to_owned()),
            };
            rules.or_default().push(at);
        }
        true
    }

    /// One automaton for all literals. Where it would be too large, their rules are looked at each time.
    fn add_literals(&mut self, literals: HashMap<String, Vec<u32>>) {
        if literals.is_empty() {
            return;
        }
        let (texts, rules): (Vec<_>, Vec<_>) = literals.into_iter().unzip();
        match AhoCorasick::builder().ascii_case_insensitive(true).build(&texts) {
            Ok(search) => self.by_literal = Some(Literals { search, rules }),
            Err(_) => self.always.extend(rules.into_iter().flatten()),
        }
    }

    /// The rules that may match, in their order, each once.
    pub(super) fn candidates(&self, on: &Subject<'_>) -> Vec<u32> {
        let mut found = self.always.clone();
        if let Some(rules) = self.by_host.get(&on.host) {
            found.extend(rules);
        }
        if !self.by_domain.is_empty() {
            let mut rest = on.host.as_str();
            while let Some((_, domain)) = rest.split_once('.') {
                found.extend(self.by_domain.get(domain).into_iter().flatten());
                rest = domain;
            }
        }
        if let Some(literals) = &self.by_literal {
            for hit in literals.search.find_overlapping_iter(on.url()) {
                found.extend(&literals.rules[hit.pattern().as_usize()]);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Texts of which each matching URL holds one, in whatever case. The path and the host are parts of the URL.
fn url_literals(when: &Matcher) -> Option<Vec<String>> {
    let all = |patterns: &mut dyn Iterator<Item = &Pattern>| -> Option<Vec<String>> {
        let literals: Option<Vec<_>> = patterns
            .map(|pattern| pattern.required_literal().filter(|literal| literal.len() >= MIN_LITERAL_BYTES))
            .map(|literal| literal.map(std::borrow::Cow::into_owned))
            .collect();
        literals.filter(|literals| !literals.is_empty())
    };
    all(&mut when.path.iter()).or_else(|| all(&mut when.url.iter().map(super::matcher::UrlMatch::pattern)))
}
