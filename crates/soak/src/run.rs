//! The course of it: warm up, go on for as long as asked, and balance the books.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use capture_store::{Query, Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use proxy_core::{
    CertificateAuthority, Proxy, ProxyHandle, Timeouts, UpstreamTrust,
    rules::{Action, Matcher, Rule, Rules},
};
use testkit::TestCa;
use tokio::task::JoinSet;

use crate::{
    Arguments,
    account::{Account, Balance},
    clients::{Report, Scene, play},
    gauge::Gauge,
    origins::Origins,
};

/// Clients that go before anything is measured: allocators, caches and thread pools find their size.
const WARM_UP: u64 = 600;

/// What memory may have grown by at the end: the allocator gives back what it likes.
const MAX_GROWTH_MIB: u64 = 48;

/// What the clients reported.
#[derive(Default)]
struct Tally {
    played: u64,
    counts: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, report: Report) {
        self.played += 1;
        match report {
            Report::Right(what) | Report::Rough(what) => *self.counts.entry(what).or_default() += 1,
            Report::Wrong(what) => self.wrong.push(what),
        }
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let empty = Gauge::read();
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("store"), StoreConfig::default())?;
    let session = SessionSpec::Named { name: "soak".to_owned(), max_bytes: None };
    let recorder = Recorder::start(&store, session, RecorderConfig::default())?;
    let account = Account::default();
    let rules = rules()?;
    let (proxy, scene) = start(arguments.seed, &recorder, &account, rules.clone()).await?;
    let scene = Arc::new(scene);

    let mut tally = Tally::default();
    let editing = tokio::spawn(edit(rules));
    let idle = Gauge::read();
    crowd(arguments, &scene, &mut tally, |played, _| played < WARM_UP).await;
    let before = Gauge::settled(idle).await;
    println!("warm:  {before}");
    let length = Duration::from_secs_f64(arguments.minutes * 60.0);
    crowd(arguments, &scene, &mut tally, |_, elapsed| elapsed < length).await;
    let after = Gauge::settled(before).await;
    println!("after: {after}");

    editing.abort();
    let _ = editing.await;
    let drained = proxy.shutdown(Duration::from_secs(30)).await;
    drop(scene);
    recorder.close().context("failed to close the recorder")?;
    let mut faults = faults(&account.balance(), &store)?;
    if drained.cut_connections > 0 {
        faults.push(format!("{} connections waited for what will not come", drained.cut_connections));
    }
    faults.extend(tally.wrong.iter().take(20).cloned());
    if after.tasks > before.tasks || after.descriptors > before.descriptors {
        faults.push(format!("tasks or descriptors are left: {before} before, {after} after"));
    }
    if after.resident_mib > before.resident_mib + MAX_GROWTH_MIB {
        faults.push(format!("memory grew: {before} before, {after} after"));
    }
    drop((recorder, store));
    let left = Gauge::settled(empty).await;
    println!("left:  {left} (at the start: {empty})");
    if left.tasks > empty.tasks || left.descriptors > empty.descriptors {
        faults.push(format!("not everything was let go of: {left}, and {empty} at the start"));
    }
    println!("{} clients: {:?}", tally.played, tally.counts);
    if faults.is_empty() {
        println!("ok: every exchange is accounted for, nothing is left");
        return Ok(());
    }
    for fault in &faults {
        println!("fault: {fault}");
    }
    bail!("{} faults (seed {})", faults.len(), arguments.seed)
}

/// One rule that always holds, and one that comes and goes.
fn rules() -> Result<Rules> {
    let rules = Rules::new();
    rules.add(Rule::when(Matcher::url("*marked")).then(Action::set_response_header("x-soak", "1")))?;
    let mock = Action::mock(http::StatusCode::IM_A_TEAPOT);
    rules.add(Rule::when(Matcher::path("/missing")).then(mock).with_id("comes-and-goes"))?;
    Ok(rules)
}

/// Edits the rules for as long as it is let: no edit may cut or fail anything.
async fn edit(rules: Rules) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _ = rules.disable("comes-and-goes");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _ = rules.enable("comes-and-goes");
    }
}

async fn start(
    seed: u64,
    recorder: &Recorder,
    account: &Account,
    rules: Rules,
) -> Result<(ProxyHandle, Scene)> {
    let origin_ca = TestCa::new()?;
    let ca = CertificateAuthority::in_memory()?;
    let ca_pem = ca.certificate_pem().to_owned();
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(50);
    timeouts.half_closed = Duration::from_millis(500);
    timeouts.response_head = Duration::from_secs(2);
    timeouts.request_head = Duration::from_secs(2);
    timeouts.idle_body = Duration::from_secs(3);
    timeouts.keep_alive = Duration::from_secs(3);
    timeouts.handshake = Duration::from_secs(5);
    let proxy = Proxy::builder(ca)
        .upstream_trust(UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes())?)
        .timeouts(timeouts)
        .rules(rules)
        .observer(recorder.clone())
        .observer(account.clone())
        .bind("127.0.0.1:0")
        .await?
        .spawn();
    let origins = Origins::start(&origin_ca, seed).await?;
    let scene = Scene { proxy: proxy.local_addr(), ca_pem, origins };
    Ok((proxy, scene))
}

/// Keeps clients coming for as long as `more` says, then waits for the last of them.
async fn crowd(
    arguments: &Arguments,
    scene: &Arc<Scene>,
    tally: &mut Tally,
    more: impl Fn(u64, Duration) -> bool,
) {
    let began = Instant::now();
    let first = tally.played;
    let mut clients = JoinSet::new();
    let mut sent = 0;
    while more(sent, began.elapsed()) {
        let number = first + sent;
        clients.spawn(play(scene.clone(), arguments.seed.wrapping_mul(1_000_003).wrapping_add(number)));
        sent += 1;
        if clients.len() >= arguments.clients {
            note(tally, clients.join_next().await);
        }
    }
    while !clients.is_empty() {
        note(tally, clients.join_next().await);
    }
}

fn note(tally: &mut Tally, client: Option<Result<Report, tokio::task::JoinError>>) {
    match client {
        Some(Ok(report)) => tally.add(report),
        Some(Err(error)) => tally.add(Report::Wrong(format!("a client panicked: {error}"))),
        None => {}
    }
}

/// What the account and the store say that should not be.
fn faults(balance: &Balance, store: &Store) -> Result<Vec<String>> {
    let mut faults = balance.wrong.clone();
    println!("{} exchanges: {:?}", balance.ended, balance.outcomes);
    faults.extend(balance.open.iter().map(|request| format!("never ended: {request}")));
    if balance.begun != balance.ended {
        faults.push(format!("{} exchanges began, {} ended", balance.begun, balance.ended));
    }
    for outcome in ["shutdown", "crash"] {
        if let Some(count) = balance.outcomes.get(outcome) {
            faults.push(format!("{count} exchanges ended by {outcome}"));
        }
    }
    let mut query = Query::default();
    query.limit = 1;
    let stored = store.query(&query)?.total.context("the store did not count")?;
    if stored != balance.ended {
        faults.push(format!("{} exchanges ended, {stored} are in the store", balance.ended));
    }
    Ok(faults)
}
