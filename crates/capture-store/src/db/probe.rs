//! Looking through stored bytes in the order they lie, without taking exchanges apart: which of them can hold a text.

use rusqlite::{params, params_from_iter, types::ValueRef};

use super::{DbError, Filter, Tx, int, uint};
use crate::{
    id::Seq,
    needle::Needle,
    plan::{Bodies, Heads, Probe},
    query::Order,
};

/// Rows are read as one run where it has at most this many for each that is wanted.
const SPARSE: u64 = 8;

/// As much of an exchange as a scan needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Light {
    pub(crate) seq: Seq,
    /// Its URL holds the text, or it has messages, which are looked through one by one.
    pub(crate) likely: bool,
}

impl Tx<'_> {
    /// The next exchanges that pass a filter.
    pub(crate) fn lights(
        &self,
        filter: &Filter,
        order: Order,
        limit: usize,
        probe: Option<&Probe>,
    ) -> Result<Vec<Light>, DbError> {
        let Some(rows) = self.rows(filter, order, 0, limit)? else { return Ok(Vec::new()) };
        let sql = format!("SELECT seq, messages, url FROM exchanges WHERE {}", rows.sql);
        let mut statement = self.sql.prepare_cached(&sql)?;
        let mut found = statement.query(params_from_iter(&rows.values))?;
        let mut lights = Vec::new();
        let mut scratch = Vec::new();
        while let Some(row) = found.next()? {
            let in_url = match (probe, row.get_ref(2)?) {
                (Some(probe), ValueRef::Text(url)) if probe.heads == Heads::Possible => {
                    probe.needle.is_in(url, &mut scratch)
                }
                _ => false,
            };
            let messages = row.get::<_, i64>(1)? > 0;
            lights.push(Light { seq: Seq(uint(row.get(0)?)), likely: in_url || messages });
        }
        Ok(lights)
    }

    /// Which of these exchanges, ascending or descending, can hold a text; marks them as likely.
    pub(crate) fn probe(&self, lights: &mut [Light], probe: &Probe) -> Result<(), DbError> {
        let (Some(one), Some(other)) = (lights.first(), lights.last()) else { return Ok(()) };
        let (first, last) = (one.seq.min(other.seq), one.seq.max(other.seq));
        let reversed = one.seq > other.seq;
        if reversed {
            lights.reverse();
        }
        let dense = last.0 - first.0 < lights.len() as u64 * SPARSE;
        let runs: Vec<(Seq, Seq)> = if dense {
            vec![(first, last)]
        } else {
            lights.iter().map(|light| (light.seq, light.seq)).collect()
        };
        let mut at = 0;
        for (first, last) in runs {
            let end =
                lights[at..].iter().position(|light| light.seq > last).map_or(lights.len(), |more| at + more);
            let part = &mut lights[at..end];
            if probe.bodies == Bodies::Possible {
                self.probe_bodies(part, (first, last), &probe.needle)?;
            }
            if probe.heads == Heads::Possible {
                self.probe_heads(part, (first, last), &probe.needle)?;
            }
            at = end;
        }
        if reversed {
            lights.reverse();
        }
        Ok(())
    }

    fn probe_bodies(&self, lights: &mut [Light], span: (Seq, Seq), needle: &Needle) -> Result<(), DbError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT id, plain, data FROM bodies WHERE id BETWEEN ? AND ? ORDER BY id")?;
        let mut rows = statement.query(params![int(span.0.0) * 2, int(span.1.0) * 2 + 1])?;
        let mut at = 0;
        let mut scratch = Vec::new();
        while let Some(row) = rows.next()? {
            let seq = uint(row.get::<_, i64>(0)? / 2);
            let Some(light) = ahead(lights, &mut at, seq) else { continue };
            if light.likely {
                continue;
            }
            let plain = row.get::<_, Option<i64>>(1)? == Some(1);
            light.likely = match row.get_ref(2)? {
                ValueRef::Blob(data) if plain => needle.is_in(data, &mut scratch),
                // In a file, or to be decoded.
                _ => true,
            };
        }
        Ok(())
    }

    fn probe_heads(&self, lights: &mut [Light], span: (Seq, Seq), needle: &Needle) -> Result<(), DbError> {
        // Names and values are looked through as lines, and stored without what joins them.
        if needle.forms().any(|form| memchr::memchr2(b':', b' ', form).is_some()) {
            lights.iter_mut().for_each(|light| light.likely = true);
            return Ok(());
        }
        let mut statement = self
            .sql
            .prepare_cached("SELECT seq, detail FROM details WHERE seq BETWEEN ? AND ? ORDER BY seq")?;
        let mut rows = statement.query(params![int(span.0.0), int(span.1.0)])?;
        let mut at = 0;
        let mut scratch = Vec::new();
        while let Some(row) = rows.next()? {
            let seq = uint(row.get(0)?);
            let Some(light) = ahead(lights, &mut at, seq) else { continue };
            if let ValueRef::Blob(detail) = row.get_ref(1)?
                && !light.likely
            {
                light.likely = needle.is_in(detail, &mut scratch);
            }
        }
        Ok(())
    }
}

/// The light of a seq, in lists that both ascend.
fn ahead<'l>(lights: &'l mut [Light], at: &mut usize, seq: u64) -> Option<&'l mut Light> {
    while lights.get(*at).is_some_and(|light| light.seq.0 < seq) {
        *at += 1;
    }
    lights.get_mut(*at).filter(|light| light.seq.0 == seq)
}
