//! What traffic is looked for, as Charles MCP's parameters say it.

use std::borrow::Cow;

use capture_store::ExchangeSummary;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use traffic_analysis::priority::{Priority, ResourceClass, is_error};

use super::five_hundred;

/// Classes that are left out at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// No tunnels, static files, fonts, media.
    #[default]
    ApiFocus,
    /// Of these, those that failed or were answered with 400 and above.
    ErrorsOnly,
    /// Everything but the proxy itself.
    AllHttp,
    /// As `api_focus`.
    PageBootstrap,
}

impl Preset {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ApiFocus => "api_focus",
            Self::ErrorsOnly => "errors_only",
            Self::AllHttp => "all_http",
            Self::PageBootstrap => "page_bootstrap",
        }
    }

    /// Tells whether it leaves an exchange out.
    pub(super) fn excludes(self, summary: &ExchangeSummary, class: ResourceClass) -> bool {
        let aside = matches!(
            class,
            ResourceClass::StaticAsset
                | ResourceClass::Font
                | ResourceClass::Media
                | ResourceClass::ConnectTunnel
        );
        match self {
            _ if class == ResourceClass::Control => true,
            Self::AllHttp => false,
            Self::ErrorsOnly => aside || !is_error(summary),
            Self::ApiFocus | Self::PageBootstrap => aside,
        }
    }
}

/// A resource class by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassName(ResourceClass);

impl<'de> Deserialize<'de> for ClassName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <Cow<'de, str>>::deserialize(deserializer)?;
        let class = ResourceClass::ALL.iter().find(|class| class.as_str() == name);
        class
            .map(|class| Self(*class))
            .ok_or_else(|| D::Error::custom(format!("{name:?} is no resource class")))
    }
}

impl Serialize for ClassName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl JsonSchema for ClassName {
    fn schema_name() -> Cow<'static, str> {
        "ClassName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = ResourceClass::ALL.iter().map(|class| class.as_str()).collect();
        json_schema!({"type": "string", "enum": names})
    }
}

/// What must hold; all of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(crate) struct TrafficFilter {
    /// Classes left out.
    #[serde(default)]
    pub(super) preset: Preset,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) host_contains: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) path_contains: Option<String>,
    /// Methods.
    #[schemars(length(max = 100))]
    pub(super) method_in: Option<Vec<String>>,
    /// Statuses.
    #[schemars(length(max = 100))]
    pub(super) status_in: Option<Vec<u16>>,
    /// Resource classes.
    #[schemars(length(max = 9))]
    pub(super) resource_class_in: Option<Vec<ClassName>>,
    /// Least score.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) min_priority_score: Option<u32>,
    /// Name.
    #[schemars(length(max = 2000))]
    pub(super) request_header_name: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) request_header_value_contains: Option<String>,
    /// Name.
    #[schemars(length(max = 2000))]
    pub(super) response_header_name: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) response_header_value_contains: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) request_content_type: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) response_content_type: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) request_body_contains: Option<String>,
    /// Text.
    #[schemars(length(max = 2000))]
    pub(super) response_body_contains: Option<String>,
    /// JMESPath.
    #[schemars(length(max = 500))]
    pub(super) request_json_query: Option<String>,
    /// JMESPath.
    #[schemars(length(max = 500))]
    pub(super) response_json_query: Option<String>,
    /// Most.
    #[serde(default = "five_hundred")]
    #[schemars(range(min = 1, max = 5000))]
    pub(super) scan_limit: u32,
}

/// The path of an exchange, without its query.
pub(super) fn path(summary: &ExchangeSummary) -> &str {
    summary.target.split('?').next().unwrap_or_default()
}

/// Whether a text contains another, in whatever case.
pub(super) fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

impl TrafficFilter {
    pub(super) fn scan_limit(&self) -> usize {
        self.scan_limit as usize
    }

    /// Whether what the summary says fits.
    pub(super) fn fits(&self, summary: &ExchangeSummary, priority: &Priority) -> bool {
        self.summary_checks(summary, priority)
            .into_iter()
            .all(|check| check.is_none_or(|(_, _, holds)| holds))
    }

    /// The parts that are asked of the summary: field, reason, and whether it holds.
    pub(super) fn summary_checks(
        &self,
        summary: &ExchangeSummary,
        priority: &Priority,
    ) -> Vec<Option<(&'static str, String, bool)>> {
        let text = |field: &'static str, wanted: &Option<String>, have: Option<&str>| {
            let wanted = wanted.as_ref().filter(|wanted| !wanted.is_empty())?;
            let holds = have.is_some_and(|have| contains(have, wanted));
            Some((field, format!("{field} contains {wanted:?}"), holds))
        };
        let method = self.method_in.as_ref().filter(|list| !list.is_empty()).map(|list| {
            let holds = list.iter().any(|method| method.eq_ignore_ascii_case(&summary.method));
            ("method", format!("method is {}", summary.method), holds)
        });
        let status = self.status_in.as_ref().filter(|list| !list.is_empty()).map(|list| {
            let holds = summary.status.is_some_and(|status| list.contains(&status));
            ("response_status", format!("status is {}", summary.status.unwrap_or_default()), holds)
        });
        let class = self.resource_class_in.as_ref().filter(|list| !list.is_empty()).map(|list| {
            let holds = list.iter().any(|name| name.0 == priority.class);
            ("resource_class", format!("resource class is {}", priority.class.as_str()), holds)
        });
        let score = self.min_priority_score.map(|least| {
            let reason = format!("priority score {} is at least {least}", priority.score);
            ("priority_score", reason, priority.score >= least)
        });
        let error = (self.preset == Preset::ErrorsOnly).then(|| {
            let field =
                if summary.status.is_some_and(|status| status >= 400) { "response_status" } else { "error" };
            (field, "it is an error".to_owned(), is_error(summary))
        });
        let request_type = summary.request_content_type.as_deref();
        let response_type = summary.response_content_type.as_deref();
        vec![
            text("host", &self.host_contains, Some(&summary.host)),
            text("path", &self.path_contains, Some(path(summary))),
            method,
            status,
            class,
            score,
            error,
            text("request.content_type", &self.request_content_type, request_type),
            text("response.content_type", &self.response_content_type, response_type),
        ]
    }
}
