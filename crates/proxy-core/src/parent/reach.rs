//! Getting through a parent proxy: connecting to it, and asking it for a tunnel.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    time::{Instant, timeout},
};

use super::{
    socks::{self, Method, Reply5, Target},
    url::{ParentProxy, ParentScheme},
};
use crate::{
    dial::Dialler,
    engine::Engine,
    failure::{Failure, FailureKind},
    head::ResponseHead,
    http1::{self, HeadLimits},
    peek::Rewind,
    unstalled::Unstalled,
    upstreams::Line,
    wire::{BoxedIo, WireError},
};

/// Bounds on the head of a parent's answer to CONNECT.
const ANSWER_LIMITS: HeadLimits = HeadLimits { max_bytes: 64 * 1024, max_headers: 200 };

/// Interim answers to CONNECT that are passed over.
const MAX_INTERIM: usize = 10;

/// Addresses of one name that a parent is asked for, one after the other, where names are resolved here.
const MAX_ASKED: usize = 4;

/// Characters of a parent's reason phrase that a failure says.
const MAX_REASON: usize = 120;

/// Why a parent opens no tunnel.
struct Refusal {
    why: String,
    /// Whether another address of the same host may do better.
    elsewhere: bool,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, elsewhere: false }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection before it answered".to_owned().into(),
            _ => error.to_string().into(),
        }
    }
}

/// Connects to a parent itself, over TLS where its URL says so.
///
/// # Errors
/// [`FailureKind::ParentProxy`], or [`FailureKind::Loop`] when it is this proxy.
pub(crate) async fn reach(engine: &Engine, parent: &ParentProxy) -> Result<Line, Failure> {
    let blame = |failure| blame(parent, failure);
    // The user named it, so it may be anywhere.
    let dialler = Dialler { policy: None, ..engine.dialler() };
    let tcp = dialler.dial(parent.host(), parent.port()).await.map_err(blame)?;
    let begun = Instant::now();
    let mut io: BoxedIo = Box::new(Unstalled::new(tcp.stream, engine.timeouts.idle_body));
    if parent.scheme() == ParentScheme::Https {
        let alpn = [b"http/1.1".to_vec()];
        let patience = engine.timeouts.handshake;
        io = engine
            .connector
            .connect(io, parent.host(), &alpn, patience)
            .await
            .map_err(|error| blame(error.failure))?
            .io;
    }
    Ok(Line {
        io,
        peer: tcp.peer,
        local: tcp.local,
        dns: tcp.dns,
        connect: tcp.connect + begun.elapsed(),
        parent: Some(parent.clone()),
    })
}

/// Gets a tunnel to a host, a name or an address without brackets, through a parent.
///
/// Names are resolved here for `socks4` and `socks5`; then up to four of their addresses are asked for, each on a
/// connection of its own. Connecting has the time-outs of every connection, opening the tunnel [`Timeouts::parent`].
///
/// [`Timeouts::parent`]: crate::Timeouts::parent
///
/// # Errors
/// [`FailureKind::ParentProxy`] with the parent's status or reply, [`FailureKind::Dns`] where names are resolved here,
/// [`FailureKind::Loop`], or [`FailureKind::BlockedAddress`].
pub(crate) async fn tunnel(
    engine: &Engine,
    parent: &ParentProxy,
    host: &str,
    port: u16,
) -> Result<Line, Failure> {
    let begun = Instant::now();
    let targets = targets(engine, parent, host, port).await?;
    let resolving = begun.elapsed();
    let mut refused = None;
    for target in &targets {
        let mut line = reach(engine, parent).await?;
        line.dns += resolving;
        let begun = Instant::now();
        let asked = timeout(engine.timeouts.parent, ask(parent, target, line.io)).await;
        match asked {
            Ok(Ok(io)) => {
                line.connect += begun.elapsed();
                return Ok(Line { io, ..line });
            }
            Ok(Err(Refusal { why, elsewhere })) => {
                let failure = refusal(parent, target, &why);
                if !elsewhere {
                    return Err(failure);
                }
                refused.get_or_insert(failure);
            }
            Err(_elapsed) => {
                let patience = engine.timeouts.parent;
                return Err(refusal(parent, target, &format!("it did not answer within {patience:?}")));
            }
        }
    }
    Err(refused.unwrap_or_else(|| {
        let detail =
            format!("{parent}: {host} has no IPv4 address, and SOCKS 4 reaches no other (use socks5)");
        Failure::new(FailureKind::ParentProxy, detail)
    }))
}

/// What a parent is asked for, in the order to ask.
async fn targets<'h>(
    engine: &Engine,
    parent: &ParentProxy,
    host: &'h str,
    port: u16,
) -> Result<Vec<Target<'h>>, Failure> {
    let dialler = engine.dialler();
    let is_socks4 = parent.scheme() == ParentScheme::Socks4;
    if !is_socks4 && parent.scheme() != ParentScheme::Socks5 {
        dialler.check_unresolved(host, port).await?;
        let is_http = parent.scheme().is_http();
        let target = match host.parse::<IpAddr>() {
            Ok(ip) if !is_http => Target::Address(SocketAddr::new(ip, port)),
            _ => Target::Name(host, port),
        };
        return Ok(vec![target]);
    }
    let found = dialler.candidates(host, port).await?.addresses;
    let reachable = found.into_iter().filter(|addr| !is_socks4 || addr.is_ipv4());
    Ok(reachable.take(MAX_ASKED).map(Target::Address).collect())
}

