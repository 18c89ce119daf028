use serde_json::json;

use super::support::{Bench, call, params};

#[tokio::test]
async fn parents_are_set_shown_without_credentials_and_kept_for_the_next_start() {
    let bench = Bench::new().await;
    let set = call!(
        bench,
        proxy_set_upstream,
        json!({"proxy_url": "http://me:hunter2@proxy.test:3128", "no_proxy": ["localhost", ".corp.test"]})
    );
    assert_eq!(set["noProxy"], json!(["localhost", "corp.test"]));
    let host = json!({"hostname": "*.Example.com:8443", "proxy_url": "socks5h://127.0.0.1"});
    call!(bench, proxy_set_host_upstream, host);
    let shadowed = json!({"hostname": "api.example.com:8443", "proxy_url": "direct"});
    let shadowed = call!(bench, proxy_set_host_upstream, shadowed);
    assert!(shadowed["message"].as_str().unwrap().contains("*.example.com:8443 matches too"), "{shadowed}");
    assert!(bench.toolbox.proxy_stop().await.is_ok());
    for _ in 0..2 {
        let status = serde_json::to_value(bench.toolbox.proxy_status().await.unwrap().0).unwrap();
        assert_eq!(status["globalUpstream"], "http://proxy.test:3128");
        assert_eq!(status["noProxy"], json!(["localhost", "corp.test"]));
        let hosts =
            json!({"*.example.com:8443": "socks5h://127.0.0.1:1080", "api.example.com:8443": "direct"});
        assert_eq!(status["hostUpstreams"], hosts);
        assert!(!format!("{set} {status}").contains("hunter2"));
        let _ = bench.toolbox.proxy_start(params("proxy_start", json!({}))).await;
    }
    call!(bench, proxy_remove_host_upstream, json!({"hostname": "API.example.com:8443"}));
    bench.toolbox.proxy_clear_upstream().await.map(drop).unwrap();
    let status = serde_json::to_value(bench.toolbox.proxy_status().await.unwrap().0).unwrap();
    assert_eq!(status["globalUpstream"], json!(null));
    assert_eq!(status["hostUpstreams"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name_and_leaves_what_was_there() {
    let bench = Bench::new().await;
    call!(bench, proxy_set_upstream, json!({"proxy_url": "http://proxy.test"}));
    for (arguments, argument) in [
        (json!({"proxy_url": "notaurl"}), "proxy_url"),
        (json!({"proxy_url": "ftp://u:hunter2@p"}), "proxy_url"),
        (json!({"proxy_url": "http://p", "no_proxy": ["a b/c"]}), "no_proxy"),
    ] {
        let refused = bench.toolbox.proxy_set_upstream(params("proxy_set_upstream", arguments)).await;
        let error = refused.err().unwrap().to_string();
        assert!(error.starts_with(argument) && !error.contains("hunter2"), "{error}");
    }
    let unknown = params("proxy_remove_host_upstream", json!({"hostname": "x"}));
    let error = bench.toolbox.proxy_remove_host_upstream(unknown).await.err().unwrap();
    assert_eq!(error.code(), "unknown_upstream");
    let status = serde_json::to_value(bench.toolbox.proxy_status().await.unwrap().0).unwrap();
    assert_eq!(status["globalUpstream"], "http://proxy.test:80");
}
