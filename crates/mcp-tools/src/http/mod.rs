//! MCP over Streamable HTTP: one endpoint, `/mcp`, for many clients at once.
//!
//! What guards it: connections, request heads, bodies and sessions are bounded; `Host` and `Origin` are checked, so that a page
//! in a browser cannot reach a server on this machine; and with a [`BearerToken`], which listening beyond loopback needs,
//! every request has to show it. There is no TLS: put a proxy that has it in front where that matters.

mod gate;
mod listener;
mod sessions;
mod token;

pub use listener::{HttpError, HttpListener, HttpOptions};
pub use token::{BearerToken, TokenError};
