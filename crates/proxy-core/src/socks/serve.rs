//! The conversation with a SOCKS client, until its tunnel is open.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    parse::{self, Command, Flaw, Greeting, Parsed, Request},
    reply::Reply,
};
use crate::{
    connection::{Layer, reach},
    engine::Engine,
    event::{ClientFacts, ListenerKind, Outcome},
    failure::{Failure, FailureKind},
    linger::{LINGER, linger},
    opening::{Opening, Tunnel},
    peek::Rewind,
    upstreams::Reach,
    wire::BoxedIo,
};

/// Authentication methods (RFC 1928 section 3).
const NO_AUTHENTICATION: u8 = 0;
const LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// Room made for each read: any message of SOCKS fits.
const READ_BYTES: usize = 1024;

/// Whether a connection that begins with these bytes speaks SOCKS. No HTTP and no TLS does: 4 and 5 are neither
/// characters of a token (RFC 9110 section 5.6.2) nor the type of a TLS record.
pub(crate) fn is_socks(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(parse::V4 | parse::V5)))
}

/// A client that speaks SOCKS, with what it sent beyond what was read.
struct Conversation<'e> {
    engine: &'e Engine,
    io: BoxedIo,
    buffered: BytesMut,
    /// Bytes of SOCKS so far.
    heard: u64,
    version: u8,
    user: Option<String>,
}

/// Why there is no tunnel.
enum NoTunnel {
    /// The connection broke off, or the client did not say all it had to.
    Gone(String),
    /// It is refused, with this as the last it hears, before it is known what it asks for or because of it.
    Refused { failure: Failure, last_word: Vec<u8>, asked: Option<Request> },
}

impl From<io::Error> for NoTunnel {
    fn from(error: io::Error) -> Self {
        Self::Gone(error.to_string())
    }
}

/// Opens the tunnel a SOCKS client asks for, dialling before it is told that it stands. All it has to say has
/// [`Timeouts::handshake`](crate::Timeouts).
pub(crate) async fn serve(engine: &Engine, layer: Layer) -> Option<Layer> {
    let Layer { io, mut facts, depth, cut, .. } = layer;
    Arc::make_mut(&mut facts).listener = ListenerKind::Socks;
    let mut with =
        Conversation { engine, io, buffered: BytesMut::new(), heard: 0, version: parse::V5, user: None };
    let asked = match timeout(engine.timeouts.handshake, with.request()).await {
        Ok(asked) => asked,
        Err(_elapsed) => Err(NoTunnel::Gone("it did not say what it wants in time".to_owned())),
    };
    if with.user.is_some() {
        Arc::make_mut(&mut facts).user.clone_from(&with.user);
    }
    let asked = match asked {
        Ok(asked) => asked,
        Err(NoTunnel::Gone(why)) => {
            tracing::debug!(client = %facts.peer, why, "a SOCKS client left or broke off");
            return None;
        }
        Err(NoTunnel::Refused { failure, last_word, asked }) => {
            with.refuse(&facts, asked.as_ref(), failure, &last_word).await;
            return None;
        }
    };
    let opening = Opening::made_up(asked.authority(), with.heard);
    match reach(engine, &asked.host, Some(asked.port), depth).await {
        Ok(upstream) => {
            let said = with.say(Reply::Succeeded, local_addr(&upstream)).await;
            if said.is_err() {
                let gone = Failure::new(FailureKind::ClientLeft, "it closed before its tunnel was open");
                engine.ledger(&facts, &opening.head, opening.head_bytes).end(Outcome::Failed(gone));
                return None;
            }
            Arc::make_mut(&mut facts).tunnel = Some(opening.head.authority.clone());
            let tunnel = Tunnel::new(opening, &asked.host, asked.port, upstream);
            let io = Rewind::boxed(with.io, with.buffered);
            Some(Layer { io, facts, tunnel: Some(tunnel), depth: depth + 1, refusal: None, cut })
        }
        Err(failure) => {
            let ledger = engine.ledger(&facts, &opening.head, opening.head_bytes);
            let said = with.say(Reply::of(&failure), None).await;
            ledger.end(Outcome::Failed(failure));
            if said.is_ok() {
                let _ = timeout(LINGER, linger(&mut with.io)).await;
            }
            None
        }
    }
}

/// Our address on the connection that was dialled.
fn local_addr(upstream: &Reach) -> Option<SocketAddr> {
    match upstream {
        Reach::Dialled(tcp) => Some(tcp.local),
        Reach::Ready(opened) => Some(opened.facts.local),
        Reach::Open | Reach::Resting(_) | Reach::Failed(_) => None,
    }
}

