//! What an entry says beyond its exchange, found by writing that exchange as we would.

use std::io::{self, Read};

use capture_store::{BodySide, ImportBody, ImportedExchange, StoredMessage};
use serde_json::Value;

use crate::{
    body::{ErrorSlot, Form, Parts},
    compose::Composer,
    error::{Error, ErrorKind},
    export::ExportOptions,
    foreign,
    log::Depot,
    parse::Parsed,
};

/// Keeps with the exchange what its entry says that we would not write.
pub(crate) fn keep_foreign(parsed: &mut Parsed, entry: &Value, depot: &dyn Depot) -> Result<(), Error> {
    if !foreign::may_have(entry) {
        return Ok(());
    }
    let options = ExportOptions::default();
    let slot = ErrorSlot::default();
    let mut ours = {
        let arrived = Arrived { imported: &parsed.exchange, depot };
        let composer = Composer::new(&options, &slot, None);
        let mut composed = composer.compose(&parsed.exchange.exchange, &arrived)?;
        composed.entry.without_texts();
        serde_json::to_value(&composed.entry).map_err(|error| Error::with_source(ErrorKind::Output, error))?
    };
    // The number is not given yet; who reads it compares nothing with it.
    let is_coded = |side: &str| ours["_wirescope"][side]["coded"] == true;
    if is_coded("responseBody") {
        // Its length is known once it is decoded.
        ours["response"]["content"]["size"] = entry["response"]["content"]["size"].clone();
    }
    let Some(patch) = foreign::kept(&ours, entry) else { return Ok(()) };
    let text = Value::Object(patch).to_string();
    if text.len() > foreign::MAX_BYTES {
        parsed.notes.push(format!("what it says beyond HAR takes {} bytes and was left out", text.len()));
        return Ok(());
    }
    parsed.exchange.exchange.foreign = Some(text);
    Ok(())
}

/// The bodies of an entry that is being imported.
struct Arrived<'a> {
    imported: &'a ImportedExchange,
    depot: &'a dyn Depot,
}

impl Arrived<'_> {
    fn body(&self, side: BodySide) -> (Option<&ImportBody>, bool) {
        let exchange = &self.imported.exchange;
        let (body, recorded, headers) = match side {
            BodySide::Request => {
                (&self.imported.request_body, exchange.request_body, Some(&exchange.request.headers))
            }
            BodySide::Response => (
                &self.imported.response_body,
                exchange.response_body,
                exchange.response.as_ref().map(|head| &head.headers),
            ),
        };
        let coded = !recorded.identity && headers.is_some_and(|headers| headers.contains("content-encoding"));
        (body.as_ref(), coded)
    }
}

impl Parts for Arrived<'_> {
    fn open(&self, side: BodySide, form: Form) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let (Some(body), coded) = self.body(side) else { return Ok(None) };
        if coded && form == Form::Decoded {
            return Ok(Some(Box::new(Coded)));
        }
        self.depot.open(body).map(Some)
    }

    fn messages(&self, _: u64, _: usize) -> Result<Vec<StoredMessage>, Error> {
        Ok(Vec::new())
    }
}

/// Stands for a body that has to be decoded, which nobody does for a comparison.
struct Coded;

impl Read for Coded {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }
}
