//! A text in the bodies of a session, as proxy-mcp searches for it.

use capture_store::{SearchHit, Seq, SessionId, StatusFilter, Store};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        tool::schema_for_output,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    budget::{NextCall, cut, fit},
    catalogue::{Family, Reference},
    error::ToolError,
    scoped::filter,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::Success,
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "session_bodies",
    toolset: Toolset::Sessions,
    summary: "A text in the bodies of a session.",
    router,
    references: &[Reference::new(
        "proxy_search_session_bodies",
        "proxy-mcp",
        "newest first; looks through 20,000 exchanges where the reference stops after 200, and `next` goes on after that; all \
         kinds of text, zstd and other character encodings too; `skippedBinary` counts bodies that could not be looked through",
    )],
};

/// Characters of a snippet at most.
const MAX_SNIPPET: usize = 2_200;

fn router() -> ToolRouter<Toolbox> {
    Toolbox::session_bodies_router()
}

fn ten() -> u32 {
    10
}

fn scan() -> u32 {
    20_000
}

fn context() -> u32 {
    120
}

/// Which bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SearchIn {
    Response,
    Request,
    #[default]
    Both,
}

impl SearchIn {
    /// Whether a place of a hit is wanted, and in which message it is.
    fn message(self, field: &str) -> Option<&'static str> {
        match (field, self) {
            ("request.body", Self::Request | Self::Both) => Some("request"),
            ("response.body", Self::Response | Self::Both) => Some("response"),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SearchParams {
    /// The session, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// The text.
    #[schemars(length(min = 1, max = 1000))]
    text: String,
    /// Text the host contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    hostname_contains: Option<String>,
    /// Text the URL contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    url_contains: Option<String>,
    /// Method.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    method: Option<String>,
    /// Status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 999))]
    status_code: Option<u16>,
    /// Text the response's content type contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    content_type_contains: Option<String>,
    /// Which bodies.
    #[serde(default)]
    search_in: SearchIn,
    /// Whether case matters.
    #[serde(default)]
    case_sensitive: bool,
    /// Exchanges that match, at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
    /// Exchanges looked through at most.
    #[serde(default = "scan")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max_scan: u32,
    /// Characters around a match.
    #[serde(default = "context")]
    #[schemars(range(min = 1, max = 1000))]
    context_chars: u32,
    /// Filter: host:a.test status:>=500 since:10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    filter: Option<String>,
    /// Where an earlier search stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    before: Option<String>,
}

impl SearchParams {
    fn search(&self, session: SessionId) -> Result<capture_store::Search, ToolError> {
        let mut search = capture_store::Search::new(&self.text, Some(session));
        search.case_sensitive = self.case_sensitive;
        search.context_chars = self.context_chars as usize;
        let query = &mut search.filter;
        query.methods = self.method.iter().cloned().collect();
        query.host_contains.clone_from(&self.hostname_contains);
        query.url_contains.clone_from(&self.url_contains);
        query.status = self.status_code.map(StatusFilter::Exactly);
        query.content_type_contains.clone_from(&self.content_type_contains);
        query.condition = self.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        query.before = self.before.as_deref().map(str::parse::<Seq>).transpose()?;
        Ok(search)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    status: Success,
    query: String,
    /// Exchanges looked through.
    scanned: u64,
    /// Bodies that could not be looked through (not decodable, cut): a missing match proves nothing there.
    skipped_binary: u64,
    /// Always 0: exchanges without bodies count as looked through.
    skipped_no_body: u64,
    /// Matching bodies in this answer; all there are where `next` is absent and nothing came before.
    total_matches: usize,
    /// Newest first.
    matches: Vec<Match>,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

/// A body that has the text.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Match {
    exchange_id: String,
    seq: u64,
    url: String,
    method: String,
    status_code: Option<u16>,
    content_type: Option<String>,
    /// `request` or `response`.
    matched_in: &'static str,
    /// Always `full`: bodies are recorded whole.
    source: &'static str,
    /// The first three.
    snippets: Vec<Snippet>,
}

/// A place in a body.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Snippet {
    /// Byte offset in the decoded body.
    position: u64,
    /// The text around it, the match in brackets.
    context: String,
}

#[tool_router(router = session_bodies_router, vis = "pub(crate)")]
impl Toolbox {
    /// Find a text in a session's decoded bodies, newest first.
    #[tool(
        name = "proxy_search_session_bodies",
        title = "Search a session's bodies",
        annotations(read_only_hint = true, open_world_hint = false),
        output_schema = schema_for_output::<Found>()
    )]
    pub(crate) async fn proxy_search_session_bodies(
        &self,
        Parameters(params): Parameters<SearchParams>,
    ) -> Result<Json<Found>, ToolError> {
        let session: SessionId = params.session_id.parse()?;
        let search = params.search(session)?;
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            store.session(session)?;
            let walked = walk(&store, search, &params)?;
            let (kept, dropped) = fit(walked.found.clone(), budget);
            let next = if dropped {
                walked.found.get(kept.len() - 1).and_then(|kept| kept.first()).map(|one| Seq(one.seq))
            } else {
                walked.next
            };
            let matches: Vec<Match> = kept.into_iter().flatten().collect();
            Ok(Json(Found {
                status: Success::Success,
                query: params.text.clone(),
                scanned: walked.scanned,
                skipped_binary: walked.skipped,
                skipped_no_body: 0,
                total_matches: matches.len(),
                matches,
                next: next.map(|seq| {
                    let mut arguments = json!(params);
                    arguments["before"] = seq.to_string().into();
                    NextCall::new("proxy_search_session_bodies", arguments)
                }),
            }))
        })
        .await
    }
}

