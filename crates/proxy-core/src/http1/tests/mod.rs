//! The codec's tests: transcripts as data, one helper per question, and properties over generated messages.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, ReadBuf};

use super::*;
use crate::head::{Headers, RequestHead, ResponseHead, Scheme};

mod bodies;
mod framing_rules;
mod hop_by_hop;
mod properties;
mod reading;
mod requests;
mod responses;
mod writing;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 8 * 1024, max_headers: 100 };

/// A peer that sends these bytes, one read each, and then closes. It never makes the reader wait.
#[derive(Debug)]
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn whole(bytes: impl Into<Bytes>) -> Self {
        Self([bytes.into()].into())
    }

    /// Cuts `bytes` at these places, each taken modulo the length.
    fn cut(bytes: &[u8], cuts: &[usize]) -> Self {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        Self(cuts.windows(2).map(|cut| Bytes::copy_from_slice(&bytes[cut[0]..cut[1]])).collect())
    }

    fn bytewise(bytes: &[u8]) -> Self {
        Self(bytes.chunks(1).map(Bytes::copy_from_slice).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(piece) = self.0.front_mut() {
            if piece.is_empty() {
                self.0.pop_front();
                continue;
            }
            let now = piece.split_to(piece.len().min(buf.remaining()));
            buf.put_slice(&now);
            break;
        }
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that never has to wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a future that is ready at once")
}

fn no_tunnel() -> Defaults {
    Defaults { scheme: Scheme::Http, authority: None }
}

fn tunnel() -> Defaults {
    Defaults { scheme: Scheme::Https, authority: Some("tunnel.example:8443".to_owned()) }
}

fn request_in(default: &Defaults, bytes: impl AsRef<[u8]>) -> Result<Option<RequestHead>, HeadError> {
    let mut whole = Reader::new(Pieces::whole(Bytes::copy_from_slice(bytes.as_ref())), LIMITS);
    let mut bytewise = Reader::new(Pieces::bytewise(bytes.as_ref()), LIMITS);
    let head = now(whole.request(default));
    let again = now(bytewise.request(default));
    assert_eq!(format!("{head:?}"), format!("{again:?}"), "the cut of the reads makes a difference");
    head
}

fn request(bytes: impl AsRef<[u8]>) -> Result<Option<RequestHead>, HeadError> {
    request_in(&no_tunnel(), bytes)
}

fn response(bytes: impl AsRef<[u8]>) -> Result<ResponseHead, HeadError> {
    let mut whole = Reader::new(Pieces::whole(Bytes::copy_from_slice(bytes.as_ref())), LIMITS);
    let mut bytewise = Reader::new(Pieces::bytewise(bytes.as_ref()), LIMITS);
    let head = now(whole.response());
    let again = now(bytewise.response());
    assert_eq!(format!("{head:?}"), format!("{again:?}"), "the cut of the reads makes a difference");
    head
}

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.push(*name, *value);
    }
    headers
}

fn shown(headers: &Headers) -> Vec<String> {
    headers.iter().map(|header| format!("{}: {}", header.name_text(), header.value_text())).collect()
}
