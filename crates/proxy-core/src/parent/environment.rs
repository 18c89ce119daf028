//! Parent proxies as the environment names them: `http_proxy` and its kin.

use super::{
    routes::{Route, RouteTable, RouteTarget},
    url::ParseParentProxyError,
};
use crate::targets::{NoProxy, ParseTargetError};

/// A variable of the environment cannot be used. Shows no value: there may be a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use the environment variable {variable}")]
pub struct EnvironmentError {
    variable: &'static str,
    source: EnvironmentCause,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
enum EnvironmentCause {
    Parent(#[from] ParseParentProxyError),
    Target(#[from] ParseTargetError),
}

impl RouteTable {
    /// Reads `http_proxy` (for cleartext requests), `https_proxy` (for tunnels and TLS), `all_proxy` (for both) and
    /// `no_proxy`, each in lower case first and then in upper case, as curl has it. A proxy without a scheme is an
    /// `http://` one. Nothing reads the environment but `variable`.
    ///
    /// # Errors
    /// When one of them is no URL of a parent proxy, or no list.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let read = |lower: &'static str, upper: &'static str| {
            [lower, upper].into_iter().find_map(|name| {
                variable(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value))
            })
        };
        let no_proxy: NoProxy = match read("no_proxy", "NO_PROXY") {
            None => NoProxy::default(),
            Some((variable, list)) => {
                list.parse().map_err(|error| refused(variable, ParseTargetError::into(error)))?
            }
        };
        let route = |found: Option<(&'static str, String)>| {
            let Some((variable, url)) = found else { return Ok(None) };
            let url = if url.contains("://") { url } else { format!("http://{}", url.trim()) };
            let parent =
                url.parse().map_err(|error| refused(variable, ParseParentProxyError::into(error)))?;
            Ok(Some(Route::new(RouteTarget::Parent(parent)).except(no_proxy.clone())))
        };
        let both = || read("all_proxy", "ALL_PROXY");
        let cleartext = route(read("http_proxy", "HTTP_PROXY").or_else(both))?;
        let all = route(read("https_proxy", "HTTPS_PROXY").or_else(both))?;
        let direct = || Some(Route::new(RouteTarget::Direct));
        let cleartext = if cleartext == all { None } else { cleartext.or_else(direct) };
        Ok(Self { hosts: Vec::new(), cleartext, all })
    }
}

fn refused(variable: &'static str, source: EnvironmentCause) -> EnvironmentError {
    EnvironmentError { variable, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parent::routes::{Carried, UpstreamRoutes};

    fn read(variables: &[(&str, &str)]) -> Result<UpstreamRoutes, EnvironmentError> {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        let routes = UpstreamRoutes::new();
        routes.replace(RouteTable::from_environment(value)?);
        Ok(routes)
    }

    #[test]
    fn each_variable_is_for_its_kind_of_traffic() {
        for (variables, request, tunnel) in [
            (&[][..], None, None),
            (&[("http_proxy", "p:1")], Some("http://p:1"), None),
            (&[("https_proxy", "socks5://p:1")], None, Some("socks5://p:1")),
            (
                &[("HTTP_PROXY", "http://a"), ("HTTPS_PROXY", "http://a")],
                Some("http://a:80"),
                Some("http://a:80"),
            ),
            (
                &[("http_proxy", "a"), ("HTTP_PROXY", "b"), ("ALL_PROXY", "c")],
                Some("http://a:80"),
                Some("http://c:80"),
            ),
            (&[("all_proxy", "c"), ("no_proxy", "other, x")], None, None),
            (&[("all_proxy", "c"), ("http_proxy", " ")], Some("http://c:80"), Some("http://c:80")),
        ] {
            let routes = read(variables).unwrap();
            let through = |carried| routes.parent("x", 1, carried).map(|parent| parent.to_string());
            assert_eq!(through(Carried::Request).as_deref(), request, "{variables:?}");
            assert_eq!(through(Carried::Tunnel).as_deref(), tunnel, "{variables:?}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named_and_not_shown() {
        let error = read(&[("HTTPS_PROXY", "http://u:hunter2@p/x")]).unwrap_err();
        assert_eq!(error.to_string(), "use the environment variable HTTPS_PROXY");
        assert!(!format!("{error:?}").contains("hunter2"));
        let cause = std::error::Error::source(&error).unwrap();
        assert!(cause.to_string().contains("path") && cause.source().is_none(), "{cause}");
        assert!(read(&[("no_proxy", "http://x")]).is_err());
    }
}
