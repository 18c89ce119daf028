//! The tool families. Each is one router; [`crate::catalogue`] adds them together.

pub(crate) mod bodies;
pub(crate) mod capture;
pub(crate) mod diff;
pub(crate) mod figures;
pub(crate) mod handshakes;
pub(crate) mod har;
pub(crate) mod history;
pub(crate) mod interceptors;
pub(crate) mod pauses;
pub(crate) mod proxy;
pub(crate) mod query;
pub(crate) mod replay;
pub(crate) mod rules;
pub(crate) mod server;
pub(crate) mod session_bodies;
pub(crate) mod session_care;
pub(crate) mod sessions;
pub(crate) mod toolsets;
pub(crate) mod traffic;
pub(crate) mod upstream;
pub(crate) mod values;
pub(crate) mod window;
