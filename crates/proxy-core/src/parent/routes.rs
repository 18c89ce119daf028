//! Which requests go through which parent proxy: a table that is edited while traffic passes.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use super::url::{ParentProxy, ParseParentProxyError};
use crate::targets::{NoProxy, TargetPattern};

/// Host routes a table may have.
const MAX_HOST_ROUTES: usize = 1_000;

/// Where requests go next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// To their origin.
    Direct,
    /// To this parent proxy.
    Parent(ParentProxy),
}

impl FromStr for RouteTarget {
    type Err = ParseParentProxyError;

    /// Reads `direct`, or the URL of a parent proxy.
    fn from_str(text: &str) -> Result<Self, ParseParentProxyError> {
        match text.trim() {
            text if text.eq_ignore_ascii_case("direct") => Ok(Self::Direct),
            text => text.parse().map(Self::Parent),
        }
    }
}

/// `direct`, or the parent's URL without credentials.
impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Parent(parent) => parent.fmt(f),
        }
    }
}

/// Where requests go next, and which of them go straight to their origin all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Where they go.
    pub target: RouteTarget,
    /// The exceptions, which go to their origin.
    pub no_proxy: NoProxy,
}

impl Route {
    /// A route without exceptions.
    #[must_use]
    pub fn new(target: RouteTarget) -> Self {
        Self { target, no_proxy: NoProxy::default() }
    }

    /// The same with these exceptions.
    #[must_use]
    pub fn except(self, no_proxy: NoProxy) -> Self {
        Self { no_proxy, ..self }
    }

    fn parent(&self, host: &str, port: u16) -> Option<&ParentProxy> {
        match &self.target {
            RouteTarget::Parent(parent) if !self.no_proxy.matches(host, port) => Some(parent),
            _ => None,
        }
    }
}

/// One state of [`UpstreamRoutes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteTable {
    /// The routes of hosts, in the order they are asked: the first that matches decides, its exceptions too.
    pub hosts: Vec<(TargetPattern, Route)>,
    /// For cleartext requests that no host route is for, where those go another way than the rest.
    pub cleartext: Option<Route>,
    /// For everything else. Without one it goes straight to its origin.
    pub all: Option<Route>,
}

/// What goes to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// A request in cleartext.
    Request,
    /// A tunnel, or TLS.
    Tunnel,
}

impl RouteTable {
    /// Where a target's requests go.
    pub(crate) fn parent(&self, host: &str, port: u16, carried: Carried) -> Option<&ParentProxy> {
        let of_host =
            self.hosts.iter().find(|(target, _)| target.matches(host, port)).map(|(_, route)| route);
        let cleartext = self.cleartext.as_ref().filter(|_| carried == Carried::Request);
        of_host.or(cleartext).or(self.all.as_ref())?.parent(host, port)
    }

    /// The pattern of the host route that decides for a target, if one does; `host` comes without brackets.
    #[must_use]
    pub fn deciding(&self, host: &str, port: u16) -> Option<&TargetPattern> {
        self.hosts.iter().find(|(target, _)| target.matches(host, port)).map(|(target, _)| target)
    }
}

/// The parent proxies of a proxy: a handle that is cheap to clone, whose edits take effect at once.
///
/// An edit puts a new table in the place of the old one. It cuts no connection: exchanges under way go on as they are,
/// and from then on a request is sent on a connection that was made by the table as it is now.
#[derive(Clone, Debug, Default)]
pub struct UpstreamRoutes(Arc<RwLock<Arc<RouteTable>>>);

/// A table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keep more than 1000 host routes; remove some, or use a pattern like `*.example.com` for many hosts")]
pub struct TooManyRoutes;

impl UpstreamRoutes {
    /// A table without parent proxies.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table as it is now.
    #[must_use]
    pub fn table(&self) -> Arc<RouteTable> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a whole table in the place of what is there.
    pub fn replace(&self, table: RouteTable) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Says where everything goes that no host route is for.
    pub fn set(&self, route: Route) {
        self.edit(|table| {
            table.cleartext = None;
            table.all = Some(route);
        });
    }

    /// Lets everything go straight to its origin that no host route is for. Gives the route that was there.
    pub fn clear(&self) -> Option<Route> {
        self.edit(|table| {
            table.cleartext = None;
            table.all.take()
        })
    }

