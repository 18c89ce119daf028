//! What the proxy itself says over HTTP: the set-up page at `http://wirescope.test/`, and error pages.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::{ca::CertificateAuthority, failure::Failure, head::ResponseHead};

/// The host that is the proxy itself when asked for through the proxy. `.test` is reserved (RFC 6761 section
/// 6.2): no origin can have it.
pub(crate) const HOST: &str = "wirescope.test";

/// The response header that carries a failure's code.
const ERROR_HEADER: &str = "X-Wirescope-Error";

/// Answers a request to [`HOST`]. `proxy` is the address clients reach the proxy at; the query of `path` is
/// ignored. A HEAD gets the head of the GET, with its length and no body.
pub(crate) fn respond(
    ca: &CertificateAuthority,
    proxy: SocketAddr,
    method: &Method,
    path: &str,
) -> (ResponseHead, Bytes) {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    if method != Method::GET && method != Method::HEAD {
        let (mut head, body) = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        head.headers.push("Allow", "GET, HEAD");
        return (head, body);
    }
    let (head, body) = match path {
        "/" => html(StatusCode::OK, format!("<!doctype html><title>wirescope</title>{proxy}")),
        "/cert/pem" => attachment(
            "application/x-pem-file",
            "wirescope-ca.pem",
            Bytes::copy_from_slice(ca.certificate_pem().as_bytes()),
        ),
        "/cert/der" => attachment(
            "application/x-x509-ca-cert",
            "wirescope-ca.cer",
            Bytes::copy_from_slice(ca.certificate_der()),
        ),
        "/cert/fingerprint" => text(StatusCode::OK, &format!("{}\n", ca.fingerprint_sha256())),
        _ => text(
            StatusCode::NOT_FOUND,
            "not found; there are /, /cert/pem, /cert/der and /cert/fingerprint\n",
        ),
    };
    if method == Method::HEAD { (head, Bytes::new()) } else { (head, body) }
}

/// Makes the page that tells a client why its exchange failed: HTML when `accept` (the request's `Accept`
/// field) asks for it, else text.
pub(crate) fn error_page(
    status: StatusCode,
    title: &str,
    failure: &Failure,
    host: &str,
    accept: Option<&str>,
) -> (ResponseHead, Bytes) {
    let (mut head, body) = if accept.is_some_and(|accept| accept.contains("text/html")) {
        html(
            status,
            format!(
                "<!doctype html><title>{0}</title><h1>{0}</h1><p>{1}</p><p>{2}</p>",
                escape(title),
                escape(host),
                escape(&failure.to_string())
            ),
        )
    } else {
        text(status, &format!("{title}: {host}: {failure}\n"))
    };
    head.headers.push(ERROR_HEADER, failure.kind.code());
    (head, body)
}

fn html(status: StatusCode, page: String) -> (ResponseHead, Bytes) {
    page_of(status, "text/html; charset=utf-8", Bytes::from(page))
}

fn text(status: StatusCode, line: &str) -> (ResponseHead, Bytes) {
    page_of(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(line.as_bytes()))
}

fn attachment(content_type: &'static str, name: &str, body: Bytes) -> (ResponseHead, Bytes) {
    let (mut head, body) = page_of(StatusCode::OK, content_type, body);
    head.headers.push("Content-Disposition", format!("attachment; filename=\"{name}\""));
    (head, body)
}

fn page_of(status: StatusCode, content_type: &'static str, body: Bytes) -> (ResponseHead, Bytes) {
    let mut head = ResponseHead::new(status);
    head.headers.push("Content-Type", content_type);
    head.headers.push("Content-Length", body.len().to_string());
    head.headers.push("Cache-Control", "no-store");
    head.headers.push("X-Content-Type-Options", "nosniff");
    (head, body)
}

/// Makes text from a peer harmless in HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
