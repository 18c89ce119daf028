//! `exec`: the command's environment, its exit code, its signals, what is told and written.

use std::{env, ffi::OsStr, fs, process::Stdio};

use serde_json::Value;
use testkit::{Origin, ProxyClient, TestCa};
use tokio::process::Command;

use crate::process::{Home, ran};

/// Tells the test below what to fetch, when it runs as somebody's child.
const FETCH: &str = "TEST_CHILD_FETCHES";

/// This test binary as a client that knows only what its environment says, as curl does: curl need not be there.
fn client(home: &Home, arguments: &[&OsStr], url: &str) -> Command {
    let mut command = home.wirescope([OsStr::new("exec")]);
    command.args(arguments).arg("--").arg(env::current_exe().unwrap());
    command.args(["--exact", "exec::child_fetches_what_its_environment_says", "--nocapture"]);
    command.env(FETCH, url);
    command
}

#[tokio::test]
async fn child_fetches_what_its_environment_says() {
    let Ok(url) = env::var(FETCH) else { return };
    let (authority, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let proxy = env::var("https_proxy").unwrap();
    assert_eq!(proxy, env::var("HTTPS_PROXY").unwrap());
    assert_eq!(env::var("no_proxy").unwrap(), "");
    let roots = fs::read_to_string(env::var("SSL_CERT_FILE").unwrap()).unwrap();
    let proxy = proxy.strip_prefix("http://").unwrap().parse().unwrap();
    let client = ProxyClient::new(proxy, &roots, &["h2", "http/1.1"]).unwrap();
    let answer = client.https(authority).await.unwrap().get(&format!("/{path}")).await.unwrap();
    println!("answered {}: {}", answer.status, answer.text());
}

async fn origin(home: &Home) -> (Origin, std::path::PathBuf) {
    let ca = TestCa::new().unwrap();
    (Origin::https(&ca).await.unwrap(), home.write_ca(&ca))
}

#[tokio::test]
async fn command_is_captured_summed_up_and_written() {
    let home = Home::new();
    let (origin, ca) = origin(&home).await;
    let arguments = ["--har".as_ref(), "out.har".as_ref(), "--upstream-ca".as_ref(), ca.as_os_str()];
    let ran = ran(&mut client(&home, &arguments, &origin.url("/json"))).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("answered 200 OK: {\"greeting\""), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("captured 1 exchange with 1 host; see `wirescope show s1`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("wrote out.har (1 entry"), "{}", ran.stderr);
    let har: Value = serde_json::from_slice(&fs::read(home.file("out.har")).unwrap()).unwrap();
    assert_eq!(har["log"]["entries"][0]["request"]["url"], origin.url("/json"));
    assert_eq!(home.json(["show", "last", "--json"]).await[0]["url"], origin.url("/json"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn command_is_told_as_the_client_where_that_is_asked_for() {
    let home = Home::new();
    let (origin, ca) = origin(&home).await;
    let arguments = ["--client-process".as_ref(), "--upstream-ca".as_ref(), ca.as_os_str()];
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    // A client that is gone before it is found stays unknown, and this one has little to do.
    for _ in 0..20 {
        let ran = ran(&mut client(&home, &arguments, &origin.url("/json"))).await;
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        let shown = home.json(["show", "last", "--json"]).await;
        let id = shown[0]["id"].as_str().unwrap();
        let shown = home.json(["show", id, "--json"]).await;
        let process = &shown[0]["client"]["process"];
        if process.is_object() {
            assert_eq!(process["name"], own.trim_end(), "{shown:?}");
            assert!(process["pid"].as_u64() > Some(1) && process["pid"] != std::process::id(), "{shown:?}");
            return;
        }
    }
    panic!("no client was found in twenty runs");
}

#[tokio::test]
async fn curl_is_captured_without_a_flag() {
    let home = Home::new();
    if Command::new("curl").arg("--version").output().await.is_err() {
        return;
    }
    let (origin, ca) = origin(&home).await;
    let mut exec = home.wirescope(["exec", "--har", "out.har", "--upstream-ca"]);
    exec.arg(ca).args(["--", "curl", "-sS", "-w", "%{http_version}", &origin.url("/json")]);
    let ran = ran(&mut exec).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("{\"greeting\""), "{}", ran.stdout);
    assert!(ran.stderr.contains("captured 1 exchange"), "{}", ran.stderr);
}

#[tokio::test]
async fn client_that_brings_its_own_authorities_is_explained() {
    let home = Home::new();
    if Command::new("curl").arg("--version").output().await.is_err() {
        return;
    }
    let (origin, ca) = origin(&home).await;
    let mut exec = home.wirescope(["exec", "--upstream-ca"]);
    exec.arg(&ca).args(["--", "curl", "-sS", "--cacert"]).arg(&ca).arg(origin.url("/json"));
    let ran = ran(&mut exec).await;
    assert_eq!(ran.code, Some(60), "{}", ran.stderr);
    assert!(ran.stderr.contains("failed: 1 with localhost: client does not trust the CA"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`wirescope ca trust`"), "{}", ran.stderr);
}

#[cfg(unix)]
#[tokio::test]
async fn exit_code_is_the_commands() {
    let home = Home::new();
    let plain = home.file("plain-file");
    fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "kill -TERM $$"], 128 + 15),
        (vec!["no-such-command-here"], 127),
        (vec![plain], 126),
    ] {
        let ran = home.run(["exec", "--quiet", "--"].iter().chain(&command)).await;
        assert_eq!(ran.code, Some(code), "{command:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), usize::from(code == 127 || code == 126), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn har_that_cannot_be_written_in_the_end_is_a_failure_of_its_own() {
    let home = Home::new();
    for (script, code) in [("rmdir sub", 1), ("rmdir sub; exit 9", 9)] {
        fs::create_dir(home.file("sub")).unwrap();
        let ran = home.run(["exec", "--quiet", "--har", "sub/out.har", "--", "sh", "-c", script]).await;
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: failed to write --har: "), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn standard_streams_are_the_commands_own() {
    let home = Home::new();
    fs::write(home.file("in"), "through and through").unwrap();
    let mut exec = home.wirescope(["exec", "--quiet", "--", "sh", "-c", "cat; echo note >&2"]);
    exec.stdin(fs::File::open(home.file("in")).unwrap());
    let ran = ran(&mut exec).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("through and through", "note\n"));
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_is_passed_on_and_what_was_captured_is_kept() {
    use testkit::within;
    use tokio::io::{AsyncBufReadExt, BufReader};

    let home = Home::new();
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut exec = home.wirescope(["exec", "--har", "out.har", "--", "sh", "-c", script]);
    let mut child = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(within("a line", lines.next_line()).await.unwrap().as_deref(), Some("ready"));
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    assert_eq!(within("a line", lines.next_line()).await.unwrap().as_deref(), Some("asked"));
    let ended = within("its end", child.wait_with_output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(home.file("out.har").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn interrupt_of_the_terminals_group_ends_the_command_and_what_was_captured_is_kept() {
    use testkit::within;
    use tokio::io::{AsyncBufReadExt, BufReader};

    let home = Home::new();
    let script = "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let mut exec = home.wirescope(["exec", "--har", "out.har", "--", "sh", "-c", script]);
    let mut child = exec.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(within("a line", lines.next_line()).await.unwrap().as_deref(), Some("ready"));
    let group = format!("-{}", child.id().unwrap());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().await.unwrap().success());
    let ended = within("its end", child.wait_with_output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(5), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(home.file("out.har").exists());
}

#[tokio::test]
async fn several_at_once_make_one_ca_and_all_are_captured() {
    let home = Home::new();
    let (origin, ca) = origin(&home).await;
    let files = ["a.har", "b.har", "c.har"];
    let mut children: Vec<_> = files
        .iter()
        .map(|file| {
            let arguments = ["--har".as_ref(), file.as_ref(), "--upstream-ca".as_ref(), ca.as_os_str()];
            let url = origin.url(&format!("/headers?{file}"));
            let mut exec = client(&home, &arguments, &url);
            exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for (child, file) in children.iter_mut().zip(files) {
        let status = testkit::within("the command", child.wait()).await.unwrap();
        assert!(status.success(), "{file}");
        let har: Value = serde_json::from_slice(&fs::read(home.file(file)).unwrap()).unwrap();
        assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 1, "{file}");
        assert_eq!(har["log"]["entries"][0]["request"]["url"], origin.url(&format!("/headers?{file}")));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn exemptions_are_emptied_unless_they_are_to_be_kept() {
    let home = Home::new();
    for (flag, seen) in [(None, ""), (Some("--keep-no-proxy"), "localhost")] {
        let mut exec = home.wirescope(["exec", "--quiet"]);
        exec.args(flag).args(["--", "sh", "-c", "printf %s \"$NO_PROXY\""]).env("NO_PROXY", "localhost");
        assert_eq!(ran(&mut exec).await.stdout, seen, "{flag:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn exec_beside_a_recording_proxy_records_apart() {
    let home = Home::new();
    let (_origin, running) = crate::process::Running::with_origin(&home).await;
    let ran = home.run(["exec", "--har", "out.har", "--", "true"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("another wirescope records into"), "{}", ran.stderr);
    assert!(home.file("out.har").exists());
    // Who named where to record is not sent elsewhere.
    for arguments in [&["run", "--port", "0"][..], &["exec", "--session", "mine", "--", "true"]] {
        let refused = home.run(arguments).await;
        assert_eq!(refused.code, Some(1), "{arguments:?}");
        assert!(refused.stderr.contains("another wirescope is recording there"), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("--store") && refused.stderr.lines().count() == 1,
            "{}",
            refused.stderr
        );
    }
    running.kill().await;
}
