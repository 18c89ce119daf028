//! An intercepting proxy that prints one line per exchange.
//!
//! ```console
//! cargo run -p proxy-core --example log
//! curl --proxy http://127.0.0.1:8080 --cacert /tmp/wirescope-example-ca/ca.pem https://example.com/
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use proxy_core::{CertificateAuthority, Event, EventKind, ExchangeId, Observer, Outcome, Proxy};

#[derive(Default)]
struct Log(Mutex<HashMap<ExchangeId, (String, String)>>);

impl Observer for Log {
    fn observe(&self, event: &Event) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::Request { head, .. } => {
                open.insert(event.exchange, (format!("{} {}", head.method, head.url()), String::new()));
            }
            EventKind::Response { head, .. } => {
                if let Some((_, status)) = open.get_mut(&event.exchange) {
                    *status = head.status.to_string();
                }
            }
            EventKind::Ended(ending) => {
                let Some((request, status)) = open.remove(&event.exchange) else { return };
                let took = ending.timings.total.as_millis();
                match &ending.outcome {
                    Outcome::Failed(failure) => {
                        println!("{request} -> {status} failed: {failure} ({took} ms)")
                    }
                    _ => println!("{request} -> {status} {} bytes ({took} ms)", ending.sizes.response_body),
                }
            }
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ca = CertificateAuthority::load_or_create(std::env::temp_dir().join("wirescope-example-ca"))?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let mut builder = Proxy::builder(ca).observer(Log::default());
    for file in std::env::args().skip(2) {
        builder = builder.upstream_ca_file(file)?;
    }
    let proxy = builder.bind(address).await?;
    println!("listening on {}", proxy.local_addr());
    proxy.serve_until(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}
