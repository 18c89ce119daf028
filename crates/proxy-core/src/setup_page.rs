//! What the proxy itself says over HTTP: the set-up page at `http://wirescope.test/`, and error pages.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::{
    ca::CertificateAuthority,
    failure::{Failure, FailureKind},
    head::ResponseHead,
};

/// The host that is the proxy itself when asked for through the proxy. `.test` is reserved (RFC 6761 section
/// 6.2): no origin can have it.
pub(crate) const HOST: &str = "wirescope.test";

/// The response header that carries a failure's code.
const ERROR_HEADER: &str = "X-Wirescope-Error";

/// What a client is asked for that has to prove itself (RFC 7617 section 2).
const CHALLENGE: &str = "Basic realm=\"wirescope\", charset=\"UTF-8\"";

/// The pages load nothing and run nothing, whatever a peer manages to get into them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SETUP_PAGE: &str = include_str!("setup_page.html");

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
        "/" => html(StatusCode::OK, setup_page(ca, proxy)),
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

fn setup_page(ca: &CertificateAuthority, proxy: SocketAddr) -> String {
    // A proxy that listens everywhere is reached at an address only the reader knows.
    let host = match proxy.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.to_string(),
        ip if ip.is_unspecified() => "localhost".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let port = proxy.port().to_string();
    [
        ("{{proxy}}", format!("{host}:{port}").as_str()),
        ("{{host}}", &host),
        ("{{port}}", &port),
        ("{{subject}}", ca.subject()),
        ("{{fingerprint}}", &ca.fingerprint_sha256()),
        ("{{spki}}", &ca.spki_sha256_base64()),
    ]
    .into_iter()
    .fold(SETUP_PAGE.to_owned(), |page, (mark, value)| page.replace(mark, &escape(value)))
}

/// Makes the page that tells a client why its exchange failed: HTML when `accept` (the request's `Accept`
/// field) asks for it, else text. `host` and the failure may hold text of a peer.
pub(crate) fn error_page(
    status: StatusCode,
    title: &str,
    failure: &Failure,
    host: &str,
    accept: Option<&str>,
) -> (ResponseHead, Bytes) {
    let advice = advice(failure.kind);
    let wants_html = accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("text/html"));
    let (mut head, body) = if wants_html {
        html(status, error_html(status, title, failure, host, advice))
    } else {
        let advice = advice.map(|advice| format!("{advice}\n")).unwrap_or_default();
        text(status, &format!("wirescope: {title}\n{host}: {failure}\n{advice}"))
    };
    head.headers.push(ERROR_HEADER, failure.kind.code());
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        head.headers.push("Proxy-Authenticate", CHALLENGE);
    }
    (head, body)
}

fn error_html(
    status: StatusCode,
    title: &str,
    failure: &Failure,
    host: &str,
    advice: Option<&str>,
) -> String {
    let [title, host, detail] = [title, host, &failure.detail].map(escape);
    let advice = advice.map(|advice| format!("<p>{}</p>\n", escape(advice))).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{code} {title}</title>\n\
         <style>:root {{ color-scheme: light dark }} body {{ margin: 0 auto; padding: 1.5rem; max-width: 42rem; \
         font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }} h1 {{ font-size: 1.4rem }} \
         code {{ font-family: ui-monospace, monospace }} footer {{ opacity: .7 }}</style>\n\
         <h1>{title}</h1>\n<p><b>{host}</b>: {kind}</p>\n<p><code>{detail}</code></p>\n{advice}\
         <footer>wirescope, between you and {host}: {side} is at fault (<code>{cause}</code>)</footer>\n</html>\n",
        code = status.as_u16(),
        kind = escape(&failure.kind.to_string()),
        side = failure.side().as_str(),
        cause = failure.kind.code(),
    )
}

/// What the reader can do about a failure.
fn advice(kind: FailureKind) -> Option<&'static str> {
    Some(match kind {
        FailureKind::ClientUnauthenticated => {
            "Give your client the user name and password of the proxy, as in http://USER:PASSWORD@HOST:PORT."
        }
        FailureKind::Dns => "Check the name, and whether this machine resolves it.",
        FailureKind::ConnectionRefused => "Check the port, and whether the service runs.",
        FailureKind::Unreachable | FailureKind::ConnectTimeout => {
            "Check the address, and whether this machine reaches it without the proxy."
        }
        FailureKind::CertificateUntrusted => {
            "If this is expected, give wirescope the authority's certificate as an upstream CA, or name the host \
             as insecure."
        }
        FailureKind::CertificateExpired | FailureKind::CertificateWrongName => {
            "If this is expected, name the host as insecure."
        }
        FailureKind::ParentProxy => {
            "This is between wirescope and the parent proxy it was told to use; check that proxy and its URL."
        }
        FailureKind::BlockedAddress => {
            "wirescope keeps out of private networks; allow this host if it is meant to be reached."
        }
        FailureKind::Loop => "This address is the proxy itself; ask for http://wirescope.test/ for its page.",
        _ => return None,
    })
}

fn html(status: StatusCode, page: String) -> (ResponseHead, Bytes) {
    let (mut head, body) = answer(status, "text/html; charset=utf-8", Bytes::from(page));
    head.headers.push("Content-Security-Policy", CONTENT_SECURITY_POLICY);
    (head, body)
}

fn text(status: StatusCode, text: &str) -> (ResponseHead, Bytes) {
    answer(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(text.as_bytes()))
}