impl Conversation<'_> {
    /// Hears what the client wants, and whether it may.
    async fn request(&mut self) -> Result<Request, NoTunnel> {
        let request = match self.take(parse::greeting).await? {
            Ok(Greeting::V5(methods)) => {
                self.authenticate(&methods).await?;
                self.take(parse::request).await?
            }
            Ok(Greeting::V4(request)) => {
                self.version = parse::V4;
                if self.engine.clients.asks_credentials() {
                    let failure = unauthenticated("SOCKS 4 has no passwords; SOCKS 5 has");
                    return Err(self.refused(failure, Reply::NotAllowed, Some(request)));
                }
                Ok(request)
            }
            Err(flaw) => {
                // Only a client of version 4 gets as far as a request in its first message.
                self.version = parse::V4;
                Err(flaw)
            }
        };
        let request = match request {
            Ok(request) => request,
            Err(flaw) => {
                let reply = if flaw == Flaw::AddressType {
                    Reply::AddressNotSupported
                } else {
                    Reply::GeneralFailure
                };
                let failure = Failure::new(FailureKind::ClientMalformed, flaw.as_str());
                return Err(self.refused(failure, reply, None));
            }
        };
        let refused = match request.command {
            Command::Connect => return Ok(request),
            Command::Bind => "SOCKS BIND is not served, only CONNECT".to_owned(),
            Command::UdpAssociate => "SOCKS UDP ASSOCIATE is not served, only CONNECT".to_owned(),
            Command::Other(number) => format!("SOCKS command {number} is not known"),
        };
        let failure = Failure::new(FailureKind::ClientMalformed, refused);
        Err(self.refused(failure, Reply::CommandNotSupported, Some(request)))
    }

    /// Agrees on a method, and carries it out.
    async fn authenticate(&mut self, methods: &[u8]) -> Result<(), NoTunnel> {
        let clients = &self.engine.clients;
        let is_asked = clients.asks_credentials();
        let method = [NO_AUTHENTICATION, LOGIN]
            .into_iter()
            .find(|method| methods.contains(method) && (*method == LOGIN || !is_asked));
        let Some(method) = method else {
            let failure = unauthenticated(if is_asked {
                "it offered no user name and password"
            } else {
                "it offered neither no authentication nor a user name and password"
            });
            let last_word = vec![parse::V5, NO_METHOD];
            return Err(NoTunnel::Refused { failure, last_word, asked: None });
        };
        self.io.write_all(&[parse::V5, method]).await?;
        self.io.flush().await?;
        if method == NO_AUTHENTICATION {
            return Ok(());
        }
        let rejected = |detail| {
            Err(NoTunnel::Refused { failure: unauthenticated(detail), last_word: vec![1, 1], asked: None })
        };
        let Ok(login) = self.take(parse::login).await? else {
            return rejected("its user name and password cannot be read");
        };
        if is_asked {
            match clients.user(&login.user, &login.password) {
                Some(user) => self.user = Some(user.to_owned()),
                None => return rejected("the user name or the password is wrong"),
            }
        }
        // RFC 1929 section 2: version 1, status 0.
        self.io.write_all(&[1, 0]).await?;
        Ok(self.io.flush().await?)
    }

    /// Reads until a message is whole, and not beyond what came with it.
    async fn take<T>(&mut self, parse: fn(&[u8]) -> Parsed<T>) -> Result<Result<T, Flaw>, NoTunnel> {
        loop {
            match parse(&self.buffered) {
                Parsed::Yes(found, length) => {
                    self.buffered.advance(length);
                    self.heard += length as u64;
                    return Ok(Ok(found));
                }
                Parsed::No(flaw) => return Ok(Err(flaw)),
                Parsed::NeedMore => {}
            }
            self.buffered.reserve(READ_BYTES);
            if self.io.read_buf(&mut self.buffered).await? == 0 {
                return Err(NoTunnel::Gone("it closed".to_owned()));
            }
        }
    }

    fn refused(&self, failure: Failure, reply: Reply, asked: Option<Request>) -> NoTunnel {
        NoTunnel::Refused { failure, last_word: self.spelt(reply, None), asked }
    }

    fn spelt(&self, reply: Reply, bound: Option<SocketAddr>) -> Vec<u8> {
        if self.version == parse::V4 { reply.version4() } else { reply.version5(bound) }
    }

    async fn say(&mut self, reply: Reply, bound: Option<SocketAddr>) -> io::Result<()> {
        let reply = self.spelt(reply, bound);
        self.io.write_all(&reply).await?;
        self.io.flush().await
    }

    /// Says the last word, and records it.
    async fn refuse(
        &mut self,
        facts: &Arc<ClientFacts>,
        asked: Option<&Request>,
        mut failure: Failure,
        last_word: &[u8],
    ) {
        let authority = asked.map(Request::authority).unwrap_or_default();
        let opening = Opening::made_up(authority, self.heard);
        let ledger = self.engine.refusal_ledger(facts, &opening.head, opening.head_bytes, &mut failure);
        ledger.end(Outcome::Failed(failure));
        let farewell = async {
            if self.io.write_all(last_word).await.is_ok() {
                linger(&mut self.io).await;
            }
        };
        let _ = timeout(LINGER, farewell).await;
    }
}

fn unauthenticated(detail: &str) -> Failure {
    Failure::new(FailureKind::ClientUnauthenticated, detail)
}
