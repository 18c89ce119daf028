//! What was told of an exchange, borrowed from whoever keeps it, and what records say of it.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proxy_core::{
    ClientFacts, Ending, Headers, Outcome, RequestHead, ResponseHead, ResponseSource, RuleHit, UpstreamFacts,
};

use crate::{
    detail::{BodyState, DetailRef, PeerRef},
    record::{ExchangeKind, ExchangeState},
};

/// Rules told of one exchange; more that apply to it are not kept.
pub(crate) const MAX_RULES: usize = 1_000;

/// What was told of one exchange so far, but for the bytes of its bodies and messages.
pub(crate) struct Told<'a> {
    pub(crate) started_at: SystemTime,
    pub(crate) client: &'a Arc<ClientFacts>,
    pub(crate) request: &'a RequestHead,
    pub(crate) request_trailers: Option<&'a Headers>,
    pub(crate) request_ended: bool,
    pub(crate) upstream: Option<&'a Arc<UpstreamFacts>>,
    pub(crate) informational: Vec<&'a ResponseHead>,
    pub(crate) response: Option<(&'a ResponseHead, ResponseSource)>,
    pub(crate) response_trailers: Option<&'a Headers>,
    /// Bytes of the request's body that passed.
    pub(crate) request_bytes: u64,
    pub(crate) messages: u64,
    pub(crate) tunnel_bytes: (u64, u64),
    pub(crate) rules: Cow<'a, [RuleHit]>,
    pub(crate) ending: Option<(&'a Ending, Duration)>,
}

impl<'a> Told<'a> {
    /// Begins with a request.
    pub(crate) fn new(
        client: &'a Arc<ClientFacts>,
        request: &'a RequestHead,
        started_at: SystemTime,
    ) -> Self {
        Self {
            started_at,
            client,
            request,
            request_trailers: None,
            request_ended: false,
            upstream: None,
            informational: Vec::new(),
            response: None,
            response_trailers: None,
            request_bytes: 0,
            messages: 0,
            tunnel_bytes: (0, 0),
            rules: Cow::Borrowed(&[]),
            ending: None,
        }
    }

    /// What kind of exchange it turned out to be.
    pub(crate) fn kind(&self) -> ExchangeKind {
        let outcome = self.ending.map(|(ending, _)| &ending.outcome);
        let switching = self.response.filter(|(head, _)| head.status == 101);
        let websocket = switching.is_some_and(|(head, _)| head.headers.has_token("upgrade", "websocket"));
        if self.messages > 0 || websocket {
            ExchangeKind::WebSocket
        } else if outcome == Some(&Outcome::Upgrade) || switching.is_some() {
            ExchangeKind::Upgrade
        } else if outcome == Some(&Outcome::Tunnel) || self.request.method == http::Method::CONNECT {
            ExchangeKind::Tunnel
        } else {
            ExchangeKind::Http
        }
    }

    /// How long it took, once it has ended.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let (ending, at) = self.ending?;
        let total = ending.timings.total;
        Some(if total.is_zero() { at } else { total })
    }

    /// How it stands.
    pub(crate) fn state(&self) -> ExchangeState {
        match self.ending.map(|(ending, _)| &ending.outcome) {
            None => ExchangeState::Open,
            Some(Outcome::Mock) => ExchangeState::Mock,
            Some(Outcome::Upgrade) => ExchangeState::Upgrade,
            Some(Outcome::Tunnel) => ExchangeState::Tunnel,
            Some(Outcome::Failed(failure)) => ExchangeState::Failed(failure.clone()),
            // The enum can grow; an ending that is no failure passed a response whole.
            Some(_) => ExchangeState::Response,
        }
    }

    /// Encodes the rest of it without what it shares with others of its connections.
    pub(crate) fn encode_apart(&self, out: &mut Vec<u8>) {
        self.with_detail(&[], |detail| detail.encode_apart(out));
    }

    /// What is encoded of it, with the numbers of upstream's certificates.
    pub(crate) fn with_detail(&self, upstream_certificates: &[u64], encode: impl FnOnce(&DetailRef<'_>)) {
        let ended = self.ending.map(|(ending, _)| ending);
        let failed = ended.is_none_or(|ending| matches!(ending.outcome, Outcome::Failed(_)));
        let no_fields = Headers::new();
        encode(&DetailRef {
            request: self.request,
            request_trailers: self.request_trailers.unwrap_or(&no_fields),
            request_body: BodyState {
                complete: self.request_ended || (self.request_bytes == 0 && !failed),
                identity: false,
            },
            informational: self.informational.clone(),
            response: self.response.map(|(head, _)| head),
            response_source: self.response.map(|(_, source)| source),
            response_trailers: self.response_trailers.unwrap_or(&no_fields),
            response_body: BodyState { complete: !failed, identity: false },
            client: Some(PeerRef::of_client(self.client)),
            upstream: self.upstream.map(|upstream| PeerRef::of_upstream(upstream, upstream_certificates)),
            tunnel: self.client.tunnel.as_deref(),
            timings: ended.map(|ending| ending.timings).unwrap_or_default(),
            sizes: ended.map(|ending| ending.sizes).unwrap_or_default(),
            tunnel_bytes: self.tunnel_bytes,
            comment: None,
            rules: &self.rules,
            foreign: None,
        });
    }
}