    /// Says where the requests of some hosts go: in the place of the route of the same pattern, else after the others.
    ///
    /// # Errors
    /// When there are 1,000 already.
    pub fn set_host(&self, target: TargetPattern, route: Route) -> Result<(), TooManyRoutes> {
        self.edit(|table| {
            if let Some(known) = table.hosts.iter_mut().find(|(known, _)| *known == target) {
                known.1 = route;
            } else if table.hosts.len() == MAX_HOST_ROUTES {
                return Err(TooManyRoutes);
            } else {
                table.hosts.push((target, route));
            }
            Ok(())
        })
    }

    /// Removes the route of exactly this pattern, and gives it.
    pub fn remove_host(&self, target: &TargetPattern) -> Option<Route> {
        self.edit(|table| {
            let at = table.hosts.iter().position(|(known, _)| known == target)?;
            Some(table.hosts.remove(at).1)
        })
    }

    pub(crate) fn parent(&self, host: &str, port: u16, carried: Carried) -> Option<ParentProxy> {
        self.table().parent(host, port, carried).cloned()
    }

    /// Makes the next table out of the present one. Edits wait for each other, readers for nobody's work.
    fn edit<T>(&self, edit: impl FnOnce(&mut RouteTable) -> T) -> T {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        edit(Arc::make_mut(&mut current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(target: &str) -> Route {
        Route::new(target.parse().unwrap())
    }

    fn pattern(text: &str) -> TargetPattern {
        text.parse().unwrap()
    }

    fn parent(routes: &UpstreamRoutes, host: &str, port: u16) -> String {
        routes.parent(host, port, Carried::Tunnel).map_or("direct".to_owned(), |parent| parent.to_string())
    }

    #[test]
    fn the_first_host_route_that_matches_decides() {
        let routes = UpstreamRoutes::new();
        routes.set(route("http://all").except("*.plain.test".parse().unwrap()));
        routes.set_host(pattern("a.test:8443"), route("socks5://a")).unwrap();
        routes.set_host(pattern("*.test"), route("http://tests").except("x.test".parse().unwrap())).unwrap();
        routes.set_host(pattern("b.test"), route("http://never")).unwrap();
        routes.set_host(pattern("10.0.0.0/8"), route("direct")).unwrap();
        for (host, port, expected) in [
            ("a.test", 8443, "socks5://a:1080"),
            ("A.TEST", 443, "http://tests:80"),
            ("b.test", 443, "http://tests:80"),
            ("x.test", 443, "direct"),
            ("a.plain.test", 443, "http://tests:80"),
            ("10.1.2.3", 443, "direct"),
            ("example.com", 443, "http://all:80"),
        ] {
            assert_eq!(parent(&routes, host, port), expected, "{host}:{port}");
        }
        assert_eq!(routes.table().deciding("b.test", 1).unwrap().to_string(), "*.test");
    }

    #[test]
    fn edits_replace_and_remove_by_pattern() {
        let routes = UpstreamRoutes::new();
        let before = routes.table();
        routes.set_host(pattern("a.test"), route("http://one")).unwrap();
        routes.clone().set_host(pattern("A.test"), route("http://two")).unwrap();
        assert_eq!(parent(&routes, "a.test", 1), "http://two:80");
        assert_eq!(before.hosts.len(), 0, "a table once taken stays as it is");
        assert!(routes.remove_host(&pattern("*.test")).is_none());
        assert_eq!(routes.remove_host(&pattern("a.test")), Some(route("http://two")));
        routes.set(route("http://all"));
        assert_eq!(routes.clear(), Some(route("http://all")));
        assert_eq!(parent(&routes, "a.test", 1), "direct");
    }

    #[test]
    fn a_table_is_bounded() {
        let routes = UpstreamRoutes::new();
        for port in 1..=1_000 {
            routes.set_host(pattern(&format!("*:{port}")), route("direct")).unwrap();
        }
        assert_eq!(routes.set_host(pattern("x"), route("direct")), Err(TooManyRoutes));
        assert_eq!(routes.set_host(pattern("*:1000"), route("http://p")), Ok(()));
    }

    #[test]
    fn cleartext_requests_may_go_another_way() {
        let routes = UpstreamRoutes::new();
        routes.replace(RouteTable { cleartext: Some(route("http://plain")), ..RouteTable::default() });
        assert!(routes.parent("x", 1, Carried::Request).is_some());
        assert!(routes.parent("x", 1, Carried::Tunnel).is_none());
    }
}
