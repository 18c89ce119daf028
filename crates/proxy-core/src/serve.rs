//! Serving HTTP on a client connection, in either version.

mod streams;

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use http::{Method, StatusCode, Version};
use tokio::{io::split, sync::watch, time::timeout};

pub(crate) use self::streams::http2;
use crate::{
    alarm::Alarm,
    client::Client,
    connection::{Layer, drained},
    cut::Cut,
    engine::Engine,
    event::{ClientFacts, Outcome},
    exchange::{
        forward::Shape,
        local::{self, Answer, error_status},
        run::{Afterwards, Arrived, Ended, run},
    },
    failure::{Failure, FailureKind, Side},
    head::{Headers, RequestHead, Scheme},
    http1::{self, Defaults, HeadError, request_framing},
    leg::{BodyReader, Http1Reader, Http1Writer, Responder},
    linger::{LINGER, forget},
    opening::{Opening, Tunnel},
    setup_page,
    wire::WireError,
};

/// A CONNECT that was read, and the connection it came on.
pub(crate) struct Connect {
    pub(crate) facts: Arc<ClientFacts>,
    pub(crate) opening: Opening,
    pub(crate) reader: Http1Reader,
    pub(crate) writer: Http1Writer,
}

/// An HTTP/1 client connection being served.
struct Http1 {
    cx: Client,
    alarm: Alarm,
    reader: Http1Reader,
    writer: Http1Writer,
    defaults: Defaults,
    in_tunnel: bool,
    cut: Cut,
}

/// What to do after a request.
enum Next {
    Request,
    Connect(Arc<ClientFacts>, Opening),
    Close,
    Cut,
}

/// Why there is no request.
enum NoRequest {
    /// The client is done, or the proxy is.
    Over,
    Unreadable(HeadError),
    Late,
}

/// Serves HTTP/1 until the connection ends, or a CONNECT outside any tunnel asks for one.
pub(crate) fn http1(
    engine: &Arc<Engine>,
    layer: Layer,
    draining: &mut watch::Receiver<bool>,
) -> impl Future<Output = Option<Connect>> {
    let Layer { io, facts, tunnel, cut, .. } = layer;
    let scheme = tunnel.as_deref().map_or(Scheme::Http, Tunnel::scheme);
    let defaults =
        Defaults { scheme, authority: tunnel.as_ref().map(|tunnel| tunnel.opening.head.authority.clone()) };
    let in_tunnel = tunnel.is_some();
    let (read, write) = split(io);
    let mut connection = Http1 {
        cx: Client::new(engine, &facts, tunnel, draining),
        alarm: Alarm::default(),
        reader: http1::Reader::new(read, engine.head_limits()),
        writer: http1::Writer::new(write),
        defaults,
        in_tunnel,
        cut,
    };
    // A block, as what it captures is in its state once; what an asynchronous function takes apart would be there twice.
    async move {
        let mut drained = pin!(drained(draining));
        loop {
            match connection.one(drained.as_mut()).await {
                Next::Request => {}
                Next::Connect(facts, opening) => {
                    let Http1 { reader, writer, .. } = connection;
                    return Some(Connect { facts, opening, reader, writer });
                }
                Next::Close => break,
                Next::Cut => return None,
            }
        }
        let Http1 { reader, writer, .. } = connection;
        Box::pin(close(reader, writer)).await;
        None
    }
}

impl Http1 {
    /// Waits for a request and reads its head.
    async fn head(&mut self, drained: Pin<&mut impl Future<Output = ()>>) -> Result<RequestHead, NoRequest> {
        let timeouts = &self.cx.engine.timeouts;
        let (reader, writer) = (&mut self.reader, &mut self.writer);
        let waiting = reader.readable_or_rest(|| writer.rest());
        let readable = tokio::select! {
            biased;
            () = drained => return Err(NoRequest::Over),
            readable = self.alarm.within(timeouts.keep_alive, waiting) => readable,
        };
        if !matches!(readable, Ok(Ok(true))) {
            return Err(NoRequest::Over);
        }
        match self.alarm.within(timeouts.request_head, self.reader.request(&self.defaults)).await {
            Ok(Ok(Some(head))) => Ok(head),
            Ok(Ok(None)) => Err(NoRequest::Over),
            Ok(Err(error)) => Err(NoRequest::Unreadable(error)),
            Err(_) => Err(NoRequest::Late),
        }
    }

    /// Reads one request and runs its exchange.
    async fn one(&mut self, drained: Pin<&mut impl Future<Output = ()>>) -> Next {
        match self.head(drained).await {
            Ok(head) => self.exchange(head).await,
            Err(NoRequest::Over) => Next::Close,
            Err(NoRequest::Unreadable(error)) => Box::pin(self.refuse(error)).await,
            Err(NoRequest::Late) => {
                let patience = self.cx.engine.timeouts.request_head;
                let detail = format!("no whole request head within {patience:?}");
                let failure = Failure::new(FailureKind::ClientTimeout, detail);
                Box::pin(self.refuse_with(unreadable(), 0, failure, StatusCode::REQUEST_TIMEOUT)).await
            }
        }
    }

