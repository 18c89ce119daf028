//! What decides how upstream is reached, as the builder was told.

use std::sync::Arc;

use crate::{
    address::AddressPolicy,
    dial::Dialler,
    engine::Engine,
    limits::{Limits, Timeouts},
    parent::UpstreamRoutes,
    proxy::ProxyBuilder,
    resolve::{ResolveOverride, Resolver},
    upstreams::{Pool, Spoken},
};

/// Whose upstream connections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamSharing {
    /// Those of the client connection that caused them: they end with it.
    #[default]
    PerClient,
    /// Everybody's: an unused one serves the next client's request. For load generators. It trades isolation for
    /// speed: an origin that ties something to a connection sees clients mixed, and on a shared HTTP/2 connection a client
    /// that does not read can hold up the others. Connections that carried NTLM or Negotiate, which prove a user for a
    /// whole connection, or to hosts that are shown a client certificate, are never shared.
    Shared,
}

/// How upstream is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roads {
    pub(crate) routes: UpstreamRoutes,
    pub(crate) resolver: Resolver,
    pub(crate) policy: AddressPolicy,
    pub(crate) sharing: UpstreamSharing,
    /// Where shared connections rest.
    pub(crate) shared: Option<Arc<Pool>>,
    /// What was agreed with upstreams whose connections are shared.
    pub(crate) spoken: Arc<Spoken>,
}

impl Roads {
    /// Ready to be used within these bounds.
    pub(crate) fn ready(mut self, limits: &Limits, timeouts: &Timeouts) -> Self {
        if self.sharing == UpstreamSharing::Shared {
            self.shared = Some(Pool::new(limits.max_idle_shared_upstreams, timeouts.upstream_idle));
        }
        self
    }
}

impl Engine {
    /// Finds and connects to origins.
    pub(crate) fn dialler(&self) -> Dialler<'_> {
        let Roads { resolver, policy, .. } = &self.roads;
        Dialler { timeouts: &self.timeouts, guard: &self.guard, resolver, policy: Some(policy) }
    }
}

impl ProxyBuilder {
    /// Sends requests through parent proxies as this table says, now and after every edit of it.
    pub fn upstream_routes(mut self, routes: UpstreamRoutes) -> Self {
        self.roads.routes = routes;
        self
    }

    /// Says where a host is, whatever the system's resolver says. Of two for the same host the later one counts.
    pub fn resolve(mut self, host: ResolveOverride) -> Self {
        self.roads.resolver.push(host);
        self
    }

    /// Says which upstream addresses may be dialled; every one without this.
    pub fn address_policy(mut self, policy: AddressPolicy) -> Self {
        self.roads.policy = policy;
        self
    }

    /// Says whose upstream connections are; [`UpstreamSharing::PerClient`] without this.
    pub fn upstream_sharing(mut self, sharing: UpstreamSharing) -> Self {
        self.roads.sharing = sharing;
        self
    }
}