/// What a search came to.
struct Walked {
    /// For each exchange, its bodies that match.
    found: Vec<Vec<Match>>,
    scanned: u64,
    skipped: u64,
    next: Option<Seq>,
}

/// Searches until enough is found, or enough was looked through. What matches elsewhere than in a body is passed over.
fn walk(
    store: &Store,
    mut search: capture_store::Search,
    params: &SearchParams,
) -> Result<Walked, ToolError> {
    let mut walked = Walked { found: Vec::new(), scanned: 0, skipped: 0, next: None };
    loop {
        search.limit = params.limit as usize - walked.found.len();
        search.max_scan = u64::from(params.max_scan) - walked.scanned;
        let page = store.search(&search)?;
        walked.scanned += page.scanned;
        walked.skipped += page.skipped_bodies;
        let matches = page.hits.iter().map(|hit| matches(hit, params)).filter(|found| !found.is_empty());
        walked.found.extend(matches);
        walked.next = page.next;
        let enough =
            walked.found.len() >= params.limit as usize || walked.scanned >= u64::from(params.max_scan);
        if page.next.is_none() || enough {
            return Ok(walked);
        }
        search.filter.before = page.next;
    }
}

/// The bodies of an exchange that have the text.
fn matches(hit: &SearchHit, params: &SearchParams) -> Vec<Match> {
    let summary = &hit.exchange;
    let mut found: Vec<Match> = Vec::new();
    for place in &hit.places {
        let Some(message) = params.search_in.message(&place.field) else { continue };
        let context = marked(&place.snippet, &params.text, params.case_sensitive);
        let snippet = Snippet { position: place.position, context: cut(&context, MAX_SNIPPET) };
        if let Some(known) = found.iter_mut().find(|known| known.matched_in == message) {
            known.snippets.push(snippet);
            continue;
        }
        let content_type = match message {
            "request" => &summary.request_content_type,
            _ => &summary.response_content_type,
        };
        found.push(Match {
            exchange_id: summary.seq.to_string(),
            seq: summary.seq.0,
            url: cut(&summary.url, 500),
            method: summary.method.clone(),
            status_code: summary.status,
            content_type: content_type.clone(),
            matched_in: message,
            source: "full",
            snippets: vec![snippet],
        });
    }
    found
}

/// A snippet with the match in brackets, where it stands there as it was asked for.
fn marked(snippet: &str, text: &str, case_sensitive: bool) -> String {
    let fold = |text: &str| if case_sensitive { text.to_owned() } else { text.to_ascii_lowercase() };
    match fold(snippet).find(&fold(text)) {
        Some(at) => {
            let end = at + text.len();
            format!("{}[{}]{}", &snippet[..at], &snippet[at..end], &snippet[end..])
        }
        None => snippet.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_stands_in_brackets() {
        for (snippet, text, case_sensitive, want) in [
            ("a Token b", "token", false, "a [Token] b"),
            ("a Token b", "token", true, "a Token b"),
            ("grün Ü x", "ü", false, "gr[ü]n Ü x"),
            ("a \\u00fc b", "ü", false, "a \\u00fc b"),
        ] {
            assert_eq!(marked(snippet, text, case_sensitive), want);
        }
    }
}
