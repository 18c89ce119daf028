//! The body of a recorded request, read from the store as it is sent.

use std::{
    io::{self, Read},
    task::{Context, Poll},
};

use bytes::Bytes;
use capture_store::{BodySide, Seq, Store};
use proxy_core::{BodySource, SendBody};
use tokio::{sync::mpsc, task::spawn_blocking};

/// Bodies up to this size are read before they are sent.
const READ_AT_ONCE: u64 = 64 * 1024;
/// Bytes that are read at a time of larger ones.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait to be sent; then reading waits.
const PIECES: usize = 2;

/// The stored bytes of a request's body, with its content coding. `length` is how many there are.
pub(super) async fn stored(store: &Store, seq: Seq, length: u64) -> io::Result<SendBody> {
    let store = store.clone();
    if length <= READ_AT_ONCE {
        let read = spawn_blocking(move || {
            let mut bytes = Vec::new();
            open(&store, seq)?.read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        });
        return Ok(SendBody::whole(read.await.map_err(io::Error::other)??));
    }
    let (to, pieces) = mpsc::channel(PIECES);
    // It ends when the body is read, or when the request that reads it has gone.
    drop(spawn_blocking(move || {
        if let Err(error) = pump(&store, seq, &to) {
            let _ = to.blocking_send(Err(error));
        }
    }));
    Ok(SendBody::stream(Some(length), Pieces(pieces)))
}

fn open(store: &Store, seq: Seq) -> io::Result<Box<dyn Read + Send>> {
    let body = store.body(seq, BodySide::Request).map_err(io::Error::other)?;
    Ok(body.map_or_else(|| Box::new(io::empty()) as Box<dyn Read + Send>, capture_store::Body::into_reader))
}

fn pump(store: &Store, seq: Seq, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut body = open(store, seq)?;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = body.read(&mut piece)?;
        piece.truncate(read);
        if read == 0 || to.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
}

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl BodySource for Pieces {
    fn poll_piece(&mut self, task: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.0.poll_recv(task).map(Option::transpose)
    }
}
