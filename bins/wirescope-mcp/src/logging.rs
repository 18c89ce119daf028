//! Logs, on standard error and to clients that want them: standard output belongs to the protocol.

use std::fmt::Write as _;

use mcp_tools::{LogFeed, LogLevel};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// Crates whose lines clients are sent. The protocol's own would tell of themselves for ever.
const OURS: [&str; 7] = [
    "wirescope_mcp",
    "mcp_tools",
    "proxy_core",
    "capture_store",
    "har_export",
    "client_setup",
    "traffic_analysis",
];

/// Bytes of one line to a client; longer ones are cut.
const MAX_LINE: usize = 2_000;

/// Starts logging. `RUST_LOG` wins over the flag, on standard error; clients are sent what is of level info or above.
pub(crate) fn start(verbose: u8, feed: LogFeed) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        // The protocol's own debug lines hold whole answers, and so captured bodies.
        _ => "debug,rmcp=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_filter(filter);
    let ours = Targets::new().with_targets(OURS.map(|name| (name, LevelFilter::INFO)));
    tracing_subscriber::registry().with(stderr).with(ToClients(feed).with_filter(ours)).init();
}

/// Hands lines to the clients' feed.
struct ToClients(LogFeed);

impl<S: Subscriber> tracing_subscriber::Layer<S> for ToClients {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if !self.0.is_read() {
            return;
        }
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warning,
            Level::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        let mut line = Line::default();
        event.record(&mut line);
        self.0.send(level, metadata.target(), &line.0);
    }
}

/// An event as one line: the message, then its fields.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if self.0.len() > MAX_LINE {
            return;
        }
        let text = format!("{value:?}");
        let text: String = text.chars().take(MAX_LINE).collect();
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{text}{rest}")
        } else {
            write!(self.0, " {}={text}", field.name())
        };
    }
}
