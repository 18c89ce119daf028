//! What whole header blocks mean: requests, responses, trailers.

use super::{
    core::{Core, Farewell, Past, Role},
    frame::{Fatal, code, kind},
    heads::{self, ReadRequest},
    hpack::Section,
    stream::Stream,
};
use crate::wire::{WireError, WireErrorKind};

/// Interim heads that wait to be read; beyond it the stream is reset. Whoever reads them has a limit of its own.
const MAX_INTERIM_HEADS: usize = 128;

/// A header block under way.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends: bool,
    pub(super) bytes: Vec<u8>,
}

/// A request that came, and that whoever takes it in now holds once.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) stream: u32,
    pub(super) read: ReadRequest,
}

impl Core {
    /// Takes in a whole header block.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    pub(super) fn block(&mut self, id: u32, ends: bool, block: &[u8]) -> Result<(), Fatal> {
        // It is read in any case: the table goes on from it.
        let section = self.decoder.decode(block).map_err(|bad| Fatal::new(code::COMPRESSION_ERROR, bad.0))?;
        if self.is_open(id) {
            return self.section(id, ends, section);
        }
        if self.is_server() && !id.is_multiple_of(2) && id > self.last_stream {
            return self.request(id, ends, section);
        }
        self.too_late(id, kind::HEADERS)
    }

    /// A block over what may be on the wire: what came of it is recorded, and the connection ends, because the table
    /// cannot go on.
    pub(super) fn oversize_block(&mut self, block: &Block) -> Result<(), Fatal> {
        let fatal = Fatal::calm("a header block far over the limit");
        if self.is_server() && !block.stream.is_multiple_of(2) && block.stream > self.last_stream {
            let mut section = self.decoder.decode_beginning(&block.bytes);
            // However little of it could be read: it is never the whole request.
            section.bytes = section.bytes.max(block.bytes.len() as u64);
            self.request(block.stream, false, section)?;
        }
        Err(fatal)
    }

    fn request(&mut self, id: u32, ends: bool, section: Section) -> Result<(), Fatal> {
        self.last_stream = id;
        let most = self.settings.max_concurrent_streams;
        let is_full = self.open >= most || self.streams.len() >= 2 * most as usize;
        if is_full || matches!(self.farewell, Farewell::Said(_)) {
            if !self.resets.take() {
                return Err(Fatal::calm("too many streams that were refused"));
            }
            self.remember(id, Past::ResetByUs);
            return self.reply(kind::RST_STREAM, 0, id, &code::REFUSED_STREAM.to_be_bytes());
        }
        self.fingerprint.request(section.fields.iter().map(|field| &field.name[..]));
        let fallback = match self.role {
            Role::Server(scheme) => scheme,
            Role::Client => crate::head::Scheme::Https,
        };
        let connect =
            if self.settings.extended_connect { heads::Extended::Allowed } else { heads::Extended::Unknown };
        let mut read = heads::read_request(section, fallback, self.settings.section_limits(), connect);
        let mut stream = Stream::new(self.settings.stream_window_bytes, self.peer.initial_window);
        stream.handles = 1;
        stream.received.has_head = true;
        stream.received.ended = ends;
        stream.received.declared = read.length;
        if ends && read.length.is_some_and(|length| length > 0) && read.fault.is_none() {
            read.fault = Some(WireError::malformed("a Content-Length, and no body"));
        }
        stream.malformed = read.fault.as_ref().is_some_and(|fault| fault.kind == WireErrorKind::Malformed);
        self.streams.insert(id, stream);
        self.open += 1;
        self.arrived.push_back(Arrived { stream: id, read });
        Ok(())
    }

    /// A block on a stream that is open: a response's head, or trailers.
    fn section(&mut self, id: u32, ends: bool, section: Section) -> Result<(), Fatal> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.received.ended {
            let error = WireError::malformed("HEADERS after the stream's end");
            return self.reset_for(id, code::STREAM_CLOSED, error);
        } else if stream.received.has_head {
            self.trailers(id, ends, section);
        } else {
            self.response(id, ends, section);
        }
        Ok(())
    }

    fn trailers(&mut self, id: u32, ends: bool, section: Section) {
        let read = match ends {
            true => heads::read_trailers(section, self.settings.section_limits()),
            false => Err(WireError::malformed("trailers that do not end the stream")),
        };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match read {
            Ok(trailers) => {
                // An empty section is as good as none.
                if !trailers.is_empty() && !stream.received.discards {
                    stream.received.trailers = Some(trailers);
                }
                self.end_received(id);
            }
            Err(error) => self.spoil(id, error),
        }
    }

    fn response(&mut self, id: u32, ends: bool, section: Section) {
        let read = heads::read_response(section, self.settings.section_limits());
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let received = &mut stream.received;
        let error = match read {
            Ok((head, ..)) if head.status.is_informational() && ends => {
                WireError::malformed("an interim response that ends the stream")
            }
            Ok((head, bytes, length)) => {
                if !head.status.is_informational() {
                    received.has_head = true;
                    received.declared = length.filter(|_| !received.bodiless);
                }
                received.heads.push_back((head, bytes));
                self.wakes.extend(received.reader.take());
                if received.heads.len() <= MAX_INTERIM_HEADS {
                    if ends {
                        self.end_received(id);
                    }
                    return;
                }
                WireError::new(WireErrorKind::Limit, "too many interim responses at once")
            }
            Err(error) => error,
        };
        let code =
            if error.kind == WireErrorKind::Limit { code::ENHANCE_YOUR_CALM } else { code::PROTOCOL_ERROR };
        self.reset(id, code, error);
    }

    /// The incoming half came to its end.
    pub(super) fn end_received(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let received = &mut stream.received;
        if received.declared.is_some_and(|declared| declared != received.bytes) {
            received.trailers = None;
            return self.spoil(id, WireError::malformed("the body is shorter than its Content-Length"));
        }
        received.ended = true;
        self.wakes.extend(received.reader.take());
        self.settle(id);
    }

    /// What came on a stream is malformed. Upstream's stream is reset; a client's may yet be answered, so whoever
    /// reads is told, and PROTOCOL_ERROR comes after the answer (RFC 9113 section 8.1.1).
    pub(super) fn spoil(&mut self, id: u32, error: WireError) {
        if !self.is_server() {
            return self.reset(id, code::PROTOCOL_ERROR, error);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.malformed = true;
        stream.received.broken.get_or_insert(error);
        stream.received.discards = true;
        // Nothing that follows counts.
        stream.received.declared = None;
        self.wakes.extend(stream.received.reader.take());
        self.settle(id);
    }
}
