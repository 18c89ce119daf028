//! Looking through stored bytes in the order they lie, without taking exchanges apart: which of them can hold a text.

use std::collections::HashMap;

use rusqlite::{Row, params, params_from_iter, types::ValueRef};

use super::{DbError, Filter, Tx, int, uint};
use crate::{
    assemble::INLINE_BYTES,
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
        let mut statement = self.sql.prepare_cached(
            "SELECT id, plain, data, coding IS NOT NULL, length, file FROM bodies WHERE id BETWEEN ? AND ? ORDER BY id",
        )?;
        let mut rows = statement.query(params![int(span.0.0) * 2, int(span.1.0) * 2 + 1])?;
        let mut at = 0;
        let mut scratch = Vec::new();
        let mut unpacker = Unpacker::new();
        let mut shared = HashMap::new();
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
                    is_in_stored(data, frame, needle, (&mut unpacker, &mut scratch))
                }
                // One content stands for all that share it.
                ValueRef::Null if plain => match row.get::<_, Option<i64>>(5)? {
                    Some(file) => match shared.get(&file) {
                        Some(likely) => *likely,
                        None => {
                            let likely = self.probe_shared(file, needle, (&mut unpacker, &mut scratch))?;
                            shared.insert(file, likely);
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
    fn probe_shared(
        &self,
        file: i64,
        needle: &Needle,
        work: (&mut Unpacker, &mut Vec<u8>),
    ) -> Result<bool, DbError> {
        let mut statement =
            self.sql.prepare_cached("SELECT data, coding IS NOT NULL, length FROM files WHERE id = ?")?;
        let mut rows = statement.query([file])?;
        let Some(row) = rows.next()? else { return Ok(true) };
        Ok(match row.get_ref(0)? {
            ValueRef::Blob(data) => {
                let frame = row.get::<_, bool>(1)?.then_some(row.get(2)?);
                is_in_stored(data, frame, needle, work)
            }
            _ => true,
        })
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

/// Whether stored bytes, or the content of this length where they are its frame, can hold a text.
fn is_in_stored(
    data: &[u8],
    frame: Option<i64>,
    needle: &Needle,
    (unpacker, scratch): (&mut Unpacker, &mut Vec<u8>),
) -> bool {
    match frame.map(|length| usize::try_from(length).unwrap_or(0)) {
        None => needle.is_in(data, scratch),
        // Longer ones stand in files. A damaged one is told of by who looks properly.
        Some(length) if length <= INLINE_BYTES => {
            unpacker.unpack(data, length).is_none_or(|content| needle.is_in(content, scratch))
        }
        Some(_) => true,
    }
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
