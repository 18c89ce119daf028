//! An origin that follows a script, for peers that do what no HTTP library would.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{ca::TestCa, deadline::within, tasks::Tasks};

/// One thing a scripted origin does on a connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads through the next empty line.
    ReadHead,
    /// Reads through the next occurrence of these bytes.
    ReadUntil(Bytes),
    /// Reads this many bytes.
    Read(usize),
    /// Reads until the peer closes its sending half.
    ReadToEnd,
    /// Sends these bytes.
    Send(Bytes),
    /// Waits for one [`RawOrigin::release`].
    Wait,
    /// Closes the sending half and goes on reading.
    HalfClose,
    /// Resets the connection: the peer sees `ECONNRESET` (SO_LINGER 0). Ends the script.
    Reset,
    /// Closes the socket without the TLS closing alert. Ends the script.
    Cut,
}

impl Step {
    /// A step that sends `bytes`.
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// A step that reads through the next occurrence of `end`.
    pub fn read_until(end: impl AsRef<[u8]>) -> Self {
        Self::ReadUntil(Bytes::copy_from_slice(end.as_ref()))
    }
}

/// A listener whose n-th connection follows the n-th script, the last script serving all that follow.
///
/// A script that ends closes its connection (with the closing alert on TLS). Dropping the origin closes everything.
#[derive(Debug)]
pub struct RawOrigin {
    addr: SocketAddr,
    state: Arc<State>,
    changed: watch::Receiver<usize>,
    tasks: Tasks,
}

#[derive(Debug)]
struct State {
    scripts: Vec<Vec<Step>>,
    released: Semaphore,
    connections: Mutex<Vec<Connection>>,
    finished: watch::Sender<usize>,
}

#[derive(Clone, Debug, Default)]
struct Connection {
    received: Vec<u8>,
    failure: Option<String>,
}

impl RawOrigin {
    /// Listens without TLS.
    pub async fn plain(scripts: Vec<Vec<Step>>) -> io::Result<Self> {
        Self::start(scripts, None).await
    }

    /// Listens with TLS for `localhost` and `127.0.0.1` under `ca`, choosing among `alpn`.
    pub async fn https(ca: &TestCa, alpn: &[&str], scripts: Vec<Vec<Step>>) -> io::Result<Self> {
        let config = ca.leaf(&["localhost", "127.0.0.1"])?.server_config(alpn)?;
        Self::start(scripts, Some(TlsAcceptor::from(config))).await
    }

    async fn start(scripts: Vec<Vec<Step>>, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (finished, changed) = watch::channel(0);
        let connections = Mutex::default();
        let state = Arc::new(State { scripts, released: Semaphore::new(0), connections, finished });
        let tasks = Tasks::default();
        tasks.spawn(accept(listener, tls, state.clone()));
        Ok(Self { addr, state, changed, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `localhost:port`, for CONNECT and Host.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }

    /// Lets one [`Step::Wait`] pass.
    pub fn release(&self) {
        self.state.released.add_permits(1);
    }

    /// How many connections came.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.lock().len()
    }

    /// What the connection `index` (from 0) has received so far.
    #[must_use]
    pub fn received(&self, index: usize) -> Vec<u8> {
        self.state.lock().get(index).map(|connection| connection.received.clone()).unwrap_or_default()
    }

    /// Why the script of connection `index` broke off, if it did.
    #[must_use]
    pub fn failure(&self, index: usize) -> Option<String> {
        self.state.lock().get(index).and_then(|connection| connection.failure.clone())
    }

    /// Waits until `count` scripts have ended, well or not.
    pub async fn finished(&self, count: usize) -> io::Result<()> {
        let mut changed = self.changed.clone();
        within("the scripts", async {
            changed.wait_for(|&finished| finished >= count).await.map(|_| ()).map_err(io::Error::other)
        })
        .await
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.lock().get_mut(index) {
            change(connection);
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let tasks = Tasks::default();
    while let Ok((stream, _)) = listener.accept().await {
        let index = {
            let mut connections = state.lock();
            connections.push(Connection::default());
            connections.len() - 1
        };
        let (tls, state) = (tls.clone(), state.clone());
        tasks.spawn(async move {
            if let Err(error) = serve(stream, tls, index, &state).await {
                state.note(index, |connection| connection.failure = Some(error.to_string()));
            }
            state.finished.send_modify(|finished| *finished += 1);
        });
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, index: usize, state: &State) -> io::Result<()> {
    let socket = match tls {
        Some(acceptor) => Socket::Tls(Box::new(within("the handshake", acceptor.accept(stream)).await?)),
        None => Socket::Plain(stream),
    };
    let script = state.scripts.get(index).or(state.scripts.last()).cloned().unwrap_or_default();
    let mut player = Player { socket, unread: BytesMut::new(), index, state };
    for step in script {
        let ends = matches!(step, Step::Reset | Step::Cut);
        player.play(step).await?;
        if ends {
            return Ok(());
        }
    }
    player.socket.shutdown().await
}

/// Follows one script on one connection.
struct Player<'a> {
    socket: Socket,
    unread: BytesMut,
    index: usize,
    state: &'a State,
}

impl Player<'_> {
    async fn play(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::ReadHead => self.read_until(b"\r\n\r\n").await,
            Step::ReadUntil(end) => self.read_until(&end).await,
            Step::Read(count) => {
                while self.unread.len() < count {
                    self.fill().await?;
                }
                drop(self.unread.split_to(count));
                Ok(())
            }
            Step::ReadToEnd => match self.read_until_closed().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                other => other,
            },
            Step::Send(bytes) => {
                self.socket.write_all(&bytes).await?;
                self.socket.flush().await
            }
            Step::Wait => {
                let permit = self.state.released.acquire().await.map_err(io::Error::other)?;
                permit.forget();
                Ok(())
            }
            Step::HalfClose => self.socket.shutdown().await,
            Step::Reset => self.socket.tcp().set_zero_linger(),
            Step::Cut => Ok(()),
        }
    }

    async fn read_until(&mut self, end: &[u8]) -> io::Result<()> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                drop(self.unread.split_to(at + end.len()));
                return Ok(());
            }
            self.fill().await?;
        }
    }

    async fn read_until_closed(&mut self) -> io::Result<()> {
        loop {
            self.fill().await?;
            self.unread.clear();
        }
    }

    /// Reads some more; the end of the stream is an error, told apart by its kind.
    async fn fill(&mut self) -> io::Result<()> {
        let before = self.unread.len();
        if within("reading", self.socket.read_buf(&mut self.unread)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fresh = self.unread.get(before..).unwrap_or_default();
        self.state.note(self.index, |connection| connection.received.extend_from_slice(fresh));
        Ok(())
    }
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
