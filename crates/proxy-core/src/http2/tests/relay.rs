//! Both legs back to back, as an exchange joins them.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, client, server};
use http::{HeaderMap, Request, Response};
use tokio::io::duplex;

use super::*;
use crate::{
    http2::{BodyToCome, Responder, ResponseReader, SendError, Upstream, Writer},
    wire::WireErrorKind,
};

/// Passes a body on, piece by piece, while it is wanted.
async fn pass(mut body: BodyReader, mut writer: Writer) -> Result<(), WireError> {
    let mut trailers = None;
    loop {
        let piece = tokio::select! {
            piece = body.piece() => piece?,
            gone = writer.gone() => return Err(gone),
        };
        match piece {
            Some(Piece::Data(data)) => writer.data(data).await?,
            Some(Piece::Trailers(headers)) => trailers = Some(headers),
            None => return writer.end(trailers.as_ref()).await,
        }
    }
}

async fn pass_response(mut response: ResponseReader, mut responder: Responder) -> Result<(), WireError> {
    let head = loop {
        let head = tokio::select! {
            head = response.head() => head,
            gone = responder.gone() => return Err(gone),
        };
        match head {
            Ok(head) if head.status.is_informational() => responder.informational(&head)?,
            Ok(head) => break head,
            Err(SendError { error, .. }) => {
                if let WireErrorKind::Reset(Some(code)) = error.kind {
                    responder.reset(code);
                }
                return Err(error);
            }
        }
    };
    let writer = responder.head(&head, BodyToCome::Yes)?;
    pass(response.body().expect("the final head is read"), writer).await
}

/// Joins both legs. A request that is not wanted any more does not end its response.
async fn relay(incoming: Incoming, upstream: Upstream) -> Result<(), SendError> {
    let protocol = incoming.protocol.as_deref();
    let (writer, response) = upstream.send(&incoming.head, protocol, BodyToCome::Yes).await?;
    let (_, down) = tokio::join!(pass(incoming.body, writer), pass_response(response, incoming.responder));
    Ok(down?)
}

/// Serves as the path says.
async fn serve_request(request: Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    match parts.uri.path() {
        "/reset" => respond.send_reset(Reason::from(0xbeef)),
        "/reset-in-body" => {
            let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
            let _ = stream.send_data(zeros(100_000), false);
            body.data().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "/early" => {
            let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
            let _ = stream.send_data(Bytes::from_static(b"early"), true);
        }
        "/silent" => {
            let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
        }
        _ => echo(body, respond).await,
    }
}

/// Answers with what it is sent, bytes and trailers, as long as both sides go on.
async fn echo(mut body: h2::RecvStream, mut respond: server::SendResponse<Bytes>) {
    let _ = respond.send_informational(Response::builder().status(103).body(()).unwrap());
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if stream.send_data(data, false).is_err() {
            return;
        }
    }
    let _ = match body.trailers().await {
        Ok(Some(trailers)) => stream.send_trailers(trailers),
        Ok(None) => stream.send_data(Bytes::new(), true),
        Err(_) => return,
    };
}

fn piece(index: usize) -> Bytes {
    Bytes::from(vec![(index % 251) as u8; 1_000 + index])
}

/// A client, both legs and a server. The receiver gets the end of every relay.
async fn chain() -> (client::SendRequest<Bytes>, mpsc::UnboundedReceiver<Result<(), SendError>>) {
    let limits = Limits::default();
    let (client_io, downstream_io) = duplex(PIPE_BYTES);
    let (upstream_io, server_io) = duplex(PIPE_BYTES);
    tokio::spawn(async move {
        let mut server = server::handshake(server_io).await.unwrap();
        while let Some(Ok((request, respond))) = server.accept().await {
            tokio::spawn(serve_request(request, respond));
        }
    });
    let settings = Settings::upstream_facing(&limits, &Timeouts::default());
    let (upstream, driver) = Upstream::connect(Box::new(upstream_io), &settings);
    tokio::spawn(driver);
    let mut arrivals = serve(downstream_io, Settings::client_facing(&limits, &Timeouts::default()));
    let (sender, ends) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(incoming)) = arrivals.recv().await {
            let (upstream, sender) = (upstream.clone(), sender.clone());
            tokio::spawn(async move { sender.send(relay(incoming, upstream).await) });
        }
    });
    let (sender, connection) = soon(client::handshake(client_io)).await.unwrap();
    tokio::spawn(connection);
    (sender, ends)
}

#[tokio::test(start_paused = true)]
async fn bodies_trailers_and_interim_responses_pass_through_both_legs_at_once() {
    let (sender, mut ends) = chain().await;
    let exchanges: Vec<_> = (0..5).map(|_| tokio::spawn(exchange(sender.clone()))).collect();
    for exchange in exchanges {
        soon(exchange).await.unwrap();
        assert_eq!(soon(ends.recv()).await.unwrap(), Ok(()));
    }
}

/// How a client spoils its own request.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    Reset,
    Drop,
    NotAtAll,
}

#[tokio::test(start_paused = true)]
async fn streams_that_break_off_anywhere_leave_the_connections_whole() {
    let (sender, mut ends) = chain().await;
    let mut clients = Vec::new();
    for round in 0..20 {
        for path in ["/echo", "/reset", "/reset-in-body", "/early", "/silent"] {
            for spoil in [Spoil::Reset, Spoil::Drop, Spoil::NotAtAll] {
                // Nobody else would end this one.
                if path != "/silent" || !matches!(spoil, Spoil::NotAtAll) {
                    clients.push(tokio::spawn(spoiled(sender.clone(), path, spoil, round)));
                }
            }
        }
    }
    for client in clients {
        soon(client).await.unwrap();
        let _ = soon(ends.recv()).await.expect("every relay ends");
    }
    soon(exchange(sender)).await;
}

/// Sends `round` pieces of a body to `path`, then spoils it or reads what comes.
async fn spoiled(sender: client::SendRequest<Bytes>, path: &'static str, spoil: Spoil, round: usize) {
    let request = Request::post(format!("https://example.com{path}")).body(()).unwrap();
    let (response, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    for index in 0..round {
        let _ = stream.send_data(piece(index * 10), false);
        tokio::task::yield_now().await;
    }
    match spoil {
        Spoil::Reset => stream.send_reset(Reason::CANCEL),
        Spoil::Drop => drop((response, stream)),
        Spoil::NotAtAll => {
            let _ = stream.send_data(Bytes::new(), true);
            let seen = read(response).await;
            match path {
                "/echo" => assert!(seen.is_ok(), "{seen:?}"),
                "/early" => assert_eq!(seen.unwrap(), 5),
                "/reset" => assert_eq!(seen.unwrap_err().reason(), Some(Reason::from(0xbeef))),
                _ => assert!(seen.is_err(), "{path}: {seen:?}"),
            }
        }
    }
}

async fn read(response: client::ResponseFuture) -> Result<usize, h2::Error> {
    let mut body = response.await?.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        length += data.len();
    }
    Ok(length)
}

async fn exchange(mut sender: client::SendRequest<Bytes>) {
    let request = Request::post("https://example.com/echo").body(()).unwrap();
    let (mut response, mut stream) = sender.send_request(request, false).unwrap();
    let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 103);
    let mut expected = Vec::new();
    for index in 0..500 {
        expected.extend_from_slice(&piece(index));
        stream.send_data(piece(index), false).unwrap();
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    stream.send_trailers(trailers.clone()).unwrap();

    let mut body = response.await.unwrap().into_body();
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
    }
    assert!(received == expected, "the bytes come back as they went");
    assert_eq!(body.trailers().await.unwrap().unwrap(), trailers);
}
