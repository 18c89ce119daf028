#![doc = include_str!("../README.md")]
//!
//! What enters: a listening address, a [`CertificateAuthority`], and whoever wants to look ([`Observer`]) or
//! change ([`Interceptor`]). What leaves: every exchange, relayed as it was received and told as a run of
//! [`Event`]s that ends exactly once. What it does not know: storage, HAR, MCP, command lines.

mod address;
mod ahead;
mod alarm;
pub mod body;
pub mod breakpoints;
mod ca;
mod calendar;
mod changes;
mod client;
mod client_hello;
mod coding;
mod connection;
mod crew;
mod cut;
mod detect;
mod dial;
mod engine;
pub mod error;
pub mod event;
mod exchange;
pub mod failure;
mod fingerprint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod head;
mod hosts;
mod http1;
mod http2;
pub mod interceptor;
mod leg;
pub mod limits;
mod linger;
mod listener;
pub mod observer;
mod opening;
mod parent;
mod peek;
mod process;
mod proxy;
mod resolve;
mod roads;
pub mod rules;
mod secure;
mod sender;
mod serve;
mod server_hello;
mod serving;
mod setup_page;
#[cfg(test)]
mod sizes;
mod socks;
mod targets;
mod tls;
mod tunnel;
mod unstalled;
mod upstreams;
mod websocket;
mod wire;

pub use address::AddressPolicy;
pub use body::{BodyTransformer, BodyWish, Unread, WholeBody};
pub use breakpoints::{BreakpointLimits, Breakpoints, PauseId, Paused, Resume};
pub use ca::CertificateAuthority;
pub use error::{Error, ErrorKind};
pub use event::{
    ClientFacts, ConnectionId, Direction, Ending, Event, EventKind, ExchangeId, ListenerKind, MessageKind,
    Outcome, ResponseSource, RuleHit, Sizes, Timings, TlsFacts, TlsFingerprint, UpstreamFacts,
    WebSocketMessage,
};
pub use failure::{Failure, FailureKind, Side};
pub use head::{Header, Headers, RequestHead, ResponseHead, Scheme};
pub use hosts::{HostPattern, ParseHostPatternError};
pub use interceptor::{Interceptor, Verdict};
pub use limits::{Limits, Timeouts};
pub use listener::{
    AddressRange, FurtherListener, HostField, Listener, OriginUrl, ParseAddressRangeError,
    ParseListenerError, ParseOriginUrlError, ParseProxyCredentialsError, ProxyCredentials,
};
pub use observer::{BoxFuture, Observer};
pub use parent::{
    EnvironmentError, ParentProxy, ParentScheme, ParseParentProxyError, Route, RouteTable, RouteTarget,
    TooManyRoutes, UpstreamRoutes,
};
pub use process::ClientProcess;
pub use proxy::{Proxy, ProxyBuilder, ProxyHandle};
pub use resolve::{ParseResolveOverrideError, ResolveOverride};
pub use roads::UpstreamSharing;
pub use rules::Rules;
pub use sender::{BodySource, SendBody, SendRequest, SendVersion, Sender, Sending, SentBody, SentResponse};
pub use serving::Drained;
pub use targets::{NoProxy, ParseTargetError, TargetPattern};
pub use tls::{
    AutoPassthrough, ClientCertificate, ClientCertificateFiles, KeyLog, ParseClientCertificateError,
    ParseTlsVersionError, TlsOptions, TlsVersion, TlsVersions, UpstreamTrust,
};
