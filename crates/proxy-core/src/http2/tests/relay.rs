//! Both legs back to back, as an exchange joins them.

use bytes::Bytes;
use h2::{client, server};
use http::{HeaderMap, Request, Response};
use tokio::io::duplex;

use super::*;
use crate::http2::{BodyToCome, Responder, ResponseReader, SendError, Upstream, Writer};

/// Passes a body on, piece by piece.
async fn pass(mut body: BodyReader, mut writer: Writer) -> Result<(), WireError> {
    let mut trailers = None;
    while let Some(piece) = body.piece().await? {
        match piece {
            Piece::Data(data) => writer.data(data).await?,
            Piece::Trailers(headers) => trailers = Some(headers),
        }
    }
    writer.end(trailers.as_ref()).await
}

async fn pass_response(mut response: ResponseReader, mut responder: Responder) -> Result<(), WireError> {
    let head = loop {
        let head = response.head().await?;
        if !head.status.is_informational() {
            break head;
        }
        responder.informational(&head)?;
    };
    let writer = responder.head(&head, BodyToCome::Yes)?;
    pass(response.body().expect("the final head is read"), writer).await
}

async fn relay(incoming: Incoming, upstream: Upstream) -> Result<(), SendError> {
    let protocol = incoming.protocol.as_deref();
    let (writer, response) = upstream.send(&incoming.head, protocol, BodyToCome::Yes).await?;
    tokio::try_join!(pass(incoming.body, writer), pass_response(response, incoming.responder))?;
    Ok(())
}

/// Answers with what it is sent, bytes and trailers.
async fn echo(request: Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>) {
    respond.send_informational(Response::builder().status(103).body(()).unwrap()).unwrap();
    let mut body = request.into_body();
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        stream.send_data(data, false).unwrap();
    }
    stream.send_trailers(body.trailers().await.unwrap().unwrap()).unwrap();
}

fn piece(index: usize) -> Bytes {
    Bytes::from(vec![(index % 251) as u8; 1_000 + index])
}

#[tokio::test(start_paused = true)]
async fn bodies_trailers_and_interim_responses_pass_through_both_legs_at_once() {
    let limits = Limits::default();
    let (client_io, downstream_io) = duplex(PIPE_BYTES);
    let (upstream_io, server_io) = duplex(PIPE_BYTES);
    tokio::spawn(async move {
        let mut server = server::handshake(server_io).await.unwrap();
        while let Some(Ok((request, respond))) = server.accept().await {
            tokio::spawn(echo(request, respond));
        }
    });
    let settings = Settings::upstream_facing(&limits);
    let (upstream, driver) = soon(Upstream::connect(Box::new(upstream_io), &settings)).await.unwrap();
    tokio::spawn(driver);
    let mut arrivals = serve(downstream_io, Settings::client_facing(&limits));
    tokio::spawn(async move {
        while let Some(Ok(incoming)) = arrivals.recv().await {
            let upstream = upstream.clone();
            tokio::spawn(async move { relay(incoming, upstream).await.unwrap() });
        }
    });
    let (sender, connection) = soon(client::handshake(client_io)).await.unwrap();
    tokio::spawn(connection);

    let exchanges: Vec<_> = (0..5).map(|_| tokio::spawn(exchange(sender.clone()))).collect();
    for exchange in exchanges {
        soon(exchange).await.unwrap();
    }
}

async fn exchange(mut sender: client::SendRequest<Bytes>) {
    let request = Request::post("https://example.com/echo").body(()).unwrap();
    let (mut response, mut stream) = sender.send_request(request, false).unwrap();
    let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
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
