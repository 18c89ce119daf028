//! Parent proxies: what requests go through on their way to their origin.
//!
//! [`url`] and [`environment`] read what the user wrote, [`routes`] decides which request goes through which parent, and
//! [`reach`] gets a connection there: a tunnel by CONNECT or SOCKS, or one to the parent itself, which takes cleartext
//! requests in absolute form. docs/design/014-roads-to-upstream.md tells why.

mod environment;
mod reach;
mod routes;
mod socks;
mod url;

pub use environment::EnvironmentError;
pub(crate) use reach::{reach, said, tunnel};
pub(crate) use routes::Carried;
pub use routes::{Route, RouteTable, RouteTarget, TooManyRoutes, UpstreamRoutes};
pub use url::{ParentProxy, ParentScheme, ParseParentProxyError};
