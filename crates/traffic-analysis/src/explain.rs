//! Why an exchange failed, or is missing: the cause for machines, what tells it, and what helps.
//!
//! [`exchange`] looks at one recorded exchange, [`missing`] at what is recorded of a host whose exchange is not there.
//! Both read the store and guess nothing they do not label: [`Certainty`] says how sure they are.

mod absent;
mod answer;
mod client;
mod failed;
mod seen;
mod words;

pub use absent::{Missing, missing};
pub use answer::ErrorBody;

use capture_store::{Error, Exchange, ExchangeKind, ExchangeState, Seq, Store};
use proxy_core::ResponseSource;

/// Why an exchange went as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The cause.
    pub cause: Cause,
    /// How sure that is.
    pub certainty: Certainty,
    /// The side at fault: `client`, `upstream`, `proxy`; `None` where none is.
    pub side: Option<&'static str>,
    /// The step that failed: `dns`, `connect`, `client_tls`, `upstream_tls`, `request`, `wait`, `response`, `rule`.
    pub phase: Option<&'static str>,
    /// The cause in one sentence.
    pub summary: String,
    /// What in the record says so, a line each.
    pub evidence: Vec<String>,
    /// What helps, the best first.
    pub fixes: Vec<String>,
    /// What the response's body says of the error, where it was answered with one.
    pub body: Option<ErrorBody>,
}

impl Explanation {
    fn new(cause: Cause, certainty: Certainty, summary: impl Into<String>) -> Self {
        Self {
            cause,
            certainty,
            side: None,
            phase: None,
            summary: summary.into(),
            evidence: Vec::new(),
            fixes: Vec::new(),
            body: None,
        }
    }

    fn at(mut self, side: &'static str, phase: &'static str) -> Self {
        self.side = Some(side);
        self.phase = Some(phase);
        self
    }

    fn because(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fixes.push(fix.into());
        self
    }
}

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// The record says so.
    Certain,
    /// The record says what hardly has another cause.
    Likely,
    /// One of several that the record leaves open.
    Possible,
}