    /// Runs the exchange of a request.
    async fn exchange(&mut self, mut head: RequestHead) -> Next {
        let head_bytes = self.reader.last_head_bytes();
        let admitted = self.cx.admit(&mut head);
        let framing = match request_framing(&head) {
            Ok(framing) => framing,
            Err(error) => {
                let failure = error.into_failure(Side::Client);
                let status = error_status(&failure);
                return Box::pin(self.refuse_with(head, head_bytes, failure, status)).await;
            }
        };
        let (facts, refusal) = match admitted {
            Ok(facts) => (facts, None),
            Err(failure) => (self.cx.facts.clone(), Some(failure)),
        };
        if head.method == Method::CONNECT && !self.in_tunnel && refusal.is_none() {
            return Next::Connect(facts, Opening { head: Arc::new(head), head_bytes });
        }
        let shape = Shape::of_http1(&framing);
        let max_trailer_bytes = self.cx.engine.limits.max_head_bytes;
        let arrived = Arrived {
            facts,
            head: Arc::new(head),
            head_bytes,
            body: BodyReader::http1(&mut self.reader, framing, max_trailer_bytes),
            shape,
            client: Responder::Http1(&mut self.writer),
        };
        let afterwards = match refusal {
            Some(failure) => Box::pin(turn_down(&self.cx, arrived, failure)).await,
            // In a box, which is there as long as the exchange: a connection at rest does without.
            None => Box::pin(run(&self.cx, arrived)).await,
        };
        match afterwards {
            Afterwards::KeepAlive => Next::Request,
            Afterwards::Cut if !self.writer.shows_cut() => {
                // Under TLS the missing farewell tells it.
                if self.cx.facts.tls.is_none() {
                    self.cut.reset();
                }
                Next::Cut
            }
            Afterwards::ResetConnection => {
                self.cut.reset();
                Next::Cut
            }
            Afterwards::Close | Afterwards::CloseConnection | Afterwards::Cut => Next::Close,
        }
    }

    /// Answers bytes that are no request, and records them as what they are.
    async fn refuse(&mut self, error: HeadError) -> Next {
        let status = error.status();
        let silent = matches!(error, HeadError::Closed | HeadError::Io(_));
        if silent {
            return Next::Close;
        }
        let failure = WireError::from(error).into_failure(Side::Client);
        self.refuse_with(unreadable(), 0, failure, status).await
    }

    async fn refuse_with(
        &mut self,
        head: RequestHead,
        head_bytes: u64,
        mut failure: Failure,
        status: StatusCode,
    ) -> Next {
        let head = Arc::new(head);
        let ledger = self.cx.refusal_ledger(&head, head_bytes, &mut failure);
        let (page, body) = setup_page::error_page(status, local::TITLE, &failure, head.host(), None);
        let answer = Answer::own(page, body);
        local::give(&ledger, &head, Responder::Http1(&mut self.writer), answer, true).await;
        ledger.end(Outcome::Failed(failure));
        Next::Close
    }
}

/// Closes so that what was sent last still arrives.
async fn close(reader: Http1Reader, mut writer: Http1Writer) {
    let farewell = async {
        if writer.shutdown().await.is_ok() {
            forget(&mut reader.into_parts().0).await;
        }
    };
    let _ = timeout(LINGER, farewell).await;
}

/// Answers a request whose client may not use the proxy, or not so, and records that.
async fn turn_down(cx: &Client, arrived: Arrived<'_>, mut failure: Failure) -> Afterwards {
    let Arrived { facts, head, head_bytes, mut body, client, .. } = arrived;
    let ledger = cx.engine.refusal_ledger(&facts, &head, head_bytes, &mut failure);
    let Ended { outcome, afterwards } = local::refuse(&ledger, &head, &mut body, client, failure).await;
    ledger.end(outcome);
    afterwards
}

/// What stands in the record for a request that could not be read.
pub(crate) fn unreadable() -> RequestHead {
    RequestHead {
        method: Method::from_bytes(b"INVALID").unwrap_or_default(),
        scheme: Scheme::Http,
        authority: String::new(),
        target: String::new(),
        version: Version::HTTP_11,
        headers: Headers::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::future_bytes;

    /// Each connection has one of its own for as long as it lasts, however little happens on it.
    #[test]
    fn the_state_of_a_connection_is_small() {
        let serving = |(engine, layer, draining): (&'static Arc<Engine>, _, &'static mut _)| {
            http1(engine, layer, draining)
        };
        let bytes = future_bytes(serving);
        assert!(bytes <= 1_536, "{bytes} bytes");
    }
}
