//! An intercepting proxy with rules written in code, edited while it runs, and explained.
//!
//! ```console
//! cargo run -p proxy-core --example rules
//! curl --proxy http://127.0.0.1:8080 http://no-such.example/api/users
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]

use std::time::SystemTime;

use http::StatusCode;
use proxy_core::{
    CertificateAuthority, Proxy,
    rules::{Action, Described, Matcher, Mock, Rule, Rules},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Rules::new();
    let api = Matcher::path("/api/*").and_method("GET");
    let mock =
        Mock::new(StatusCode::OK).header("Content-Type", "application/json").body("{\"mocked\":true}\n");
    rules.add(Rule::when(api).then(Action::delay(200)).then(Action::Mock(mock)))?;
    rules.add(Rule::from_json(
        r#"{"id": "env", "then": [{"request_headers": {"set": {"x-env": "test"}}}]}"#,
    )?)?;

    let explained = Described::get("http://no-such.example/api/users")?.explain(&rules, SystemTime::now());
    for step in &explained.actions {
        println!("would {} ({})", step.action, step.rule);
    }

    let ca = CertificateAuthority::load_or_create(std::env::temp_dir().join("wirescope-example-ca"))?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let proxy = Proxy::builder(ca).rules(rules.clone()).bind(address).await?.spawn();
    println!("listening on {}", proxy.local_addr());
    // From the next exchange on; those under way go on as they began.
    rules.disable("env")?;
    tokio::signal::ctrl_c().await?;
    drop(proxy);
    Ok(())
}
