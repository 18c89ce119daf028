//! Looking through stored bytes in the order they lie, without taking exchanges apart: which of them can hold a text.

use std::collections::HashMap;

use rusqlite::{Row, params, params_from_iter, types::ValueRef};

use super::{DbError, Filter, Tx, int, uint};
use crate::{
    id::Seq,
    needle::Needle,
    packing::Unpacker,
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
            lights.push(light(row, probe, &mut scratch)?);
        }
        Ok(lights)
    }

    /// Those of some exchanges that pass a filter.
    pub(crate) fn lights_of(
        &self,
        filter: &Filter,
        seqs: &[Seq],
        probe: Option<&Probe>,
    ) -> Result<Vec<Light>, DbError> {
        let mut lights = Vec::new();
        let mut scratch = Vec::new();
        for seq in seqs.iter().filter(|seq| (filter.first..=filter.last).contains(&seq.0)) {
            let (condition, values) = filter.sql(seq.0, seq.0);
            let sql = format!("SELECT seq, messages, url FROM exchanges WHERE {condition}");
            let mut statement = self.sql.prepare_cached(&sql)?;
            let mut found = statement.query(params_from_iter(&values))?;
            if let Some(row) = found.next()? {
                lights.push(light(row, probe, &mut scratch)?);
            }
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
        let mut work = Work::new(&probe.needle);
        let mut at = 0;
        for (first, last) in runs {
            let end =
                lights[at..].iter().position(|light| light.seq > last).map_or(lights.len(), |more| at + more);
            let part = &mut lights[at..end];
            if probe.bodies == Bodies::Possible {
                self.probe_bodies(part, (first, last), &mut work)?;
            }
            if probe.heads == Heads::Possible {
                self.probe_heads(part, (first, last), &mut work)?;
            }
            at = end;
        }
        if reversed {
            lights.reverse();
        }
        Ok(())
    }

    fn probe_bodies(
        &self,
        lights: &mut [Light],
        span: (Seq, Seq),
        work: &mut Work<'_>,
    ) -> Result<(), DbError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT id, plain, data, coding IS NOT NULL, length, file FROM bodies WHERE id BETWEEN ? AND ? ORDER BY id",
        )?;
        let mut rows = statement.query(params![int(span.0.0) * 2, int(span.1.0) * 2 + 1])?;
        let mut at = 0;
        while let Some(row) = rows.next()? {
            let seq = uint(row.get::<_, i64>(0)? / 2);
            let Some(light) = ahead(lights, &mut at, seq) else { continue };
            if light.likely {
                continue;
            }
            let plain = row.get::<_, Option<i64>>(1)? == Some(1);
            light.likely = match row.get_ref(2)? {
                ValueRef::Blob(data) if plain => {
                    let frame = row.get::<_, bool>(3)?.then_some(row.get(4)?);
                    work.is_in_stored(data, frame)
                }
                // One content stands for all that share it.
                ValueRef::Null if plain => match row.get::<_, Option<i64>>(5)? {
                    Some(file) => match work.shared.get(&file) {
                        Some(likely) => *likely,
                        None => {
                            let likely = self.probe_shared(file, work)?;
                            work.shared.insert(file, likely);
                            likely
                        }
                    },
                    None => true,
                },
                // In a file, or to be decoded.
                _ => true,
            };
        }
        Ok(())
    }

    /// Whether a content that bodies share can hold a text.
    fn probe_shared(&self, file: i64, work: &mut Work<'_>) -> Result<bool, DbError> {
        let mut statement =
            self.sql.prepare_cached("SELECT data, coding IS NOT NULL, length FROM files WHERE id = ?")?;
        let mut rows = statement.query([file])?;
        let Some(row) = rows.next()? else { return Ok(true) };
        Ok(match row.get_ref(0)? {
            ValueRef::Blob(data) => {
                let frame = row.get::<_, bool>(1)?.then_some(row.get(2)?);
                work.is_in_stored(data, frame)
            }
            _ => true,
        })
    }

    fn probe_heads(
        &self,
        lights: &mut [Light],
        span: (Seq, Seq),
        work: &mut Work<'_>,
    ) -> Result<(), DbError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT seq, detail FROM details WHERE seq BETWEEN ? AND ? ORDER BY seq")?;
        let mut rows = statement.query(params![int(span.0.0), int(span.1.0)])?;
        let mut at = 0;
        while let Some(row) = rows.next()? {
            let seq = uint(row.get(0)?);
            let Some(light) = ahead(lights, &mut at, seq) else { continue };
            if let ValueRef::Blob(detail) = row.get_ref(1)?
                && !light.likely
            {
                light.likely = work.is_in_detail(detail);
            }
        }
        Ok(())
    }
}

