//! A request as a curl command, within the bounds of an answer.

use std::io::{self, Write};

use capture_store::{Exchange, Store};
use traffic_analysis::render::{self, RenderError};

use crate::error::{ToolError, chain};

/// Bytes of a command at most; a longer one has a long body.
const MAX_BYTES: usize = 48 * 1024;

/// The command that sends an exchange's request again. Blocks.
pub(crate) fn command(store: &Store, exchange: &Exchange) -> Result<String, ToolError> {
    let mut out = Bounded(Vec::new());
    match render::curl(store, exchange, &mut out) {
        Ok(_) => Ok(String::from_utf8_lossy(&out.0).into_owned()),
        Err(RenderError::Write(_)) => {
            let seq = exchange.summary.seq;
            Err(ToolError::new("too_long", format!("as_curl: the body of {seq} makes the command too long"))
                .hint(format!("`wirescope export {seq} --format curl` writes it; or leave out as_curl")))
        }
        Err(error @ RenderError::NoSuchForm { .. }) => {
            Err(ToolError::invalid(format!("as_curl: failed to {}", chain(&error))).hint("leave out as_curl"))
        }
        Err(error) => Err(ToolError::new("body_unreadable", format!("failed to {}", chain(&error)))
            .hint("leave out as_curl")),
    }
}

/// Takes so many bytes, and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
