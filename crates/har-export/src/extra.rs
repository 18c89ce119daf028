//! The `_wirescope` object of an entry: what HAR has no place for, so that an import gives back the same exchange.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use capture_store::{Peer, Recorded};
use http::StatusCode;
use proxy_core::{ClientProcess, ResponseHead, RuleHit, Sizes, TlsFacts, TlsFingerprint};
use serde::{Deserialize, Serialize};

use crate::{
    text::{Field, from_fields, from_latin1, is_false, to_fields, unbroken},
    words::{listener_of, listener_word},
};

/// The member of an entry that holds it.
pub(crate) const EXTRA: &str = "_wirescope";

/// What HAR has no place for. Every part may be missing, and is then what the rest of the entry says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Extra {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureExtra>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// The head's own parts, where the URL does not give them back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<TargetExtra>,
    /// A reason phrase that `statusText` does not give back: `null` inside where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<ReasonExtra>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tunnel: Option<String>,
    /// Bytes towards upstream and towards the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tunnel_bytes: Option<(u64, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<PeerExtra>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<PeerExtra>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) request_trailers: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) response_trailers: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) informational: Vec<InterimExtra>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_body: Option<BodyExtra>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_body: Option<BodyExtra>,
    /// From beginning to end in milliseconds; `time` is the sum of the timings, as HAR asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sizes: Option<SizesExtra>,
    /// The rules that applied, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<RuleExtra>,
    /// Whether parts of the entry are as another tool wrote them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foreign: Option<bool>,
}

/// A rule that applied, and what it changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RuleExtra {
    pub(crate) rule: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<String>,
}

impl RuleExtra {
    pub(crate) fn new(hit: &RuleHit) -> Self {
        Self { rule: hit.rule.clone(), changes: hit.changes.clone() }
    }

    pub(crate) fn into_hit(self) -> RuleHit {
        RuleHit::new(self.rule, self.changes)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FailureExtra {
    pub(crate) code: String,
    pub(crate) side: String,
    pub(crate) detail: String,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TargetExtra {
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) target: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReasonExtra {
    /// The phrase, one character per byte.
    pub(crate) latin1: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PeerExtra {
    pub(crate) connection: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsExtra>,
    /// `explicit`, `socks`, `transparent`, `reverse` or `own`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listener: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http2_fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessExtra>,
}

/// The process a client is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessExtra {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TlsExtra {
    pub(crate) version: String,
    pub(crate) cipher: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alpn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sni: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) offered_alpn: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) encrypted_client_hello: bool,
    /// JA3 or JA3S before hashing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ja3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ja3_hash: Option<String>,
    /// JA4 or JA4S.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ja4: Option<String>,
    /// DER in base64, leaf first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificates: Vec<String>,
    /// The `seq` of the earlier entry that shows the same chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificates_of: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InterimExtra {
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) http_version: String,
    pub(crate) headers: Vec<Field>,
}

/// How much of a body was recorded, and in what form it stands in the entry.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BodyExtra {
    pub(crate) wire_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) complete: bool,
    /// The text is the body as it was on the wire, its content coding still on.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) coded: bool,
    /// The body was left out of the file.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) omitted: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SizesExtra {
    pub(crate) request_head: u64,
    pub(crate) request_body: u64,
    pub(crate) response_head: u64,
    pub(crate) response_body: u64,
}

impl PeerExtra {
    pub(crate) fn new(peer: &Peer) -> Self {
        let tls = peer.tls.as_ref().map(|tls| TlsExtra {
            version: tls.version.clone(),
            cipher: tls.cipher.clone(),
            alpn: tls.alpn.clone(),
            sni: tls.sni.clone(),
            offered_alpn: tls.offered_alpn.clone(),
            encrypted_client_hello: tls.encrypted_client_hello,
            ja3: tls.fingerprint.as_ref().map(|fingerprint| fingerprint.ja3.clone()),
            ja3_hash: tls.fingerprint.as_ref().map(|fingerprint| fingerprint.ja3_hash.clone()),
            ja4: tls.fingerprint.as_ref().map(|fingerprint| fingerprint.ja4.clone()),
            certificates: tls.certificates.iter().map(|der| STANDARD.encode(der)).collect(),
            certificates_of: None,
        });
        Self {
            connection: peer.connection,
            address: peer.address,
            tls,
            listener: peer.listener.map(|listener| listener_word(listener).to_owned()),
            user: peer.user.clone(),
            http2_fingerprint: peer.http2_fingerprint.clone(),
            parent: peer.parent.clone(),
            origin: peer.origin.clone(),
            process: peer.process.as_ref().map(|it| ProcessExtra { pid: it.pid, name: it.name.clone() }),
        }
    }

    pub(crate) fn into_peer(self) -> Peer {
        let mut peer = Peer::new(self.connection, self.address, self.tls.map(TlsExtra::into_facts));
        peer.listener = self.listener.as_deref().and_then(listener_of);
        (peer.user, peer.parent) = (self.user, self.parent);
        (peer.http2_fingerprint, peer.origin) = (self.http2_fingerprint, self.origin);
        peer.process = self.process.map(|process| ClientProcess::new(process.pid, process.name));
        peer
    }
}

impl TlsExtra {
    fn into_facts(self) -> TlsFacts {
        let mut facts = TlsFacts::default();
        facts.version = self.version;
        facts.cipher = self.cipher;
        facts.alpn = self.alpn;
        facts.sni = self.sni;
        facts.offered_alpn = self.offered_alpn;
        facts.encrypted_client_hello = self.encrypted_client_hello;
        if let (Some(ja3), Some(ja3_hash), Some(ja4)) = (self.ja3, self.ja3_hash, self.ja4) {
            facts.fingerprint = Some(TlsFingerprint::new(ja3, ja3_hash, ja4));
        }
        facts.certificates =
            self.certificates.iter().filter_map(|der| STANDARD.decode(der).ok()).map(Bytes::from).collect();
        facts
    }
}

impl InterimExtra {
    pub(crate) fn new(head: &ResponseHead) -> Self {
        Self {
            status: head.status.as_u16(),
            reason: head.reason.as_deref().map(crate::text::latin1),
            http_version: crate::version::write(head.version).to_owned(),
            headers: to_fields(&head.headers),
        }
    }

    pub(crate) fn into_head(self) -> Option<ResponseHead> {
        Some(ResponseHead {
            status: StatusCode::from_u16(self.status).ok()?,
            reason: self.reason.as_deref().map(|text| from_latin1(&unbroken(text))),
            version: crate::version::read(&self.http_version),
            headers: from_fields(&self.headers),
        })
    }
}

impl BodyExtra {
    pub(crate) fn new(recorded: Recorded) -> Self {
        Self {
            wire_bytes: recorded.wire_bytes,
            stored_bytes: recorded.stored_bytes,
            complete: recorded.complete,
            coded: false,
            omitted: false,
        }
    }
}

impl From<Sizes> for SizesExtra {
    fn from(sizes: Sizes) -> Self {
        Self {
            request_head: sizes.request_head,
            request_body: sizes.request_body,
            response_head: sizes.response_head,
            response_body: sizes.response_body,
        }
    }
}
