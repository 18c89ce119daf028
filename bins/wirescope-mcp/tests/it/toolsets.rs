use serde_json::json;

use crate::agent::Agent;

/// Names of the tools the server lists now.
async fn listed(agent: &Agent) -> Vec<String> {
    let tools = agent.client.list_all_tools().await.unwrap();
    tools.into_iter().map(|tool| tool.name.into_owned()).collect()
}

#[tokio::test]
async fn every_tool_has_a_schema_of_its_result_and_says_what_it_does() {
    let agent = Agent::new().await;
    assert!(agent.tools().len() > 40);
    for tool in agent.tools() {
        assert!(tool.output_schema.is_some(), "{}", tool.name);
        assert!(tool.annotations.is_some() && tool.title.is_some(), "{}", tool.name);
    }
}

#[tokio::test]
async fn a_closed_toolset_says_how_to_open_it_and_opens() {
    let agent = Agent::with(&["--toolsets", "core"]).await;
    let before = listed(&agent).await;
    assert!(before.contains(&"proxy_list_traffic".to_owned()));
    assert!(!before.contains(&"proxy_set_upstream".to_owned()));
    let error = agent.refused("proxy_clear_upstream", json!({}), "toolset_off").await;
    assert!(error["hint"].as_str().unwrap().contains("enable_toolset"), "{error}");

    let toolsets = agent.ok("list_toolsets", json!({})).await;
    let proxy = toolsets["toolsets"].as_array().unwrap().iter().find(|set| set["name"] == "proxy").unwrap();
    assert_eq!(proxy["enabled"], false);
    let added = agent.ok("enable_toolset", json!({"toolset": "proxy"})).await;
    assert!(added["added"].as_array().unwrap().contains(&json!("proxy_set_upstream")), "{added}");
    assert!(listed(&agent).await.contains(&"proxy_set_upstream".to_owned()));
    agent.ok("proxy_clear_upstream", json!({})).await;
    let again = agent.ok("enable_toolset", json!({"toolset": "proxy"})).await;
    assert_eq!(again["added"], json!([]));
    agent.refused("enable_toolset", json!({"toolset": "everything"}), "invalid_argument").await;
}

#[tokio::test]
async fn a_reference_server_is_a_toolset() {
    let agent = Agent::with(&["--toolsets", "charles-mcp"]).await;
    let names = listed(&agent).await;
    assert!(names.contains(&"read_live_capture".to_owned()));
    assert!(names.contains(&"enable_toolset".to_owned()));
    assert!(!names.contains(&"proxy_list_traffic".to_owned()));
}
