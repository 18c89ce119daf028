//! Logs, on standard error only: standard output belongs to the protocol.

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` wins over the flag.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        // The protocol's own debug lines hold whole answers, and so captured bodies.
        _ => "debug,rmcp=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
