//! Which rules may match at all: found without looking at each.

use std::{borrow::Cow, collections::HashMap};

use aho_corasick::AhoCorasick;

use super::{
    host::{HostKey, HostMatch},
    matcher::{Matcher, Presence, UrlMatch},
    pattern::Pattern,
    subject::Subject,
};

/// Literals shorter than this say too little to be worth a search.
const MIN_LITERAL_BYTES: usize = 3;

/// Looks rules up by what they cannot do without: a host, a domain, a literal in the URL, or a field of the request.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_host: HashMap<String, Vec<u32>>,
    by_domain: HashMap<String, Vec<u32>>,
    by_literal: Option<Literals>,
    /// By a field's name, in lower case.
    by_field: HashMap<String, Values>,
    /// Rules that have to be looked at each time.
    always: Vec<u32>,
}

/// Rules that need a field.
#[derive(Debug, Default)]
struct Values {
    /// With one value and no other.
    only: HashMap<String, Vec<u32>>,
    /// With whatever value.
    any: Vec<u32>,
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
            let mut add = |found: Option<Vec<String>>| {
                let found = found.unwrap_or_default();
                let any = !found.is_empty();
                found.into_iter().for_each(|literal| literals.entry(literal).or_default().push(at));
                any
            };
            let found = add(url_literals(when))
                || index.add_hosts(when, at)
                || add(certain(when.host.iter().map(HostMatch::required_literal)))
                || index.add_field(when, at);
            if !found {
                index.always.push(at);
            }
        }
        index.add_literals(literals);
        index
    }

    /// Sorts a rule under its hosts, if each of them can be looked up.
    fn add_hosts(&mut self, when: &Matcher, at: u32) -> bool {
        let keys: Option<Vec<_>> = when.host.iter().map(HostMatch::key).collect();
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

    /// Sorts a rule under a field that it needs, if there is one.
    fn add_field(&mut self, when: &Matcher, at: u32) -> bool {
        let only = |presence: &Presence| match presence {
            Presence::Fits(pattern) => pattern.only_text().map(str::to_owned),
            Presence::Is(_) => None,
        };
        let needed = || when.headers.iter().filter(|(_, presence)| **presence != Presence::Is(false));
        let telling = needed().find(|(_, presence)| only(presence).is_some());
        let Some((name, presence)) = telling.or_else(|| needed().next()) else { return false };
        let values = self.by_field.entry(name.to_ascii_lowercase()).or_default();
        match only(presence) {
            Some(value) => values.only.entry(value).or_default().push(at),
            None => values.any.push(at),
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
        if !self.by_field.is_empty() {
            self.find_by_fields(on, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Index {
    fn find_by_fields(&self, on: &Subject<'_>, found: &mut Vec<u32>) {
        for field in &on.asked.head.headers {
            let name = field.name_text().to_ascii_lowercase();
            let Some(values) = self.by_field.get(&name) else { continue };
            found.extend(&values.any);
            if let Ok(value) = std::str::from_utf8(&field.value) {
                found.extend(values.only.get(value).into_iter().flatten());
            }
        }
    }
}

/// Texts of which each matching URL holds one, in whatever case. The path and the host are parts of the URL.
fn url_literals(when: &Matcher) -> Option<Vec<String>> {
    certain(when.path.iter().map(Pattern::required_literal))
        .or_else(|| certain(when.url.iter().map(|url: &UrlMatch| url.pattern().required_literal())))
}

/// The literals of a list of patterns of which one has to hold, if each has one that tells something.
fn certain<'p>(literals: impl Iterator<Item = Option<Cow<'p, str>>>) -> Option<Vec<String>> {
    let all: Option<Vec<_>> = literals
        .map(|literal| literal.filter(|literal| literal.len() >= MIN_LITERAL_BYTES).map(Cow::into_owned))
        .collect();
    all.filter(|all| !all.is_empty())
}
