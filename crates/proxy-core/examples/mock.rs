//! An intercepting proxy that answers `/api/` itself, for every host, and passes on the rest.
//!
//! ```console
//! cargo run -p proxy-core --example mock
//! curl --proxy http://127.0.0.1:8080 --cacert /tmp/wirescope-example-ca/ca.pem https://no-such.example/api/users
//! ```
//!
//! The host need not exist: an answer that needs no upstream is given without one.
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use http::{Method, StatusCode};
use proxy_core::{
    BoxFuture, CertificateAuthority, ExchangeId, Interceptor, Proxy, RequestHead, ResponseHead, Verdict,
};

struct Mock;

impl Interceptor for Mock {
    fn request<'a>(&'a self, _exchange: ExchangeId, head: &'a mut RequestHead) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            if head.method != Method::GET || !head.target.starts_with("/api/") {
                return Verdict::Continue;
            }
            let body = format!("{{\"path\":{:?},\"mocked\":true}}\n", head.target);
            let mut head = ResponseHead::new(StatusCode::OK);
            head.headers.push("Content-Type", "application/json");
            Verdict::Respond { head, body: body.into() }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ca = CertificateAuthority::load_or_create(std::env::temp_dir().join("wirescope-example-ca"))?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let proxy = Proxy::builder(ca).interceptor(Mock).bind(address).await?;
    println!("listening on {}", proxy.local_addr());
    proxy.serve_until(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}
