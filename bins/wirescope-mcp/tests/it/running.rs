use serde_json::json;

use crate::agent::{Agent, within};

/// A command that asks for URLs with a shell's means only: bash's own sockets, through the proxy in the environment.
fn fetch(urls: &[String]) -> serde_json::Value {
    let script = urls.iter().map(|url| {
        let host = url.trim_start_matches("http://").split('/').next().unwrap();
        format!(
            "p=${{http_proxy#http://}}; exec 3<>/dev/tcp/${{p%:*}}/${{p##*:}}; \
             printf 'GET {url} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n' >&3; head -n 1 <&3; exec 3>&-"
        )
    });
    let script: Vec<String> = script.collect();
    json!(["-c", format!("{}; echo done >&2; exit 3", script.join("; "))])
}

#[tokio::test]
async fn a_command_runs_to_its_end_and_its_traffic_is_its_own() {
    let agent = Agent::new().await;
    let origin = testkit::Origin::plain().await.unwrap();
    let proxy = agent.start_proxy(json!({})).await;
    let mut other = proxy.http(&origin.authority()).await.unwrap();
    other.get("/json?before").await.unwrap();
    let command = agent.ok(
        "run_with_proxy",
        json!({"command": "bash", "args": fetch(&[origin.url("/json?mine=1"), origin.url("/status/404")])}),
    );
    let meanwhile = async {
        for _ in 0..5 {
            other.get("/json?other").await.unwrap();
        }
    };
    let (ran, ()) = tokio::join!(command, meanwhile);
    assert_eq!((&ran["exit_code"], &ran["timed_out"]), (&json!(3), &json!(false)), "{ran}");
    assert!(ran["stdout"].as_str().unwrap().contains("HTTP/1.1 200"), "{ran}");
    assert_eq!(ran["stderr"], "done\n");
    assert_eq!(ran["exchange_count"], 2, "{ran}");
    let urls: Vec<_> =
        ran["exchanges"].as_array().unwrap().iter().map(|it| it["url"].as_str().unwrap()).collect();
    assert_eq!(urls, [origin.url("/json?mine=1"), origin.url("/status/404")]);
    assert_eq!(
        (&ran["failures"][0]["cause"], &ran["failures"][0]["count"]),
        (&json!("http_error"), &json!(1))
    );
    assert_eq!(ran["hosts"][0][1], 2);
    // All of it is in the live traffic as well, each once.
    agent.settled(8).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_that_takes_too_long_goes_with_its_children() {
    let agent = Agent::new().await;
    let arguments = json!({
        "command": "bash", "args": ["-c", "sleep 600 & echo $!; wait"], "timeout_ms": 700,
    });
    let ran = agent.ok("run_with_proxy", arguments).await;
    assert_eq!((&ran["timed_out"], &ran["exit_code"]), (&json!(true), &json!(null)), "{ran}");
    assert_eq!((&ran["proxy_started"], &ran["exchange_count"]), (&json!(true), &json!(0)));
    assert!(ran["note"].as_str().unwrap().contains("no exchange"), "{ran}");
    let child: u32 = ran["stdout"].as_str().unwrap().trim().parse().unwrap();
    within("the end of the child", async {
        while std::path::Path::new(&format!("/proc/{child}/status")).exists()
            && !std::fs::read_to_string(format!("/proc/{child}/status"))
                .unwrap_or_default()
                .contains("Z (zombie)")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(agent.ok("interceptor_list", json!({})).await["interceptors"][0]["activeTargets"], json!([]));
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_an_error() {
    let agent = Agent::new().await;
    agent.refused("run_with_proxy", json!({"command": "no-such-program-here"}), "spawn_failed").await;
    agent.refused("run_with_proxy", json!({"command": "true", "cwd": "/etc"}), "path_not_allowed").await;
    let ran = agent.ok("run_with_proxy", json!({"command": "true"})).await;
    assert_eq!(ran["exit_code"], 0);
}
