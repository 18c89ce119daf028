//! An exchange as one row: in the live table, in lists, in lines.

use capture_store::{ExchangeKind, ExchangeState, ExchangeSummary};
use console::style;

use crate::{
    table::{Column, Table},
    text,
};

/// The columns of every list of exchanges.
const COLUMNS: [Column; 9] = [
    Column::Left("id"),
    Column::Left("time"),
    Column::Left("method"),
    Column::Left("status"),
    Column::Wide("host"),
    Column::Wide("path"),
    Column::Wide("type"),
    Column::Right("size"),
    Column::Right("time taken"),
];

/// What a list shows of an exchange; every part is harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    time: String,
    pub(crate) method: String,
    pub(crate) status: String,
    pub(crate) host: String,
    pub(crate) path: String,
    /// The content type, or what failed.
    pub(crate) kind: String,
    pub(crate) size: String,
    taken: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    Refused,
    Failed,
    Open,
}

impl Row {
    pub(crate) fn new(summary: &ExchangeSummary) -> Self {
        Self { time: text::time_of_day(summary.started_at), ..Self::untimed(summary) }
    }

    /// Without the time of day, which costs as much as all else.
    fn untimed(summary: &ExchangeSummary) -> Self {
        let default_port = if summary.scheme == "https" { 443 } else { 80 };
        let host = if summary.port == default_port {
            summary.host.clone()
        } else {
            format!("{}:{}", summary.host, summary.port)
        };
        let tunnel = summary.kind == ExchangeKind::Tunnel;
        Self {
            id: summary.seq.to_string(),
            time: String::new(),
            method: text::harmless(&summary.method).into_owned(),
            status: status(summary),
            host: text::harmless(&host).into_owned(),
            path: if tunnel { "-".to_owned() } else { text::harmless(&summary.target).into_owned() },
            kind: text::harmless(&kind(summary)).into_owned(),
            size: if summary.kind == ExchangeKind::Http {
                text::size(summary.response_body_bytes)
            } else {
                "-".to_owned()
            },
            taken: summary.duration.map_or_else(|| "…".to_owned(), text::duration),
            outcome: outcome(summary),
        }
    }

    /// An exchange as one line for whoever reads a pipe, with the time in full.
    pub(crate) fn line(summary: &ExchangeSummary) -> String {
        let at = text::timestamp(summary.started_at);
        let Self { id, method, status, host, path, kind, size, taken, .. } = Self::untimed(summary);
        format!("{at}  {id}  {method}  {status}  {host}  {path}  {kind}  {size}  {taken}")
    }

    fn cells(self) -> Vec<String> {
        // Without colour where stdout is no terminal: console sees to it.
        let status = match self.outcome {
            Outcome::Good => style(self.status).green(),
            Outcome::Refused => style(self.status).yellow(),
            Outcome::Failed => style(self.status).red(),
            Outcome::Open => style(self.status).dim(),
        };
        vec![
            self.id,
            self.time,
            self.method,
            status.to_string(),
            self.host,
            self.path,
            self.kind,
            self.size,
            self.taken,
        ]
    }
}

/// A table of exchanges.
pub(crate) fn table<'a>(summaries: impl IntoIterator<Item = &'a ExchangeSummary>) -> Table<'static> {
    let mut table = Table::new(COLUMNS);
    for summary in summaries {
        table.add(Row::new(summary).cells());
    }
    table
}

fn status(summary: &ExchangeSummary) -> String {
    match (summary.status, &summary.state) {
        (Some(status), ExchangeState::Failed(_)) => format!("{status}!"),
        (Some(status), _) => status.to_string(),
        (None, ExchangeState::Failed(_)) => "failed".to_owned(),
        (None, ExchangeState::Tunnel) => "tunnel".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

/// What failed, else what it was, else the response's media type without its parameters.
fn kind(summary: &ExchangeSummary) -> String {
    if let ExchangeState::Failed(failure) = &summary.state {
        return failure.kind.to_string();
    }
    match summary.kind {
        ExchangeKind::WebSocket => format!("websocket, {}", text::count(summary.messages, "message")),
        ExchangeKind::Upgrade => "upgrade".to_owned(),
        ExchangeKind::Tunnel => "not decrypted".to_owned(),
        _ => {
            let kind = summary.response_content_type.as_deref().unwrap_or("-");
            kind.split(';').next().unwrap_or(kind).trim().to_owned()
        }
    }
}

fn outcome(summary: &ExchangeSummary) -> Outcome {
    match (&summary.state, summary.status) {
        (ExchangeState::Failed(_), _) => Outcome::Failed,
        (ExchangeState::Open, _) => Outcome::Open,
        (_, Some(400..)) => Outcome::Refused,
        _ => Outcome::Good,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, SystemTime};

    use capture_store::Exchange;
    use proxy_core::{Failure, FailureKind, Headers, RequestHead, Scheme};

    use super::*;

    /// A GET that goes on.
    pub(crate) fn exchange(authority: &str, target: &str) -> ExchangeSummary {
        let request = RequestHead {
            method: "GET".parse().unwrap(),
            scheme: Scheme::Https,
            authority: authority.to_owned(),
            target: target.to_owned(),
            version: http::Version::HTTP_11,
            headers: Headers::new(),
        };
        Exchange::new(request, SystemTime::UNIX_EPOCH + Duration::from_secs(1)).summary
    }

    /// One that failed.
    pub(crate) fn failed(authority: &str, kind: FailureKind) -> ExchangeSummary {
        let mut summary = exchange(authority, "/");
        summary.state = ExchangeState::Failed(Failure::new(kind, "in detail"));
        summary
    }

    fn line(summary: &ExchangeSummary) -> String {
        Row::line(summary)
    }

    #[test]
    fn line_has_every_part_and_nothing_that_acts_on_a_terminal() {
        let mut summary = exchange("example.com:8443", "/a\x1b[2J?b");
        summary.status = Some(200);
        summary.state = ExchangeState::Response;
        summary.response_content_type = Some("text/html; charset=utf-8".to_owned());
        summary.response_body_bytes = 1_500;
        summary.duration = Some(Duration::from_millis(12));
        let id = summary.seq;
        assert_eq!(
            line(&summary),
            format!(
                "1970-01-01T00:00:01.000Z  {id}  GET  200  example.com:8443  /a\\x1b[2J?b  text/html  1.5 kB  12 ms"
            )
        );
    }

    #[test]
    fn failures_tunnels_and_open_ones_look_unlike_responses() {
        let mut refused = failed("example.com", FailureKind::ConnectionRefused);
        assert!(line(&refused).contains("  failed  example.com  /  upstream refused the connection  "));
        refused.status = Some(502);
        assert!(line(&refused).contains("  502!  "));
        let mut tunnel = exchange("example.com:443", "example.com:443");
        (tunnel.kind, tunnel.state) = (ExchangeKind::Tunnel, ExchangeState::Tunnel);
        assert!(line(&tunnel).contains("  tunnel  example.com  -  not decrypted  -  "), "{}", line(&tunnel));
        assert!(line(&exchange("a", "/")).ends_with("  GET  -  a  /  -  0 B  …"));
    }
}
