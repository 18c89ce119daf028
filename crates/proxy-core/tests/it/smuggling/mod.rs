//! Request smuggling, as a table: whatever is ambiguous is refused and recorded, or passed on as messages that every
//! recipient cuts alike. The engine's neighbours are played by code that shares nothing with it.

mod answers;
mod downgrade;
mod origin;
mod readings;
mod requests;
mod responses;

use std::time::Duration;

use proxy_core::{Limits, Outcome};
use testkit::RawClient;

use crate::lab::{Lab, Told};
use origin::{Heard, Listener};
use readings::{Kind, Messages, READINGS, text};
use requests::{Case, Verdict};

/// Small, so that what is too long need not be long.
const MAX_HEAD_BYTES: usize = 8 * 1024;

pub(crate) async fn lab() -> Lab {
    let mut limits = Limits::default();
    limits.max_head_bytes = MAX_HEAD_BYTES;
    Lab::with(|builder| builder.limits(limits)).await
}

/// Characters up to U+00FF as one byte each, others as UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for letter in text.chars() {
        match u8::try_from(u32::from(letter)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// What was seen of one case from every side.
struct Seen {
    /// What the client got.
    client: Vec<u8>,
    /// What upstream got, one for each connection.
    upstream: Vec<Heard>,
    told: Vec<Told>,
}

impl Seen {
    fn upstream_messages(&self) -> Vec<&readings::Message> {
        self.upstream.iter().flat_map(|heard| &heard.messages.whole).collect()
    }
}

/// Sends a request and a marker behind it, all at once, and waits until everybody is done.
async fn play(case: &Case, in_tunnel: bool) -> Seen {
    let mut lab = lab().await;
    let origin = Listener::start(vec![], false).await;
    let host = origin.authority();
    let target = if in_tunnel { "/case".to_owned() } else { format!("http://{host}/case") };
    let marker = target.replace("case", "marker");
    let request = case.text.replace("{target}", &target).replace("{host}", &host);
    let marker = format!("GET {marker} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut client = match in_tunnel {
        true => RawClient::over(lab.client(&[]).tunnel(&host).await.unwrap()),
        false => lab.client(&[]).raw().await.unwrap(),
    };
    // A proxy that has refused may have closed before all is sent.
    let _ = client.send([bytes(&request), marker.into_bytes()].concat()).await;
    let _ = client.half_close().await;
    let got = client.read_to_end().await.unwrap_or_default();
    drop(client);
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    assert_eq!(drained.cut_connections, 0, "{case:?} hangs");
    Seen { client: got.to_vec(), upstream: origin.done().await, told: lab.log.all() }
}

fn statuses(client: &[u8], requests: usize) -> Vec<u16> {
    let methods = vec!["GET"; requests];
    let messages = READINGS[0].read(client, Kind::Responses(&methods));
    let status = |message: &readings::Message| message.start.split(' ').nth(1).unwrap().parse().unwrap();
    messages.whole.iter().map(status).collect()
}

/// What holds for every case, whatever is expected of it.
fn nobody_disagrees(case: &Case, seen: &Seen) {
    for heard in &seen.upstream {
        let strict = &heard.messages;
        assert_eq!(strict.bad, None, "{case:?}: upstream got {:?}", text(&heard.received));
        for reading in READINGS {
            let other = reading.read(&heard.received, Kind::Requests);
            let plain = |messages: &Messages| -> Vec<(String, String)> {
                let start = |start: &str| start.split(' ').take(2).collect::<Vec<_>>().join(" ");
                messages.whole.iter().map(|message| (start(&message.start), message.body.clone())).collect()
            };
            let of = |rest: usize| if strict.rest == 0 { rest } else { 0 };
            assert_eq!(
                (plain(&other), of(other.rest)),
                (plain(strict), 0),
                "{case:?}: {reading:?} reads {:?} otherwise",
                text(&heard.received)
            );
        }
    }
    // What is recorded as passed on is what upstream got, in this order.
    let whole = seen.told.iter().filter(|told| matches!(told.outcome(), Outcome::Response));
    let recorded: Vec<(String, String)> = whole
        .map(|told| {
            let head = told.request.as_ref().unwrap();
            (head.target.split('#').next().unwrap_or_default().to_owned(), text(&told.request_body))
        })
        .collect();
    let passed: Vec<(String, String)> = seen
        .upstream_messages()
        .iter()
        .map(|message| {
            let target = message.start.split(' ').nth(1).unwrap();
            (target.split('#').next().unwrap_or_default().to_owned(), message.body.clone())
        })
        .collect();
    let utf8 = |targets: Vec<(String, String)>| targets.into_iter().map(|(_, body)| body).collect::<Vec<_>>();
    assert_eq!(recorded.len(), passed.len(), "{case:?}: recorded {recorded:?}, passed {passed:?}");
    assert_eq!(utf8(recorded), utf8(passed), "{case:?}");
}

fn is_as_expected(case: &Case, seen: &Seen) {
    let messages: Vec<(&str, &str)> = seen
        .upstream_messages()
        .iter()
        .map(|message| (message.start.split(' ').nth(1).unwrap(), message.body.as_str()))
        .collect();
    let is_case = |target: &str| !target.starts_with("/marker") && !target.contains("smuggled");
    let statuses = statuses(&seen.client, 3);
    let context = || format!("{case:?}: upstream got {messages:?}, the client {:?}", text(&seen.client));
    match case.verdict {
        Verdict::Refused(status) => {
            assert_eq!(statuses, [status], "{}", context());
            let received: usize = seen.upstream.iter().map(|heard| heard.received.len()).sum();
            assert_eq!(received, 0, "{}", context());
            assert_eq!(seen.told.len(), 1, "{}", context());
            assert!(matches!(seen.told[0].outcome(), Outcome::Failed(_)), "{}", context());
        }
        Verdict::Broken(status) => {
            assert_eq!(statuses, [status], "{}", context());
            assert_eq!(messages, [], "{}", context());
            assert_eq!(seen.told.len(), 1, "{}", context());
            assert!(matches!(seen.told[0].outcome(), Outcome::Failed(_)), "{}", context());
        }
        Verdict::Passed(body) => {
            assert_eq!(messages.len(), 2, "{}", context());
            assert!(is_case(messages[0].0) && messages[0].1 == body, "{}", context());
            assert_eq!(messages[1], ("/marker", ""), "{}", context());
            assert_eq!(statuses, [200, 200], "{}", context());
        }
        Verdict::PassedThenRefused => {
            assert_eq!(messages.len(), 1, "{}", context());
            assert!(is_case(messages[0].0) && messages[0].1.is_empty(), "{}", context());
            assert_eq!(statuses, [200, 400], "{}", context());
        }
        Verdict::Cut => assert_eq!((messages.len(), statuses.len()), (0, 0), "{}", context()),
    }
}

async fn check_all(cases: Vec<Case>, in_tunnel: bool) -> usize {
    let mut wrong = 0;
    for case in &cases {
        let seen = play(case, in_tunnel).await;
        wrong += usize::from(!holds(|| {
            nobody_disagrees(case, &seen);
            is_as_expected(case, &seen);
        }));
    }
    assert_eq!(wrong, 0, "of {} cases", cases.len());
    cases.len()
}

/// Whether a check holds. One that does not has said why; the table goes on.
fn holds(check: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_ok()
}

#[tokio::test]
async fn no_ambiguous_request_desynchronises_the_proxy() {
    let checked = check_all([requests::cases(), requests::start_lines()].concat(), false).await;
    assert!(checked > 400, "the table shrank to {checked}");
}

#[tokio::test]
async fn no_ambiguous_request_desynchronises_a_tunnel() {
    let checked = check_all(requests::cases(), true).await;
    assert!(checked > 400, "the table shrank to {checked}");
}
