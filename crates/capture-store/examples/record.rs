//! The least a recording proxy can be: what the benchmarks profile, with capture or without.
//!
//! ```console
//! cargo run --release -p capture-store --example record -- 127.0.0.1:8080 STATE UPSTREAM_CA.pem [STORE]
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use std::path::Path;

use capture_store::{Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use proxy_core::{CertificateAuthority, Proxy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let state = arguments.next().ok_or("no directory for the state")?;
    let mut builder = Proxy::builder(CertificateAuthority::load_or_create(Path::new(&state).join("ca"))?);
    if let Some(file) = arguments.next() {
        builder = builder.upstream_ca_file(file)?;
    }
    let recorder = match arguments.next() {
        Some(directory) => {
            let store = Store::open(&directory, StoreConfig::default())?;
            let session = SessionSpec::Named { name: "record".to_owned(), max_bytes: None };
            Some(Recorder::start(&store, session, RecorderConfig::default())?)
        }
        None => None,
    };
    if let Some(recorder) = &recorder {
        builder = builder.observer(recorder.clone());
    }
    let proxy = builder.bind(address).await?;
    println!("listening on http://{}", proxy.local_addr());
    proxy.serve_until(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    if let Some(recorder) = recorder {
        println!("{} recorded", recorder.close()?.exchanges);
    }
    Ok(())
}
