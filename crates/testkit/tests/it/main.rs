//! The peer must be right before it can judge: each part is tested against the others, without the engine.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its peers has failed")]

mod origin;
mod raw;
mod websocket;

use testkit::{HttpClient, Origin, TestCa};

/// An origin and a client of it that both speak `alpn`.
async fn pair(alpn: &[&'static str]) -> (Origin, HttpClient) {
    let ca = TestCa::new().unwrap();
    let origin = Origin::builder().https(&ca).unwrap().alpn(alpn).start().await.unwrap();
    let tls = ca.client_config(alpn).unwrap();
    let client = HttpClient::direct(origin.addr(), &origin.authority(), tls).await.unwrap();
    (origin, client)
}
