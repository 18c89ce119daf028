//! Declarations and signatures out of rustdoc's pages.

use std::collections::BTreeSet;

/// The page of one item.
pub(super) struct Page<'p> {
    page: &'p str,
}

/// Trait implementations the compiler adds that are part of what users rely on.
const MARKERS: [&str; 2] = ["Send", "Sync"];

impl<'p> Page<'p> {
    pub(super) fn new(page: &'p str) -> Self {
        Self { page }
    }

    /// The declaration, the inherent items, and the traits that are implemented.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .declaration()
            .map(plain)
            .unwrap_or_default()
            .replace("]pub ", "]\npub ")
            .lines()
            .map(str::to_owned)
            .collect();
        for header in self.inherent() {
            let indent = if header.starts_with("impl") { "" } else { "    " };
            let words: Vec<String> = plain(header).split_whitespace().map(str::to_owned).collect();
            let line = words.join(" ").replace("( ", "(").replace(", )", ")");
            lines.push(format!("{indent}{line}"));
        }
        let mut traits: Vec<String> = self.traits().map(plain).collect();
        traits.extend(self.markers().map(plain));
        traits.sort();
        lines.extend(traits);
        lines.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    /// The names of types and traits that are neither ours nor the standard library's.
    pub(super) fn foreign(&self) -> BTreeSet<String> {
        let mut known: BTreeSet<&str> = between(self.page, "id=\"variant.", "\"").collect();
        known.extend(between(self.page, "<title>", " ").map(|name| name.rsplit("::").next().unwrap_or(name)));
        // Associated types are named where they are bound.
        known.extend(["Self", "Item", "Output"]);
        let fragments = self.declaration().into_iter().chain(self.inherent()).chain(self.traits());
        let mut foreign = BTreeSet::new();
        for fragment in fragments {
            foreign.extend(linked_elsewhere(fragment));
            let unlinked =
                plain(&without(&without(fragment, "<a ", "</a>"), "<span class=\"comment\"", "</span>"));
            let unlinked = without(&unlinked, "//", "\n");
            let words = unlinked.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let types =
                words.filter(|word| word.len() > 1 && word.starts_with(|first: char| first.is_uppercase()));
            foreign
                .extend(types.filter(|word| !known.contains(word) && !is_constant(word)).map(str::to_owned));
        }
        foreign
    }

    fn declaration(&self) -> Option<&'p str> {
        between(self.page, "<pre class=\"rust item-decl\"><code>", "</code></pre>").next()
    }

    /// A part of the page: from its list to the next section.
    fn part(&self, id: &str) -> &'p str {
        let begin = self.page.find(&format!("<div id=\"{id}\">"));
        let rest = begin.and_then(|begin| self.page.get(begin..)).unwrap_or_default();
        let end = rest.find("<h2 id=").unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn inherent(&self) -> impl Iterator<Item = &'p str> {
        headers(self.part("implementations-list"))
    }

    fn traits(&self) -> impl Iterator<Item = &'p str> {
        // What a derive leaves for the compiler's own use is nothing to rely on.
        headers(self.part("trait-implementations-list"))
            .filter(|header| header.starts_with("impl") && !header.contains("StructuralPartialEq"))
    }

    fn markers(&self) -> impl Iterator<Item = &'p str> {
        let is_told = |header: &&str| MARKERS.iter().any(|marker| header.contains(&format!(">{marker}</a>")));
        headers(self.part("synthetic-implementations-list")).filter(is_told)
    }
}

/// Where each item's page is, and what it is called, from the list of all.
pub(super) fn items(all: &str) -> Vec<(String, String)> {
    let list = all.find("<h3 id=").and_then(|begin| all.get(begin..)).unwrap_or_default();
    let mut items: Vec<(String, String)> = between(list, "<li><a href=\"", "</a>")
        .filter_map(|item| item.split_once("\">"))
        .filter(|(link, _)| !link.contains("://"))
        .map(|(link, name)| (link.to_owned(), name.to_owned()))
        .collect();
    items.sort_by(|a, b| a.1.cmp(&b.1));
    items.dedup();
    items
}

