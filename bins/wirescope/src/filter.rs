//! Which exchanges of a session: the flags that lists and exports share.

use std::str::FromStr;

use capture_store::{Condition, Query, Seq, SessionId, StatusFilter};
use clap::Args;

/// Flags that choose exchanges. All given must hold.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArguments {
    /// Only those a filter finds, like 'host:*.example.com status:>=400 -path:/health since:10m' (docs/filter.md).
    #[arg(long, short = 'f', value_name = "FILTER", value_parser = condition, allow_hyphen_values = true)]
    filter: Option<Condition>,
    /// Only this method; may be repeated.
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Only hosts that contain this.
    #[arg(long, value_name = "TEXT")]
    host: Option<String>,
    /// Only URLs that contain this.
    #[arg(long, value_name = "TEXT")]
    url: Option<String>,
    /// Only this status: 404, a class like 4xx, or a span like 400-499.
    #[arg(long, value_name = "STATUS")]
    status: Option<Status>,
    /// Only responses whose content type contains this.
    #[arg(long = "type", value_name = "TEXT")]
    content_type: Option<String>,
    /// Only those whose URL, header fields or decoded bodies contain this.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only those that failed.
    #[arg(long)]
    failed: bool,
    /// Only those after this exchange.
    #[arg(long, value_name = "ID")]
    after: Option<Seq>,
    /// Only those before this exchange.
    #[arg(long, value_name = "ID")]
    before: Option<Seq>,
}

impl FilterArguments {
    /// The question to ask of the store.
    pub(crate) fn query(&self, session: SessionId) -> Query {
        let mut query = Query::default();
        query.session = Some(session);
        query.methods.clone_from(&self.method);
        query.host_contains.clone_from(&self.host);
        query.url_contains.clone_from(&self.url);
        query.status = self.status.map(|Status(filter)| filter);
        query.content_type_contains.clone_from(&self.content_type);
        query.text.clone_from(&self.text);
        query.failed = self.failed;
        query.condition.clone_from(&self.filter);
        query.after = self.after;
        query.before = self.before;
        query
    }
}

/// Reads a filter; where it is wrong the error says the column.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    capture_store::parse(text).map_err(|error| format!("column {}: {}", error.column, error.message))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(StatusFilter);

impl FromStr for Status {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = "not a status; write one like 404, a class like 4xx, or a span like 400-499";
        let number = |text: &str| -> Result<u16, Self::Err> {
            let canonical = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| canonical && *number >= 100).ok_or(refused)
        };
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let first = number(&format!("{class}00"))?;
            return Ok(Self(StatusFilter::Between(first, first + 99)));
        }
        Ok(Self(match text.split_once('-') {
            Some((first, last)) => StatusFilter::Between(number(first)?, number(last)?),
            None => StatusFilter::Exactly(number(text)?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_a_class_or_a_span() {
        for (text, filter) in [
            ("404", StatusFilter::Exactly(404)),
            ("4xx", StatusFilter::Between(400, 499)),
            ("5XX", StatusFilter::Between(500, 599)),
            ("200-299", StatusFilter::Between(200, 299)),
        ] {
            assert_eq!(text.parse(), Ok(Status(filter)), "{text}");
        }
        for bad in ["", "40", "4x", "0xx", "abc", "200-", "-200", "+20", "99999", "44xx"] {
            assert!(bad.parse::<Status>().is_err(), "{bad}");
        }
    }
}
