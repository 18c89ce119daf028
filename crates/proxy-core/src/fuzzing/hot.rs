//! The hot pure parts, for `benches/wire.rs` to measure.

use std::{sync::Arc, time::SystemTime};

use futures_util::FutureExt;

use crate::{
    CertificateAuthority,
    ca::Leafs,
    detect::{Detected, detect},
    exchange::forward::{self, Leg, Shape},
    head::Scheme,
    http1::{Defaults, HeadLimits, Reader, TargetForm, Writer},
};

/// Whether these first bytes say what is spoken.
#[must_use]
pub fn detects(bytes: &[u8]) -> bool {
    detect(bytes, false) != Detected::NeedMore
}

/// Mints leafs of one authority.
pub struct Mint(Leafs);

impl Mint {
    /// Makes one that remembers no more than `capacity` leafs.
    ///
    /// # Errors
    /// As making a proxy.
    pub fn new(ca: CertificateAuthority, capacity: usize) -> Result<Self, crate::Error> {
        Ok(Self(Leafs::new(ca, capacity)?))
    }

    /// A leaf for a host: the remembered one, or a new one; how often it is in use.
    #[must_use]
    pub fn leaf(&self, host: &str) -> usize {
        self.0.mirroring(host, None, SystemTime::now()).map_or(0, |leaf| Arc::strong_count(&leaf))
    }
}

/// Reads a request's head, makes of it what upstream gets, and writes that: its bytes.
#[must_use]
pub fn pass_request(head: &[u8]) -> usize {
    let limits = HeadLimits { max_bytes: 64 * 1024, max_headers: 256 };
    let defaults = Defaults { scheme: Scheme::Https, authority: None };
    let mut reader = Reader::new(head, limits);
    let Some(Ok(Some(head))) = reader.request(&defaults).now_or_never() else { return 0 };
    let (out, encoding) = forward::request(&head, Shape::Empty, Leg::Http1);
    let mut writer = Writer::new(Vec::<u8>::new());
    let written = writer.put_request(&out, TargetForm::Origin);
    writer.begin(encoding);
    written.ok().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default()
}
