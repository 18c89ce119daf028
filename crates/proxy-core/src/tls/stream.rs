//! A client's TLS stream that notices when its first word is a refusal.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::HandshakeKind;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_rustls::server::TlsStream;

use super::{alert, tickets::Tickets};
use crate::{failure::Failure, wire::Io};

/// How soon after the handshake a silent leaving counts as an answer to our certificate. Browsers keep spare
/// connections for longer before they give them up.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Tells, once a client's connection has ended, whether it ended because of our certificate.
///
/// Some clients judge the certificate only after the handshake: their alert, or their silent leaving, is then
/// the first thing read from the connection. (Measured: wget tears the connection off, Git with GnuTLS closes it
/// properly.) It is kept here, because on its way through an HTTP codec an error loses its kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal(Arc<OnceLock<Failure>>);

impl Refusal {
    /// The failure, if the client refused before it sent anything.
    pub(crate) fn get(&self) -> Option<&Failure> {
        self.0.get()
    }
}

/// The stream.
///
/// An end without a close_notify reads as a plain end: requests are delimited by HTTP itself, and many clients
/// just close.
pub(super) struct ClientStream<T> {
    tls: TlsStream<Tickets<T>>,
    refusal: Refusal,
    /// Since when the client's first word is awaited; `None` once it came. A client that resumed a session has
    /// accepted our certificate before.
    awaited_since: Option<Instant>,
    /// Whether the client said anything yet; until it does, whoever waits for it sends what it is to have.
    heard: bool,
}

impl<T> ClientStream<T> {
    pub(super) fn new(mut tls: TlsStream<Tickets<T>>) -> Self {
        tls.get_mut().0.over();
        let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Self { tls, refusal: Refusal::default(), awaited_since: (!resumed).then(Instant::now), heard: false }
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    /// Takes note of how a connection ended. Only the first word is of interest, so later calls change nothing.
    fn ended(&mut self, error: Option<&io::Error>) {
        let Some(since) = self.awaited_since.take() else { return };
        let left = match error {
            None => true,
            Some(error) => {
                matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            }
        };
        let failure = match error.and_then(alert::distrust) {
            Some(failure) => failure,
            None if left && since.elapsed() < ANSWERS_WITHIN => alert::left_after_certificate(),
            None => return,
        };
        // It is set here only, and once.
        let _ = self.refusal.0.set(failure);
    }
}

impl<T: Io> AsyncRead for ClientStream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (room, before) = (buf.remaining(), buf.filled().len());
        let read = Pin::new(&mut this.tls).poll_read(cx, buf);
        if read.is_pending() && !this.heard {
            ready!(this.tls.get_mut().0.poll_release(cx))?;
        }
        match ready!(read) {
            Ok(()) if buf.filled().len() > before => (this.awaited_since, this.heard) = (None, true),
            Ok(()) if room == 0 => {}
            Ok(()) => this.ended(None),
            Err(error) => {
                this.ended(Some(&error));
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Io> AsyncWrite for ClientStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
