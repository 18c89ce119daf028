//! TLS on both sides: what is mirrored, told, passed through and asked for.

mod clients;
mod issuers;
mod upstreams;

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, ServerConfig};
use testkit::{HttpClient, ProxyClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, client::TlsStream};

use crate::lab::Lab;

/// Serves `ok` over HTTP/1.1 in TLS for as long as the test runs.
async fn serve(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut seen = Vec::new();
                while tls.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {
                    if seen.ends_with(b"\r\n\r\n") {
                        seen.clear();
                        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                    }
                }
            });
        }
    });
    address
}

fn server(chain: Vec<rustls::pki_types::CertificateDer<'static>>, key: &rcgen::KeyPair) -> ServerConfig {
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// A client of the lab's proxy, with TLS as told.
fn client_with(lab: &Lab, set_up: impl FnOnce(&mut ClientConfig)) -> ProxyClient {
    let mut config = ClientConfig::clone(&testkit::client_config(&lab.ca_pem, &["http/1.1"]).unwrap());
    set_up(&mut config);
    lab.client(&[]).with_tls(Arc::new(config))
}

/// Asks for `/`, and gives the status and the stream's facts back.
async fn get(client: &ProxyClient, authority: &str) -> u16 {
    let mut client = client.https(authority).await.unwrap();
    client.get("/").await.unwrap().status.as_u16()
}

/// Asks for `/` on a stream.
async fn get_on(tls: TlsStream<tokio::net::TcpStream>, authority: &str) -> u16 {
    let mut client = HttpClient::over_tls(tls, authority).await.unwrap();
    client.get("/").await.unwrap().status.as_u16()
}