/// What is looked for, and the memory it takes.
struct Work<'n> {
    needle: &'n Needle,
    /// The parts of the text before and behind what joins a field's name and value.
    parts: Vec<(Vec<u8>, Vec<u8>)>,
    unpacker: Unpacker,
    scratch: Vec<u8>,
    /// Contents that bodies share, and whether they can hold the text.
    shared: HashMap<i64, bool>,
}

impl<'n> Work<'n> {
    fn new(needle: &'n Needle) -> Self {
        let parts = needle.forms().flat_map(around_joints).collect();
        let (unpacker, scratch, shared) = (Unpacker::new(), Vec::new(), HashMap::new());
        Self { needle, parts, unpacker, scratch, shared }
    }

    /// Whether stored bytes, or the content of this length where they are its frame, can hold a text.
    fn is_in_stored(&mut self, data: &[u8], frame: Option<i64>) -> bool {
        match frame {
            None => self.needle.is_in(data, &mut self.scratch),
            // Longer ones stand in files. A damaged one is told of by who looks properly.
            Some(length) => {
                let content = self.unpacker.unpack_stored(data, uint(length));
                content.is_none_or(|content| self.needle.is_in(content, &mut self.scratch))
            }
        }
    }

    /// Whether the fields of encoded details can hold a text. They are looked through as lines, and stored without what
    /// joins a name and its value.
    fn is_in_detail(&mut self, detail: &[u8]) -> bool {
        if self.needle.is_in(detail, &mut self.scratch) {
            return true;
        }
        let folded = if self.needle.folds() { &self.scratch } else { detail };
        let has = |part: &[u8]| part.is_empty() || memchr::memmem::find(folded, part).is_some();
        self.parts.iter().any(|(before, behind)| has(before) && has(behind))
    }
}

/// Where a text may reach over the colon and the space between a name and its value: what of it is the name's, and what
/// the value's.
fn around_joints(form: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut parts = Vec::new();
    if let Some(value) = form.strip_prefix(b" ") {
        parts.push((Vec::new(), value.to_vec()));
    }
    for at in memchr::memchr_iter(b':', form) {
        match &form[at + 1..] {
            [] => parts.push((form[..at].to_vec(), Vec::new())),
            [b' ', value @ ..] => parts.push((form[..at].to_vec(), value.to_vec())),
            _ => {}
        }
    }
    parts
}

fn light(row: &Row<'_>, probe: Option<&Probe>, scratch: &mut Vec<u8>) -> rusqlite::Result<Light> {
    let in_url = match (probe, row.get_ref(2)?) {
        (Some(probe), ValueRef::Text(url)) if probe.heads == Heads::Possible => {
            probe.needle.is_in(url, scratch)
        }
        _ => false,
    };
    let messages = row.get::<_, i64>(1)? > 0;
    Ok(Light { seq: Seq(uint(row.get(0)?)), likely: in_url || messages })
}

/// The light of a seq, in lists that both ascend.
fn ahead<'l>(lights: &'l mut [Light], at: &mut usize, seq: u64) -> Option<&'l mut Light> {
    while lights.get(*at).is_some_and(|light| light.seq.0 < seq) {
        *at += 1;
    }
    lights.get_mut(*at).filter(|light| light.seq.0 == seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_reaches_from_a_name_into_its_value_is_looked_for_in_parts() {
        let detail = b"\x05\x0dAuthorization\x0aBearer a:b\x04Host\x06a.test";
        for (text, likely) in [
            ("authorization: bearer", true),
            ("ation: Bea", true),
            ("host:", true),
            (": a.test", true),
            (" bearer", true),
            ("bearer a:b", true),
            ("a:", true),
            ("b: a", true),
            ("cookie: bearer", false),
            ("bearer b", false),
            ("host:a.test", false),
            (" nothing", false),
        ] {
            let needle = Needle::new(text, false);
            assert_eq!(Work::new(&needle).is_in_detail(detail), likely, "{text}");
        }
        let exact = Needle::new("authorization: Bearer", true);
        assert!(!Work::new(&exact).is_in_detail(detail));
    }
}
