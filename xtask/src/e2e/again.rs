//! `export --format curl`: the commands, run by a real shell and a real curl, send what was recorded.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{curl, stage::Stage};
use crate::process;

/// What the URLs of these requests have, and no other.
const MARK: &str = "sent-again";
/// How often and how long is looked for them.
const MAX_LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);
/// A body that no terminal shows.
const BINARY: &[u8] = b"\0\x01\xff\r\n'quoted' \x1b[2J";

/// Records requests of all kinds, exports each as a command, runs it through the proxy once more, and compares what arrived.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let binary = stage.directory().join("binary");
    fs::write(&binary, BINARY)?;
    let file = format!("@{}", binary.display());
    let requests: [&[&str]; 8] = [
        &["--http1.1"],
        &["--http1.1", "--data-raw", "it's $HOME `x` \"y\"\n{z}\\", "-H", "Content-Type:"],
        &["--http1.1", "-X", "PUT", "--data-binary", &file, "-H", "X-Empty;", "-H", "x-CASE: Kept"],
        &["--http1.1", "-H", "Transfer-Encoding: chunked", "--data-binary", &file],
        &["--http1.1", "-X", "DELETE", "-H", "User-Agent:", "-H", "Accept:"],
        &["--http1.1", "-X", "POST", "-H", "Content-Length: 0"],
        &["--http2", "-H", "X-Odd: gr\u{fc}n %41 [1-3] {a,b}"],
        &["--http2", "-X", "PATCH", "--data-binary", &file, "-H", "Content-Type: a/b"],
    ];
    let url = stage.secure(&format!("/echo/../echo?a=[1]&b={{x}}&{MARK}"));
    for request in requests {
        let mut command = curl::command(stage, request[0])?;
        command.args(["-g", "--path-as-is", "--max-time", "30", "--output", "/dev/null"]);
        process::output(command.args(&request[1..]).arg(&url))?;
    }
    let originals = recorded(stage, requests.len())?;
    for original in &originals {
        let id = original["id"].as_str().context("no id")?;
        let script = process::output(stage.beside("export").args([id, "--format", "curl"]))?;
        again(stage, &script).with_context(|| format!("{id}:\n{script}"))?;
    }
    let all = recorded(stage, requests.len() * 2)?;
    for (original, copy) in originals.iter().zip(&all[requests.len()..]) {
        compare(original, copy).with_context(|| format!("{original}\nwas sent again as\n{copy}"))?;
    }
    println!("ok: {} requests exported as curl commands and sent again are the same", requests.len());
    Ok(())
}

/// Runs a script in a shell, whose curl goes through the proxy and trusts it.
fn again(stage: &Stage, script: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    let config = stage.directory().join("curlrc");
    let proxy = stage.proxy()?;
    fs::write(
        config.with_file_name(".curlrc"),
        format!("proxy = \"{proxy}\"\ncacert = \"{}\"\nsilent\noutput = \"/dev/null\"\n", stage.ca.display()),
    )?;
    shell.arg("-c").arg(script).env("HOME", home(&config)?).env("CURL_HOME", home(&config)?);
    process::output(&mut shell).map(drop)
}

fn home(config: &Path) -> Result<&Path> {
    config.parent().context("no directory")
}

/// The exchanges of these requests with their bodies, one object each, once as many as are wanted have ended.
fn recorded(stage: &Stage, wanted: usize) -> Result<Vec<Value>> {
    for _ in 0..MAX_LOOKS {
        let mut export = stage.beside("export");
        export.args(["latest", "--format", "jsonl", "--filter", &format!("url:{MARK} -is:open")]);
        let lines = process::output(&mut export)?;
        let exchanges: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        match exchanges.len() {
            found if found == wanted => return Ok(exchanges),
            found if found > wanted => bail!("{found} exchanges were recorded of {wanted}"),
            _ => thread::sleep(PAUSE),
        }
    }
    bail!("not all of {wanted} exchanges were recorded")
}

/// Compares two requests but for what curl makes anew.
fn compare(original: &Value, copy: &Value) -> Result<()> {
    let [original, copy] = [original, copy].map(|exchange| &exchange["request"]);
    for part in ["method", "url", "target", "httpVersion"] {
        if original[part] != copy[part] {
            bail!("{part}: {} became {}", original[part], copy[part]);
        }
    }
    for part in ["text", "base64"] {
        if original["body"][part] != copy["body"][part] {
            bail!("the body: {} became {}", original["body"][part], copy["body"][part]);
        }
    }
    let [original, copy] = [original, copy].map(fields);
    if original != copy {
        bail!("the fields: {original:?} became {copy:?}");
    }
    Ok(())
}

/// The fields in a fixed order: curl puts its own first.
fn fields(request: &Value) -> Vec<String> {
    let mut fields: Vec<String> =
        request["headers"].as_array().into_iter().flatten().map(Value::to_string).collect();
    fields.sort();
    fields
}
