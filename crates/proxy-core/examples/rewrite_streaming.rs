//! An intercepting proxy that changes bodies: pages and JSON as a whole, everything else that is text in passing, so
//! that streams keep streaming.
//!
//! ```console
//! cargo run -p proxy-core --example rewrite_streaming
//! curl --proxy http://127.0.0.1:8080 --cacert /tmp/wirescope-example-ca/ca.pem --compressed https://example.com/
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use bytes::Bytes;
use proxy_core::{
    BodyTransformer, BodyWish, BoxFuture, CertificateAuthority, ExchangeId, Failure, Interceptor, Proxy,
    RequestHead, ResponseHead, Verdict, WholeBody,
};

/// What is held of a body that is changed as a whole. A larger one passes as it is.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

struct Rewrite;

impl Interceptor for Rewrite {
    fn response_body(&self, _exchange: ExchangeId, _request: &RequestHead, head: &ResponseHead) -> BodyWish {
        match head.headers.get_str("content-type").unwrap_or_default() {
            kind if kind.starts_with("text/html") => BodyWish::Whole { max_bytes: MAX_PAGE_BYTES },
            kind if kind.starts_with("text/") => BodyWish::DecodedPieces(Box::new(Shout)),
            _ => BodyWish::Pass,
        }
    }

    fn whole_response<'a>(
        &'a self,
        exchange: ExchangeId,
        request: &'a RequestHead,
        _head: &'a mut ResponseHead,
        body: &'a mut WholeBody,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            match (body.bytes(), body.unread()) {
                (Some(page), _) => {
                    // It comes decoded; the engine codes it again and puts its length right.
                    let page = String::from_utf8_lossy(page);
                    let page = page.replace("</body>", "<p>Seen by wirescope.</p></body>");
                    println!("#{} {}: {} bytes now", exchange.0, request.url(), page.len());
                    let _ = body.replace(page);
                }
                (None, Some(why)) => println!("#{} {}: left alone: {why}", exchange.0, request.url()),
                (None, None) => {}
            }
            Verdict::Continue
        })
    }
}

/// Puts text in capitals as it passes.
struct Shout;

impl BodyTransformer for Shout {
    fn piece(&mut self, data: Bytes) -> BoxFuture<'_, Result<Bytes, Failure>> {
        // It may wait here for whatever it needs; the next piece is not read before.
        Box::pin(async move { Ok(data.to_ascii_uppercase().into()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ca = CertificateAuthority::load_or_create(std::env::temp_dir().join("wirescope-example-ca"))?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let proxy = Proxy::builder(ca).interceptor(Rewrite).bind(address).await?;
    println!("listening on {}", proxy.local_addr());
    proxy.serve_until(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}
