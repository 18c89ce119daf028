//! Groups in an order, alone or beside those of another time.

use std::cmp::Ordering as Compared;

use super::{Figures, Groups, KeyValue};

/// A group, and the same of before where two are compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The values of its keys.
    pub key: Vec<KeyValue>,
    /// Its figures; those of no exchange where it is gone.
    pub now: Figures,
    /// Those of before; `None` where nothing is compared, or it is new.
    pub before: Option<Figures>,
}

/// What groups are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Metric {
    /// Exchanges.
    Count,
    /// Errors.
    Errors,
    /// Errors per exchange.
    ErrorRate,
    /// Bytes of bodies.
    Bytes,
    /// A percentile of durations.
    Percentile(u32),
    /// The values of the keys.
    Name,
    /// How much longer the median duration is than before; what has no before, or no now, comes last.
    ChangeOf50,
    /// The same of the 95th percentile.
    ChangeOf95,
    /// How many more errors there are than before.
    ChangeOfErrors,
    /// How many more exchanges there are than before.
    ChangeOfCount,
}

/// An order of groups; what is equal stands by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordering {
    metric: Metric,
    descending: bool,
}

impl Ordering {
    /// The least first.
    #[must_use]
    pub fn ascending(metric: Metric) -> Self {
        Self { metric, descending: false }
    }

    /// The most first.
    #[must_use]
    pub fn descending(metric: Metric) -> Self {
        Self { metric, descending: true }
    }
}

impl Row {
    /// Milliseconds that a percentile is longer than before; `None` where there is nothing to compare.
    #[must_use]
    pub fn change(&self, percent: u32) -> Option<f64> {
        let ms = |figures: &Figures| figures.clone().percentile(percent).map(|it| it.as_secs_f64() * 1_000.0);
        Some(ms(&self.now)? - ms(self.before.as_ref()?)?)
    }

    fn metric(&mut self, metric: Metric) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an order; counts are below 2^52")]
        let number = |count: u64| count as f64;
        let none = Figures::default();
        let before = self.before.as_ref().unwrap_or(&none);
        match metric {
            Metric::Count => Some(number(self.now.count)),
            Metric::Errors => Some(number(self.now.errors)),
            Metric::ErrorRate => Some(self.now.error_rate()),
            Metric::Bytes => Some(number(self.now.bytes)),
            Metric::Percentile(percent) => self.now.percentile(percent).map(|it| it.as_secs_f64()),
            Metric::Name => None,
            Metric::ChangeOf50 => self.change(50),
            Metric::ChangeOf95 => self.change(95),
            Metric::ChangeOfErrors => Some(number(self.now.errors) - number(before.errors)),
            Metric::ChangeOfCount => Some(number(self.now.count) - number(before.count)),
        }
    }
}

/// Groups in an order.
#[must_use]
pub fn ordered(groups: Groups, order: Ordering) -> Vec<Row> {
    sorted(groups.groups.into_iter().map(|(key, now)| Row { key, now, before: None }), order)
}

/// Groups beside those of before, in an order. What is only in one of them is there, too.
#[must_use]
pub fn compared(now: Groups, mut before: Groups, order: Ordering) -> Vec<Row> {
    let both = now.groups.into_iter().map(|(key, now)| {
        let before = before.groups.remove(&key);
        Row { key, now, before }
    });
    let mut rows: Vec<Row> = both.collect();
    let gone = before.groups.into_iter();
    rows.extend(gone.map(|(key, before)| Row { key, now: Figures::default(), before: Some(before) }));
    sorted(rows.into_iter(), order)
}

fn sorted(rows: impl Iterator<Item = Row>, order: Ordering) -> Vec<Row> {
    let mut rows: Vec<(Option<f64>, Row)> = rows.map(|mut row| (row.metric(order.metric), row)).collect();
    rows.sort_by(|(left, a), (right, b)| {
        let by_metric = match (left, right) {
            (Some(left), Some(right)) if order.descending => right.total_cmp(left),
            (Some(left), Some(right)) => left.total_cmp(right),
            (Some(_), None) => Compared::Less,
            (None, Some(_)) => Compared::Greater,
            (None, None) => Compared::Equal,
        };
        let by_name = a.key.cmp(&b.key);
        let name_down = order.metric == Metric::Name && order.descending;
        by_metric.then(if name_down { by_name.reverse() } else { by_name })
    });
    rows.into_iter().map(|(_, row)| row).collect()
}
