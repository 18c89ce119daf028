//! The least a proxy can be: what the costs of connections are measured on.
//!
//! ```console
//! cargo run --release -p proxy-core --example plain -- 127.0.0.1:8080 STATE UPSTREAM_CA.pem [shared]
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use std::path::Path;

use proxy_core::{CertificateAuthority, Proxy, UpstreamSharing};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let state = arguments.next().ok_or("no directory for the state")?;
    let ca = CertificateAuthority::load_or_create(Path::new(&state).join("ca"))?;
    let mut builder = Proxy::builder(ca);
    if let Some(file) = arguments.next() {
        builder = builder.upstream_ca_file(file)?;
    }
    if arguments.next().is_some_and(|word| word == "shared") {
        builder = builder.upstream_sharing(UpstreamSharing::Shared);
    }
    let proxy = builder.bind(address).await?;
    println!("listening on http://{}", proxy.local_addr());
    proxy.serve_until(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}
