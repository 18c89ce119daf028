//! Matches in groups: how many, how large, how many failed, and some of each.

use std::collections::BTreeMap;

use capture_store::ExchangeSummary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use traffic_analysis::priority::is_error;

use super::{
    filter::{self, TrafficFilter},
    matching::{Matched, find},
    preview_chars,
    scan::{Plane, PlaneName, Scan},
    six, ten,
};
use crate::{
    budget::{cut, fit},
    error::ToolError,
    view::Success,
};

/// What groups are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The status.
    ResponseStatus,
    /// The resource class.
    ResourceClass,
    /// The method.
    Method,
    /// Host and path.
    HostPath,
    /// Host and status.
    HostStatus,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupParams {
    /// The plane.
    pub(super) source: PlaneName,
    /// The key.
    group_by: GroupBy,
    /// Of live.
    #[schemars(length(min = 1, max = 40))]
    pub(super) capture_id: Option<String>,
    /// Of history; the latest without it.
    #[schemars(length(min = 1, max = 400))]
    pub(super) recording_path: Option<String>,
    /// Groups at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 200))]
    max_groups: u32,
    #[serde(flatten)]
    filter: TrafficFilter,
    /// Not used.
    #[serde(default = "preview_chars", rename = "max_preview_chars")]
    #[schemars(range(min = 32, max = 4096))]
    _preview: u32,
    /// Not used.
    #[serde(default = "six", rename = "max_headers_per_side")]
    #[schemars(range(min = 1, max = 32))]
    _headers: u32,
}

/// Exchanges that have something in common.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Group {
    group_value: String,
    count: u64,
    /// Bytes of both bodies.
    total_size: u64,
    has_error_count: u64,
    sample_paths: Vec<String>,
    sample_entry_ids: Vec<String>,
    resource_classes: Vec<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Grouped {
    status: Success,
    source: PlaneName,
    group_by: GroupBy,
    /// The largest first.
    groups: Vec<Group>,
    total_items: u64,
    scanned_count: u64,
    matched_count: u64,
    filtered_out_count: u64,
    filtered_out_by_class: BTreeMap<&'static str, u64>,
    truncated: bool,
    warnings: Vec<String>,
}

/// Groups what matches. Blocks.
pub(super) fn group(plane: &Plane, params: &GroupParams, budget: usize) -> Result<Grouped, ToolError> {
    let scan: Scan = plane.scan(params.filter.scan_limit())?;
    let matched: Matched = find(plane, &scan, &params.filter)?;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for hit in &matched.hits {
        let value = group_value(params.group_by, &hit.summary, hit.priority.class.as_str());
        groups.entry(value.clone()).or_default().add(value, &hit.summary, hit.priority.class.as_str());
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        (b.count, b.total_size, &b.group_value).cmp(&(a.count, a.total_size, &a.group_value))
    });
    let all = groups.len();
    groups.truncate(params.max_groups as usize);
    let (groups, _) = fit(groups, budget);
    let mut warnings = plane.warnings(&scan);
    warnings.extend(matched.warnings.iter().cloned());
    Ok(Grouped {
        status: Success::Success,
        source: plane.name(),
        group_by: params.group_by,
        truncated: scan.limited || groups.len() < all,
        groups,
        total_items: scan.total,
        scanned_count: scan.items.len() as u64,
        matched_count: matched.hits.len() as u64,
        filtered_out_count: matched.excluded.values().sum(),
        filtered_out_by_class: matched.excluded,
        warnings,
    })
}

impl Group {
    /// Samples kept of a group.
    const SAMPLES: usize = 3;

    fn add(&mut self, value: String, summary: &ExchangeSummary, class: &'static str) {
        self.group_value = value;
        self.count += 1;
        self.total_size += summary.request_body_bytes + summary.response_body_bytes;
        self.has_error_count += u64::from(is_error(summary));
        let path = cut(filter::path(summary), 200);
        if self.sample_paths.len() < Self::SAMPLES && !self.sample_paths.contains(&path) {
            self.sample_paths.push(path);
        }
        if self.sample_entry_ids.len() < Self::SAMPLES {
            self.sample_entry_ids.push(summary.seq.to_string());
        }
        if let Err(at) = self.resource_classes.binary_search(&class) {
            self.resource_classes.insert(at, class);
        }
    }
}

fn group_value(by: GroupBy, summary: &ExchangeSummary, class: &str) -> String {
    let status = || summary.status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
    let path = || cut(filter::path(summary), 300);
    match by {
        GroupBy::Host => summary.host.clone(),
        GroupBy::Path => path(),
        GroupBy::ResponseStatus => status(),
        GroupBy::ResourceClass => class.to_owned(),
        GroupBy::Method => summary.method.clone(),
        GroupBy::HostPath => format!("{} {}", summary.host, path()),
        GroupBy::HostStatus => format!("{} {}", summary.host, status()),
    }
}
