//! What is changed in requests, as flags.

use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use http::{HeaderName, HeaderValue};
use traffic_analysis::replay::{Changes, Target};

use crate::failure::Usage;

/// Flags that change what is sent.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Changes")]
pub(crate) struct ChangeArguments {
    /// Send everything to this scheme, host and port, with this path in front: `https://staging.example.com`.
    #[arg(long, value_name = "URL")]
    target: Option<Target>,
    /// Put VALUE in the place of `{{NAME}}` in URLs, field values and bodies; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Set a header field, or take it out with `NAME:`; may be repeated.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, Option<String>)>,
    /// Set a query parameter, or take it out by its name alone; may be repeated.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parameter)]
    param: Vec<(String, Option<String>)>,
    /// Replace a text by another in URLs, field values and bodies; may be repeated.
    #[arg(long, value_name = "FROM=TO", value_parser = pair)]
    replace: Vec<(String, String)>,
}

impl ChangeArguments {
    /// What they say.
    pub(crate) fn changes(&self) -> Result<Changes> {
        let mut changes = Changes::default();
        changes.target.clone_from(&self.target);
        changes.headers.clone_from(&self.header);
        changes.parameters.clone_from(&self.param);
        changes.replacements.clone_from(&self.replace);
        for (name, value) in &self.set {
            if changes.variables.insert(name.clone(), value.clone()).is_some() {
                return Err(Usage::error(format!("use --set {name}: it is there twice; name it once")));
            }
        }
        Ok(changes)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("no `=` with something before it; write one like token=abc".to_owned()),
    }
}

fn parameter(text: &str) -> Result<(String, Option<String>), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("no name; write one like page=2, or page to take it out".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((text.to_owned(), None)),
    }
}

fn header(text: &str) -> Result<(String, Option<String>), String> {
    let refused = || "not a field; write one like 'X-Env: test', or 'X-Env:' to take it out".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(refused)?;
    let (name, value) = (name.trim(), value.trim());
    HeaderName::from_str(name).map_err(|_| refused())?;
    HeaderValue::from_str(value).map_err(|_| refused())?;
    Ok((name.to_owned(), (!value.is_empty()).then(|| value.to_owned())))
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostAndPort(pub(crate) String, pub(crate) u16);

impl FromStr for HostAndPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match proxy_core::head::split_authority(text) {
            (host, Some(port)) if !host.is_empty() && port > 0 => Ok(Self(host.to_owned(), port)),
            _ => Err("not a host and port; write one like 127.0.0.1:8080"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_or_taken_out() {
        for (text, expected) in [
            ("X-A: b c", Some(("X-A", Some("b c")))),
            ("X-A:", Some(("X-A", None))),
            ("X-A", None),
            ("X A: b", None),
            ("X-A: b\r\nX-B: c", None),
        ] {
            let read = header(text).ok();
            let told = read.as_ref().map(|(name, value)| (name.as_str(), value.as_deref()));
            assert_eq!(told, expected, "{text}");
        }
    }
}
