//! Grouping: one walk, a row of figures for each combination of keys.

use std::{collections::HashMap, ops::ControlFlow};

use capture_store::{Error, Order, Store};

use super::{Figures, Key, KeyValue};
use crate::{
    scope::{Bounds, Scope, Walked},
    subject::Subject,
};

/// Groups told apart; exchanges of further ones are counted together.
const MAX_GROUPS: usize = 50_000;

/// Groups of exchanges.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Groups {
    /// The figures of each, by the values of its keys.
    pub groups: HashMap<Vec<KeyValue>, Figures>,
    /// Of all of them together.
    pub total: Figures,
    /// Of those beyond the first 50,000 groups.
    pub beyond: Figures,
    /// What was looked at.
    pub walked: Walked,
}

/// Groups what is in scope by the values of `keys`; of no key, all is one group.
///
/// # Errors
/// When the store cannot be read.
pub fn group(store: &Store, scope: &Scope, keys: &[Key], bounds: Bounds) -> Result<Groups, Error> {
    let mut groups = Groups::default();
    let walked = scope.walk::<Error>(store, (Order::Ascending, None), bounds, |summary| {
        let subject = Subject::new(store, summary);
        let values: Vec<KeyValue> = keys.iter().map(|key| key.of(&subject)).collect();
        subject.check()?;
        let summary = subject.summary();
        groups.total.add(summary);
        if groups.groups.len() < MAX_GROUPS || groups.groups.contains_key(&values) {
            groups.groups.entry(values).or_default().add(summary);
        } else {
            groups.beyond.add(summary);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    groups.walked = walked;
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use capture_store::parse;

    use super::*;
    use crate::{
        fixture::{Fed, Fixture},
        group::{Metric, Ordering, compared, ordered},
    };

    fn fixture() -> Fixture {
        let mut fed = Vec::new();
        for n in 0..30 {
            fed.push(Fed::get(&format!("https://api.test/users/{n}")).took(10 + n).answers("Server", "one"));
            if n % 3 == 0 {
                fed.push(Fed::get(&format!("https://api.test/orders/{n}")).took(500).status(500));
            }
        }
        Fixture::of(fed)
    }

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key::parse(name).unwrap()).collect()
    }

    #[test]
    fn figures_are_of_each_group_and_of_the_whole() {
        let fixture = fixture();
        let scope = Scope::of_session(fixture.session);
        let groups =
            group(&fixture.store, &scope, &keys(&["template", "status"]), Bounds::default()).unwrap();
        assert_eq!((groups.groups.len(), groups.total.count, groups.walked.next), (2, 40, None));
        let users = vec![KeyValue::Text("/users/{id}".into()), KeyValue::Number(200)];
        let mut users = groups.groups[&users].clone();
        assert_eq!((users.count, users.errors), (30, 0));
        assert_eq!(users.percentile(50).unwrap().as_millis(), 24);
        let orders = vec![KeyValue::Text("/orders/{id}".into()), KeyValue::Number(500)];
        assert_eq!((groups.groups[&orders].count, groups.groups[&orders].errors), (10, 10));
    }

    #[test]
    fn any_field_and_spans_of_time_are_keys() {
        let fixture = fixture();
        let scope = Scope::of_session(fixture.session);
        let by =
            |name| group(&fixture.store, &scope, &keys(&[name]), Bounds::default()).unwrap().groups.len();
        assert_eq!((by("resp.header.server"), by("time:10s"), by("host"), by("class")), (2, 4, 1, 2));
        let none = group(&fixture.store, &scope, &[], Bounds::default()).unwrap();
        assert_eq!(none.groups[&vec![]].count, 40);
        for wrong in ["time:0s", "time:x", "nope"] {
            assert!(Key::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_got_slower_comes_first_and_what_is_new_or_gone_is_told() {
        let before = vec![
            Fed::get("https://a.test/same").took(10),
            Fed::get("https://a.test/slower").took(10),
            Fed::get("https://a.test/gone").took(10),
        ];
        let fixture = Fixture::of(before);
        let after = fixture.import(vec![
            Fed::get("https://a.test/same").took(10),
            Fed::get("https://a.test/slower").took(35).status(500),
            Fed::get("https://a.test/new").took(90),
        ]);
        let of = |session| {
            group(&fixture.store, &Scope::of_session(session), &keys(&["path"]), Bounds::default()).unwrap()
        };
        let rows = compared(of(after), of(fixture.session), Ordering::descending(Metric::ChangeOf50));
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                let change = row.change(50).map(|ms| ms.round());
                (row.key[0].to_string(), row.now.count, row.before.as_ref().map_or(0, |it| it.count), change)
            })
            .collect();
        assert_eq!(told[0], ("/slower".to_owned(), 1, 1, Some(25.0)));
        assert_eq!(told[1], ("/same".to_owned(), 1, 1, Some(0.0)));
        let rest: Vec<_> = told[2..].iter().map(|row| (row.0.as_str(), row.1, row.2)).collect();
        assert_eq!(rest, [("/gone", 0, 1), ("/new", 1, 0)]);
    }

    #[test]
    fn groups_are_ordered_by_what_is_asked_for() {
        let fixture = fixture();
        let scope = Scope::of_session(fixture.session).filtered(parse("path:/users").unwrap());
        let groups = group(&fixture.store, &scope, &keys(&["path"]), Bounds::default()).unwrap();
        let rows = ordered(groups, Ordering::descending(Metric::Percentile(95)));
        assert_eq!(rows[0].key, [KeyValue::Text("/users/29".into())]);
        let groups = group(&fixture.store, &scope, &keys(&["path"]), Bounds::default()).unwrap();
        let rows = ordered(groups, Ordering::ascending(Metric::Name));
        assert_eq!(rows[0].key, [KeyValue::Text("/users/0".into())]);
    }
}
