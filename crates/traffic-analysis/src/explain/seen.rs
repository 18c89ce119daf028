//! What else is recorded of a host or of a client.

use capture_store::{
    Condition, Error, Exchange, ExchangeSummary, NumberField, Order, Pattern, PeerSide, Query, Seq,
    SessionId, StateFilter, Store, TextField,
};

/// Exchanges of a host that are looked at.
pub(super) const LOOKED_AT: usize = 50;

/// The newest exchanges with a host, newest first; `*` in the host stands for anything.
pub(super) fn of_host(
    store: &Store,
    sessions: &[SessionId],
    host: &str,
) -> Result<Vec<ExchangeSummary>, Error> {
    let pattern = Pattern::glob(host).unwrap_or_else(|_| Pattern::equals(host));
    newest(store, sessions, Condition::Text(TextField::Host, pattern), LOOKED_AT)
}

/// The newest exchanges a condition holds for, newest first.
pub(super) fn newest(
    store: &Store,
    sessions: &[SessionId],
    condition: Condition,
    limit: usize,
) -> Result<Vec<ExchangeSummary>, Error> {
    let mut parts = vec![condition];
    if !sessions.is_empty() {
        parts.push(Condition::Any(sessions.iter().copied().map(Condition::Session).collect()));
    }
    let mut query = Query::default();
    query.condition = Some(Condition::All(parts).simplified());
    (query.order, query.limit) = (Order::Descending, limit);
    Ok(store.query(&query)?.items)
}

/// An exchange of another host in which this client accepted our certificate, if one is near.
///
/// The client is known by its fingerprint where there is one, else by its address.
pub(super) fn accepted_elsewhere(store: &Store, exchange: &Exchange) -> Result<Option<Seq>, Error> {
    /// How far back and ahead it is looked for.
    const NEAR: u64 = 2_000;
    let Some(client) = &exchange.client else { return Ok(None) };
    let ja4 = client.tls.as_ref().and_then(|tls| tls.fingerprint.as_ref()).map(|print| print.ja4.as_str());
    let who = match (ja4, client.address) {
        (Some(ja4), _) => Condition::Text(TextField::Ja4(PeerSide::Client), Pattern::equals(ja4)),
        (None, Some(address)) => {
            Condition::Text(TextField::Address(PeerSide::Client), Pattern::equals(&address.ip().to_string()))
        }
        (None, None) => return Ok(None),
    };
    let seq = exchange.summary.seq.0;
    let condition = Condition::All(vec![
        Condition::Number(NumberField::Seq, seq.saturating_sub(NEAR), seq + NEAR),
        Condition::Text(TextField::Scheme, Pattern::equals("https")),
        Condition::State(StateFilter::Response),
        Condition::Not(Box::new(Condition::Text(TextField::Host, Pattern::equals(&exchange.summary.host)))),
        who,
    ]);
    let found = newest(store, &[exchange.summary.session], condition, 1)?;
    Ok(found.first().map(|found| found.seq))
}

/// The exchange of a host whose response says that HTTP/3 is to be had, and what it says.
pub(super) fn offers_http3(
    store: &Store,
    exchanges: &[ExchangeSummary],
) -> Result<Option<(Seq, String)>, Error> {
    /// Responses that are looked at.
    const ENOUGH: usize = 20;
    for summary in exchanges.iter().filter(|summary| summary.status.is_some()).take(ENOUGH) {
        let exchange = match store.exchange(summary.seq) {
            Ok(exchange) => exchange,
            Err(error) if matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)) => continue,
            Err(error) => return Err(error),
        };
        let offered = exchange.response.as_ref().and_then(|head| head.headers.get_str("alt-svc"));
        if let Some(offered) = offered.filter(|offered| offered.contains("h3")) {
            return Ok(Some((summary.seq, offered.chars().take(120).collect())));
        }
    }
    Ok(None)
}
