use serde_json::{Value, json};
use testkit::Origin;

use crate::agent::{Agent, within};

/// Waits until a command has ended, and gives how.
async fn ended(agent: &Agent, target: &Value) -> Value {
    within("the command's end", async {
        loop {
            let status = agent.ok("interceptor_status", json!({"interceptor_id": "terminal"})).await;
            let targets = status["activeTargets"].as_array().unwrap();
            let found = targets.iter().find(|entry| entry["id"] == *target).unwrap();
            if found["details"]["exited"] == true {
                return found["details"].clone();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_command_goes_through_the_proxy_and_trusts_it() {
    let (agent, origin, _proxy) = Agent::with_origin().await;
    let arguments = json!({"command": "curl", "args": ["-sS", "--max-time", "20", origin.url("/json")]});
    let spawned = agent.ok("interceptor_spawn", arguments).await;
    let details = ended(&agent, &spawned["targetId"]).await;
    assert_eq!(details["exitCode"], 0, "{details}");
    assert!(!details["stdoutTail"].as_str().unwrap().is_empty());
    let all = agent.settled(1).await;
    assert_eq!(all["exchanges"][0]["url"], origin.url("/json"), "{all}");
    assert_eq!(all["exchanges"][0]["status"], 200);

    let listed = agent.ok("interceptor_list", json!({})).await;
    assert_eq!(listed["totalActive"], 0);
    assert_eq!(listed["interceptors"][0]["isActivable"], true);
    let killed = agent.ok("interceptor_kill", json!({"target_id": spawned["targetId"]})).await;
    assert_eq!(killed["output"]["exitCode"], 0);
    agent.refused("interceptor_kill", json!({"target_id": spawned["targetId"]}), "unknown_target").await;
}

#[tokio::test]
async fn a_command_that_cannot_start_is_an_error_at_once() {
    let agent = Agent::new().await;
    agent.refused("interceptor_spawn", json!({"command": "true"}), "not_running").await;
    agent.ok("proxy_start", json!({})).await;
    agent.refused("interceptor_spawn", json!({"command": "no-such-program"}), "spawn_failed").await;
    agent.refused("interceptor_spawn", json!({"command": "true", "cwd": "/etc"}), "path_not_allowed").await;
    agent.refused("interceptor_status", json!({"interceptor_id": "browser"}), "unknown_interceptor").await;
    assert_eq!(agent.ok("interceptor_list", json!({})).await["interceptors"][0]["activeTargets"], json!([]));
}

#[cfg(unix)]
#[tokio::test]
async fn killing_a_command_ends_what_it_started_too() {
    let agent = Agent::new().await;
    agent.ok("proxy_start", json!({})).await;
    let script = "sleep 600 & echo $! > child.pid; echo begun; trap '' TERM; wait; wait";
    let arguments = json!({"command": "sh", "args": ["-c", script], "cwd": ".", "env": {"X": "1"}});
    let spawned = agent.ok("interceptor_spawn", arguments).await;
    within("the child", async {
        let status = json!({"interceptor_id": "terminal"});
        while !agent.ok("interceptor_status", status.clone()).await.to_string().contains("begun\\n") {}
    })
    .await;
    let pid = std::fs::read_to_string(agent.path("child.pid")).unwrap().trim().to_owned();
    let killed = agent.ok("interceptor_kill", json!({"target_id": spawned["targetId"]})).await;
    assert_eq!(killed["output"]["stdout"], "begun\n");
    let alive = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(!alive, "the child of the command goes on");
}

#[tokio::test]
async fn a_command_is_never_told_not_to_verify() {
    let (agent, _origin, _proxy) = Agent::with_origin().await;
    let spawned = agent.ok("interceptor_spawn", json!({"command": "env"})).await;
    ended(&agent, &spawned["targetId"]).await;
    let status =
        agent.ok("interceptor_status", json!({"interceptor_id": "terminal", "tail_bytes": 65536})).await;
    let env = status["activeTargets"][0]["details"]["stdoutTail"].as_str().unwrap();
    assert!(env.contains("https_proxy=http://127.0.0.1:"), "{env}");
    assert!(env.contains("CURL_CA_BUNDLE="), "{env}");
    for word in ["NODE_TLS_REJECT_UNAUTHORIZED", "GIT_SSL_NO_VERIFY", "PYTHONHTTPSVERIFY"] {
        assert!(!env.contains(word), "{word}");
    }
}

#[tokio::test]
async fn an_origin_the_system_does_not_trust_stays_untrusted_for_commands_that_bypass_the_proxy() {
    let (agent, _, _proxy) = Agent::with_origin().await;
    let ca = testkit::TestCa::new().unwrap();
    let stranger = Origin::https(&ca).await.unwrap();
    let arguments = json!({"command": "curl", "args": ["-sS", "--noproxy", "*", "--max-time", "20", stranger.url("/json")]});
    let spawned = agent.ok("interceptor_spawn", arguments).await;
    let details = ended(&agent, &spawned["targetId"]).await;
    assert_eq!(details["exitCode"], 60, "{details}");
}