/// Asks for a tunnel on a connection to the parent.
async fn ask(parent: &ParentProxy, target: &Target<'_>, mut io: BoxedIo) -> Result<BoxedIo, Refusal> {
    match parent.scheme() {
        ParentScheme::Http | ParentScheme::Https => return http_connect(parent, target, io).await,
        ParentScheme::Socks4 | ParentScheme::Socks4a => socks_4(parent, target, &mut io).await?,
        ParentScheme::Socks5 | ParentScheme::Socks5h => socks_5(parent, target, &mut io).await?,
    }
    Ok(io)
}

/// CONNECT (RFC 9110 section 9.3.6). What follows the answer's head belongs to the tunnel, whatever the head says.
async fn http_connect(
    parent: &ParentProxy,
    target: &Target<'_>,
    mut io: BoxedIo,
) -> Result<BoxedIo, Refusal> {
    let authority = shown(target);
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = parent.authorization() {
        head.extend([b"Proxy-Authorization: ", &authorization[..], b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    io.write_all(&head).await?;
    io.flush().await?;
    let (read, write) = split(io);
    let mut reader = http1::Reader::new(read, ANSWER_LIMITS);
    for _ in 0..=MAX_INTERIM {
        let answer = reader.response().await.map_err(|error| WireError::from(error).detail)?;
        if answer.status.is_success() {
            let (read, buffered) = reader.into_parts();
            return Ok(Rewind::boxed(read.unsplit(write), buffered));
        }
        if !answer.status.is_informational() || answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(said(&answer, parent).into());
        }
    }
    Err("it sent interim answers only".to_owned().into())
}

/// What a parent's answer says, in one line, with what helps.
pub(crate) fn said(answer: &ResponseHead, parent: &ParentProxy) -> String {
    let reason = answer.reason.as_deref().unwrap_or_default();
    let reason: String =
        String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    let advice = match (answer.status, parent.has_credentials()) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, false) => " (put the user and password in its URL)",
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, true) => {
            " (it does not take the user and password of its URL)"
        }
        _ => "",
    };
    format!("{} {reason}", answer.status.as_str()).trim_end().to_owned() + advice
}

async fn socks_5(parent: &ParentProxy, target: &Target<'_>, io: &mut BoxedIo) -> Result<(), Refusal> {
    let credentials = parent.credentials();
    say(io, socks::greeting(credentials.is_some())).await?;
    match (socks::chosen(hear(io).await?, credentials.is_some())?, credentials) {
        (Method::Password, Some(credentials)) => {
            say(io, &socks::password(credentials)).await?;
            socks::accepted(hear(io).await?)?;
        }
        (Method::Password | Method::None, _) => {}
    }
    say(io, &socks::connect_5(target)?).await?;
    match socks::reply_5(hear(io).await?)? {
        Reply5::Open { rest } => {
            // Where the parent connected from: nobody asked.
            let mut address = [0; u8::MAX as usize + 2];
            io.read_exact(&mut address[..rest]).await?;
            Ok(())
        }
        Reply5::Refused { why, elsewhere } => Err(Refusal { why, elsewhere }),
    }
}

async fn socks_4(parent: &ParentProxy, target: &Target<'_>, io: &mut BoxedIo) -> Result<(), Refusal> {
    say(io, &socks::connect_4(target, parent.credentials())?).await?;
    // Its refusals do not tell what failed, so another address may do.
    socks::reply_4(hear(io).await?).map_err(|why| Refusal { why, elsewhere: true })
}

async fn say(io: &mut BoxedIo, message: &[u8]) -> io::Result<()> {
    io.write_all(message).await?;
    io.flush().await
}

async fn hear<const N: usize>(io: &mut BoxedIo) -> io::Result<[u8; N]> {
    let mut answer = [0; N];
    io.read_exact(&mut answer).await?;
    Ok(answer)
}

fn shown(target: &Target<'_>) -> String {
    match target {
        Target::Address(addr) => addr.to_string(),
        Target::Name(name, port) if name.contains(':') => format!("[{name}]:{port}"),
        Target::Name(name, port) => format!("{name}:{port}"),
    }
}

fn refusal(parent: &ParentProxy, target: &Target<'_>, why: &str) -> Failure {
    let detail = format!("{parent} opened no tunnel to {}: {why}", shown(target));
    Failure::new(FailureKind::ParentProxy, detail)
}

/// A failure to reach the parent, which names it.
fn blame(parent: &ParentProxy, failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Loop => failure,
        _ => Failure::new(FailureKind::ParentProxy, format!("{parent}: {failure}")),
    }
}
