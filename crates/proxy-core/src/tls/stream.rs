//! A client's TLS stream that notices when its first word is a refusal.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::alert;
use crate::{failure::Failure, wire::Io};

/// Tells, once a client's connection has ended, whether it ended because of our certificate.
///
/// Some clients judge the certificate only after the handshake: their alert, or their silent leaving, is then
/// the first thing read from the connection. It is kept here, because on its way through an HTTP codec the
/// error loses its kind.
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
    tls: TlsStream<T>,
    refusal: Refusal,
    heard: bool,
}

impl<T> ClientStream<T> {
    pub(super) fn new(tls: TlsStream<T>) -> Self {
        Self { tls, refusal: Refusal::default(), heard: false }
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    fn refuse(&self, failure: Failure) {
        // Only the first is of interest.
        let _ = self.refusal.0.set(failure);
    }
}

impl<T: Io> AsyncRead for ClientStream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut this.tls).poll_read(cx, buf));
        if buf.filled().len() > before {
            this.heard = true;
        }
        Poll::Ready(match result {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some(failure) = alert::distrust(&error) {
                    this.refuse(failure);
                }
                let torn_off = error.kind() == io::ErrorKind::UnexpectedEof;
                if !this.heard && (torn_off || error.kind() == io::ErrorKind::ConnectionReset) {
                    this.refuse(alert::left_after_certificate());
                }
                if torn_off { Ok(()) } else { Err(error) }
            }
        })
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