impl Certainty {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// A cause, with a stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            /// Every cause there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

causes! {
    /// Nothing went wrong.
    None = "none";
    /// It goes on.
    InProgress = "in_progress";
    /// The client does not trust the CA.
    ClientDistrustsCa = "client_distrusts_ca";
    /// The client trusts the CA, but not for this host: it pins certificates.
    CertificatePinned = "certificate_pinned";
    /// The client left its handshake once it had seen the certificate, without a word.
    ClientLeftHandshake = "client_left_handshake";
    /// The client named no host in its hello, so the certificate may be for another.
    NoSni = "no_sni";
    /// The client ended the handshake with an alert.
    TlsAlert = "tls_alert";
    /// The handshake with the client failed otherwise.
    ClientTls = "client_tls";
    /// The tunnel was relayed undecrypted because its host is on the passthrough list.
    PassedThrough = "passed_through";
    /// The tunnel was relayed undecrypted because the client kept refusing the certificate.
    AutoPassedThrough = "auto_passed_through";
    /// The client is told to reach the host without the proxy.
    NoProxy = "no_proxy";
    /// The client is not led to the proxy at all.
    NotProxied = "not_proxied";
    /// The client speaks HTTP/3 with the host, past the proxy.
    Http3Bypass = "http3_bypass";
    /// The host is known, but this request was not made, or looks different.
    NotRequested = "not_requested";
    /// The name does not resolve.
    Dns = "dns";
    /// Upstream refused the connection.
    ConnectionRefused = "connection_refused";
    /// Upstream cannot be reached.
    Unreachable = "unreachable";
    /// Upstream did not accept in time.
    ConnectTimeout = "connect_timeout";
    /// Upstream's handshake took too long.
    UpstreamTlsTimeout = "upstream_tls_timeout";
    /// Upstream did not answer in time.
    ResponseTimeout = "response_timeout";
    /// Upstream stopped in the middle of its response.
    BodyTimeout = "body_timeout";
    /// The client was too slow.
    ClientTimeout = "client_timeout";
    /// The parent proxy could not be used, or refused.
    ParentRefused = "parent_refused";
    /// Upstream's certificate is not trusted.
    UpstreamUntrusted = "upstream_untrusted";
    /// Upstream's certificate is out of date.
    UpstreamExpired = "upstream_expired";
    /// Upstream's certificate is for another name.
    UpstreamWrongName = "upstream_wrong_name";
    /// The handshake with upstream failed otherwise.
    UpstreamTls = "upstream_tls";
    /// Upstream closed or reset.
    UpstreamClosed = "upstream_closed";
    /// Upstream sent no HTTP.
    UpstreamMalformed = "upstream_malformed";
    /// The client left.
    ClientLeft = "client_left";
    /// The client sent no HTTP.
    ClientMalformed = "client_malformed";
    /// The client may not use the proxy.
    ClientRefused = "client_refused";
    /// A rule answered, changed or ended it.
    Rule = "rule";
    /// A limit, a policy or the shutdown of the proxy.
    Proxy = "proxy";
    /// Upstream answered with an error.
    HttpError = "http_error";
    /// The recording does not say.
    Unknown = "unknown";
}

/// Explains a recorded exchange. Blocks on the disk; reads at most some hundred neighbours and 64 KiB of body.
///
/// # Errors
/// When it is not there, or the store cannot be read.
pub fn exchange(store: &Store, seq: Seq) -> Result<Explanation, Error> {
    let exchange = store.exchange(seq)?;
    let explained = match &exchange.summary.state {
        ExchangeState::Failed(failure) => failed::explain(store, &exchange, failure)?,
        ExchangeState::Open => open(&exchange),
        _ if exchange.summary.kind == ExchangeKind::Tunnel => client::undecrypted(&exchange),
        _ => answered(store, &exchange)?,
    };
    Ok(explained)
}

fn open(exchange: &Exchange) -> Explanation {
    let waits = match (&exchange.response, exchange.upstream.is_some()) {
        (Some(_), _) => "its response is still coming",
        (None, true) => "upstream was reached and has not answered yet",
        (None, false) => "no upstream connection stands yet; a rule may hold it at a breakpoint",
    };
    Explanation::new(Cause::InProgress, Certainty::Certain, format!("the exchange goes on: {waits}"))
        .fix("wait for its end, or look at proxy_list_paused where breakpoints are set")
}

/// An exchange that was answered: by upstream, by a rule, or by the proxy itself.
fn answered(store: &Store, exchange: &Exchange) -> Result<Explanation, Error> {
    let status = exchange.summary.status.unwrap_or_default();
    let body = answer::read(store, exchange)?;
    if exchange.response_source == Some(ResponseSource::Mock) {
        let mut told = ruled(exchange, format!("a rule answered with {status}, upstream was not asked"));
        told.body = body;
        return Ok(told);
    }
    if status < 400 {
        let summary = format!("nothing failed: it was answered with {status}");
        let mut told = Explanation::new(Cause::None, Certainty::Certain, summary);
        told.evidence.extend(rule_lines(exchange));
        return Ok(told);
    }
    let mut told = answer::explain(exchange, status, body.as_ref());
    told.body = body;
    Ok(told)
}

/// What a rule did.
fn ruled(exchange: &Exchange, summary: String) -> Explanation {
    let mut told = Explanation::new(Cause::Rule, Certainty::Certain, summary).at("proxy", "rule");
    told.evidence.extend(rule_lines(exchange));
    let names: Vec<&str> = exchange.rules.iter().map(|hit| hit.rule.as_str()).take(5).collect();
    match names.as_slice() {
        [] => told.fix("list the rules: one of them, or an interceptor, did it"),
        names => told.fix(format!("disable or change the rule: {}", names.join(", "))),
    }
}

/// What rules did to an exchange, a line each.
fn rule_lines(exchange: &Exchange) -> Vec<String> {
    let line = |hit: &proxy_core::RuleHit| match hit.changes.as_slice() {
        [] => format!("rule {} matched", hit.rule),
        changes => format!("rule {}: {}", hit.rule, words::cut(&changes.join("; "), 200)),
    };
    exchange.rules.iter().take(5).map(line).collect()
}
