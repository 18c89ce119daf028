//! An intercepting proxy that edits heads on their way: requests ask for nothing compressed and say who asked, and
//! responses lose the fields that keep a page from being framed. Bodies stream through as they are.
//!
//! ```console
//! cargo run -p proxy-core --example rewrite
//! curl --proxy http://127.0.0.1:8080 --cacert /tmp/wirescope-example-ca/ca.pem -i https://example.com/
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use proxy_core::{
    BoxFuture, CertificateAuthority, ExchangeId, Interceptor, Proxy, RequestHead, ResponseHead, Verdict,
};

struct Rewrite;

impl Interceptor for Rewrite {
    fn request<'a>(&'a self, exchange: ExchangeId, head: &'a mut RequestHead) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            // `set` replaces in place; `push` adds at the end.
            head.headers.set("Accept-Encoding", "identity");
            head.headers.push("X-Request-Id", format!("wirescope-{}", exchange.0));
            Verdict::Continue
        })
    }

    fn response<'a>(
        &'a self,
        _exchange: ExchangeId,
        _request: &'a RequestHead,
        head: &'a mut ResponseHead,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            head.headers.remove("X-Frame-Options");
            head.headers.remove("Content-Security-Policy");
            Verdict::Continue
        })
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