fn attachment(content_type: &'static str, name: &str, body: Bytes) -> (ResponseHead, Bytes) {
    let (mut head, body) = answer(StatusCode::OK, content_type, body);
    head.headers.push("Content-Disposition", format!("attachment; filename=\"{name}\""));
    (head, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> (ResponseHead, Bytes) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &Method, path: &str) -> (ResponseHead, Bytes, CertificateAuthority) {
        let ca = CertificateAuthority::in_memory().unwrap();
        let (head, body) = respond(&ca, "127.0.0.1:8899".parse().unwrap(), method, path);
        (head, body, ca)
    }

    #[test]
    fn page_is_filled_in_and_loads_nothing() {
        let (head, body, ca) = ask(&Method::GET, "/?from=phone");
        let page = std::str::from_utf8(&body).unwrap();
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers.get_str("content-type"), Some("text/html; charset=utf-8"));
        assert!(head.headers.contains("content-security-policy"));
        for expected in ["127.0.0.1:8899", ca.subject(), &ca.fingerprint_sha256(), &ca.spki_sha256_base64()] {
            assert!(page.contains(&escape(expected)), "{expected}");
        }
        assert!(!page.contains("{{") && !page.contains("src="));
        for client in [
            "macOS", "Windows", "Debian", "Fedora", "Arch", "iOS", "Android", "Firefox", "Chrome", "curl",
            "Python", "Node", "Java", "Git",
        ] {
            assert!(page.contains(client), "{client}");
        }
    }

    #[test]
    fn proxy_that_listens_everywhere_is_shown_at_an_address_that_works() {
        let ca = CertificateAuthority::in_memory().unwrap();
        for (listening, shown) in [
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:1", "http://localhost:1"),
            ("[::1]:1", "http://[::1]:1"),
            ("192.0.2.1:1", "http://192.0.2.1:1"),
        ] {
            assert!(setup_page(&ca, listening.parse().unwrap()).contains(shown), "{listening}");
        }
    }

    #[test]
    fn certificate_comes_in_both_forms() {
        for (path, content_type, name) in [
            ("/cert/pem", "application/x-pem-file", "wirescope-ca.pem"),
            ("/cert/der", "application/x-x509-ca-cert", "wirescope-ca.cer"),
        ] {
            let (head, body, ca) = ask(&Method::GET, path);
            let expected =
                if path == "/cert/pem" { ca.certificate_pem().as_bytes() } else { ca.certificate_der() };
            assert_eq!(body, expected);
            assert_eq!(head.headers.get_str("content-type"), Some(content_type));
            let disposition = format!("attachment; filename=\"{name}\"");
            assert_eq!(head.headers.get_str("content-disposition"), Some(disposition.as_str()));
        }
        let (_, body, ca) = ask(&Method::GET, "/cert/fingerprint");
        assert_eq!(body, format!("{}\n", ca.fingerprint_sha256()));
    }

    #[test]
    fn everything_is_fresh_and_sized() {
        for (method, path, status) in [
            (Method::GET, "/", 200),
            (Method::GET, "/cert/der", 200),
            (Method::GET, "/favicon.ico", 404),
            (Method::GET, "/cert/../", 404),
            (Method::GET, "*", 404),
            (Method::POST, "/", 405),
        ] {
            let (head, body, _) = ask(&method, path);
            assert_eq!(head.status.as_u16(), status, "{path}");
            assert_eq!(head.headers.get_str("cache-control"), Some("no-store"));
            assert_eq!(head.headers.get_str("content-length"), Some(body.len().to_string().as_str()));
        }
    }

    #[test]
    fn head_is_that_of_get_without_the_body() {
        let ca = CertificateAuthority::in_memory().unwrap();
        let proxy = "127.0.0.1:8899".parse().unwrap();
        for path in ["/", "/cert/pem", "/cert/der", "/cert/fingerprint", "/none"] {
            let (get, _) = respond(&ca, proxy, &Method::GET, path);
            let (head, body) = respond(&ca, proxy, &Method::HEAD, path);
            assert_eq!(get, head, "{path}");
            assert!(body.is_empty());
        }
    }

    #[test]
    fn error_page_tells_the_cause_in_the_form_the_client_reads() {
        let failure = Failure::new(FailureKind::CertificateUntrusted, "self-signed certificate");
        for (accept, content_type) in [
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), "text/html; charset=utf-8"),
            (Some("application/json"), "text/plain; charset=utf-8"),
            (Some("*/*"), "text/plain; charset=utf-8"),
            (None, "text/plain; charset=utf-8"),
        ] {
            let (head, body) =
                error_page(StatusCode::BAD_GATEWAY, "Bad Gateway", &failure, "example.com", accept);
            let page = std::str::from_utf8(&body).unwrap();
            assert_eq!(head.status, StatusCode::BAD_GATEWAY);
            assert_eq!(head.headers.get_str("content-type"), Some(content_type));
            assert_eq!(head.headers.get_str("x-wirescope-error"), Some("certificate_untrusted"));
            for told in ["example.com", "upstream certificate is not trusted", "self-signed", "upstream CA"] {
                assert!(page.contains(told), "{told}: {page}");
            }
        }
    }

    #[test]
    fn text_of_a_peer_stays_text() {
        let hostile = "<script>alert('&\"')</script>";
        let failure = Failure::new(FailureKind::CertificateWrongName, format!("valid for {hostile}"));
        let (_, body) = error_page(StatusCode::BAD_GATEWAY, hostile, &failure, hostile, Some("text/html"));
        let page = std::str::from_utf8(&body).unwrap();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"), "{page}");
    }
}