/// The version of rustdoc that made a page.
pub(super) fn version(page: &str) -> String {
    let version = between(page, "data-rustdoc-version=\"", " ").next();
    format!("rustdoc {}", version.unwrap_or("of an unknown version"))
}

fn headers(part: &str) -> impl Iterator<Item = &str> {
    between(part, "class=\"code-header\">", "</h").filter(|header| !header.is_empty())
}

/// Crates that a fragment links to at docs.rs.
fn linked_elsewhere(fragment: &str) -> impl Iterator<Item = String> {
    between(fragment, "href=\"https://docs.rs/", "\"").filter_map(|link| {
        let (krate, path) = link.split_once('/')?;
        let file = path.rsplit('/').next()?;
        // `struct.Name.html`, or the anchor of something in it.
        file.split('.').nth(1).map(|name| format!("{krate}::{name}"))
    })
}

fn is_constant(word: &str) -> bool {
    word.chars().all(|letter| letter.is_uppercase() || letter.is_numeric() || letter == '_')
}

/// Every stretch of `text` between `begin` and the next `end`.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> impl Iterator<Item = &'t str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end).map(|(found, _)| found))
}

/// `text` without every stretch from `begin` to the next `end`, both included.
fn without(text: &str, begin: &str, end: &str) -> String {
    let mut parts = text.split(begin);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once(end).map_or("", |(_, rest)| rest));
    }
    kept
}

/// HTML as the text it shows.
fn plain(html: &str) -> String {
    let html = without(html, "<summary", "</summary>");
    let text = without(&html, "<", ">");
    let text = text.replace(" \u{24d8}", "");
    ["&lt;=<", "&gt;=>", "&quot;=\"", "&#39;='", "&nbsp;= ", "&amp;=&"].iter().fold(text, |text, pair| {
        let (entity, shown) = pair.split_once('=').unwrap_or_default();
        text.replace(entity, shown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r##"<title>Door in house - Rust</title>
<pre class="rust item-decl"><code>pub struct Door { <span class="comment">/* Private fields */</span> }</code></pre>
<h2 id="implementations">Implementations</h2><div id="implementations-list"><section><h3 class="code-header">impl <a class="struct" href="struct.Door.html">Door</a></h3>
<h4 class="code-header">pub fn <a href="#method.open">open</a>(&amp;self, key: Key&lt;<a class="struct" href="https://doc.rust-lang.org/x.html">String</a>&gt;) -&gt; Self</h4></section></div>
<h2 id="trait-implementations">Traits</h2><div id="trait-implementations-list"><h3 class="code-header">impl <a href="x">Debug</a> for <a href="y">Door</a></h3><h4 class="code-header">fn fmt(&amp;self)</h4></div>
<h2 id="synthetic">Auto</h2><div id="synthetic-implementations-list"><h3 class="code-header">impl <a href="x">Send</a> for <a href="y">Door</a></h3><h3 class="code-header">impl <a href="x">Freeze</a> for <a href="y">Door</a></h3></div>"##;

    #[test]
    fn declarations_signatures_and_traits_are_read() {
        assert_eq!(
            Page::new(PAGE).lines(),
            [
                "pub struct Door { /* Private fields */ }",
                "impl Door",
                "    pub fn open(&self, key: Key<String>) -> Self",
                "impl Debug for Door",
                "impl Send for Door",
            ]
        );
    }

    #[test]
    fn types_that_nobody_links_are_foreign() {
        assert_eq!(Page::new(PAGE).foreign().into_iter().collect::<Vec<_>>(), ["Key"]);
        let linked = r#"<pre class="rust item-decl"><code>fn f(a: <a href="https://docs.rs/tls/1.0/tls/struct.Config.html">Config</a>)</code></pre>"#;
        assert_eq!(Page::new(linked).foreign().into_iter().collect::<Vec<_>>(), ["tls::Config"]);
    }
}
