//! An origin until Ctrl-C.

use std::{io, path::PathBuf};

use testkit::{Origin, TestCa};

/// What to serve.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Serve TLS under a fresh authority and write its certificate here; without it, serve plain HTTP/1.1.
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Choose among these protocols only.
    #[arg(long, value_delimiter = ',', value_parser = ["h2", "http/1.1"])]
    alpn: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> io::Result<()> {
    let alpn: Vec<&'static str> =
        arguments.alpn.iter().map(|name| if name == "h2" { "h2" } else { "http/1.1" }).collect();
    let mut builder = Origin::builder();
    if let Some(file) = arguments.ca_out {
        let ca = TestCa::new()?;
        tokio::fs::write(file, ca.pem()).await?;
        builder = builder.https(&ca)?;
    }
    if !alpn.is_empty() {
        builder = builder.alpn(&alpn);
    }
    let origin = builder.start().await?;
    println!("{}", origin.url(""));
    tokio::signal::ctrl_c().await?;
    origin.shutdown().await;
    Ok(())
}
