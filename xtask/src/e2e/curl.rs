//! curl through the proxy, in both HTTP versions.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use super::stage::Stage;
use crate::process;

/// Bytes of the large bodies.
const LARGE_BYTES: usize = 3_000_000;

/// Runs every request; each checks what curl got.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let upload = stage.directory().join("upload");
    fs::write(&upload, vec![b'x'; LARGE_BYTES])?;
    for (version, told) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let get = |path: &str, more: &[&str]| fetch(stage, &stage.secure(path), version, more);
        expect(&get("/json", &[])?, &format!("{told} 200"), "greeting")?;
        expect(&get("/gzip", &["--compressed"])?, &format!("{told} 200"), "greeting")?;
        expect(&get("/status/404", &[])?, &format!("{told} 404"), "status 404")?;
        expect(&get("/cookies", &[])?, &format!("{told} 200"), "two cookies")?;
        expect(&get("/bytes/1000", &["--head"])?, &format!("{told} 200"), "1000")?;
        expect(&get("/sse?events=3&ms=20", &["--no-buffer"])?, &format!("{told} 200"), "\"tick\":3")?;
        expect(&get("/echo", &["--data", "name=value"])?, &format!("{told} 200"), "name=value")?;
        let file = format!("@{}", upload.display());
        let sent = get("/upload", &["--header", "Expect: 100-continue", "--data-binary", &file])?;
        expect(&sent, &format!("{told} 200"), &format!("\"bytes\":{LARGE_BYTES}"))?;
        let download = get(
            &format!("/bytes/{LARGE_BYTES}"),
            &["--output", "/dev/null", "--write-out", " %{size_download}"],
        )?;
        expect(&download, "", &LARGE_BYTES.to_string())?;
        println!("ok: curl {version}");
    }
    expect(&fetch(stage, &stage.plain("/json"), "--http1.1", &[])?, "1.1 200", "greeting")?;
    println!("ok: curl, plain HTTP");
    untrusted(stage)
}

/// A client that does not trust the CA: curl must refuse, and the proxy record why (see `record`).
fn untrusted(stage: &Stage) -> Result<()> {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--proxy",
            &stage.proxy()?,
            &stage.secure("/json"),
        ])
        .output()?;
    // 60: the peer's certificate cannot be authenticated.
    if output.status.code() != Some(60) {
        bail!(
            "curl without the CA ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    println!("ok: curl without the CA refuses");
    Ok(())
}

/// What curl printed: the body, then `<version> <status>` on a line of its own unless `more` says otherwise.
fn fetch(stage: &Stage, url: &str, version: &str, more: &[&str]) -> Result<String> {
    let mut curl = command(stage, version)?;
    curl.args(["--max-time", "60", "--write-out", "\n%{http_version} %{http_code}"]).args(more).arg(url);
    process::output(&mut curl).with_context(|| format!("curl {version} {url}"))
}

/// curl through the proxy, trusting its CA.
pub(super) fn command(stage: &Stage, version: &str) -> Result<Command> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", version, "--proxy", &stage.proxy()?, "--cacert"]).arg(&stage.ca);
    Ok(curl)
}

fn expect(printed: &str, ends: &str, contains: &str) -> Result<()> {
    if !printed.ends_with(ends) || !printed.contains(contains) {
        bail!("curl got {printed:?}, which does not hold {contains:?} and end in {ends:?}");
    }
    Ok(())
}
