//! Names and values in query strings and form bodies, for the lists HAR keeps beside the text.

use serde::Serialize;

/// A name and a value of a query string.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A posted parameter.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Param {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
}

/// The pairs of a target's query, decoded.
pub(crate) fn query(target: &str) -> Vec<Pair> {
    target.split_once('?').map_or_else(Vec::new, |(_, query)| pairs(query).collect())
}

fn pairs(text: &str) -> impl Iterator<Item = Pair> + '_ {
    text.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Pair { name: decode(name), value: decode(value) }
    })
}

/// The parameters of a body of one of the two form types; `None` for any other type.
pub(crate) fn params(content_type: &str, body: &[u8]) -> Option<Vec<Param>> {
    let mime = content_type.split(';').next().unwrap_or_default().trim();
    if mime.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let text = String::from_utf8_lossy(body);
        let param = |pair: Pair| Param { name: pair.name, value: Some(pair.value), ..Param::default() };
        return Some(pairs(text.trim_end()).map(param).collect());
    }
    if mime.eq_ignore_ascii_case("multipart/form-data") {
        return Some(multipart(parameter(content_type, "boundary")?.as_bytes(), body));
    }
    None
}

/// Percent-decoding with `+` for space, as forms are encoded; what is not UTF-8 is replaced.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let digits = escape.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes names and values as a form body.
pub(crate) fn encode<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                    char::from(byte).to_string()
                }
                b' ' => "+".to_owned(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

/// The parts of a multipart body (RFC 7578). A part that is a file, or no text, has no value.
fn multipart(boundary: &[u8], body: &[u8]) -> Vec<Param> {
    let delimiter = [b"--", boundary].concat();
    let mut params = Vec::new();
    let mut rest = body;
    let Some(start) = find(rest, &delimiter) else { return params };
    rest = &rest[start + delimiter.len()..];
    while !rest.starts_with(b"--") {
        let end = find(rest, &delimiter).unwrap_or(rest.len());
        let part = &rest[..end];
        let part = part.strip_prefix(b"\r\n").or(part.strip_prefix(b"\n")).unwrap_or(part);
        let part = part.strip_suffix(b"\r\n").or(part.strip_suffix(b"\n")).unwrap_or(part);
        params.extend(multipart_param(part));
        if end == rest.len() {
            break;
        }
        rest = &rest[end + delimiter.len()..];
    }
    params
}

fn multipart_param(part: &[u8]) -> Option<Param> {
    let (head, content) = split_at(part, b"\r\n\r\n").or_else(|| split_at(part, b"\n\n"))?;
    let head = String::from_utf8_lossy(head);
    let field = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let disposition = field("content-disposition")?;
    let file_name = parameter(&disposition, "filename");
    let value = str::from_utf8(content).ok().filter(|_| file_name.is_none()).map(str::to_owned);
    Some(Param {
        name: parameter(&disposition, "name")?,
        value,
        file_name,
        content_type: field("content-type"),
    })
}

/// A parameter of a structured field value, quoted or not: `form-data; name="a"`.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, tail) = rest.split_once('=')?;
        let tail = tail.trim_start();
        let (found, after) = match tail.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                tail.split_once(';').map_or((tail.trim().to_owned(), ""), |(v, r)| (v.trim().to_owned(), r))
            }
        };
        if name.trim_matches([';', ' ', '\t']).eq_ignore_ascii_case(wanted) {
            return Some(found);
        }
        rest = after;
    }
}

/// Reads a quoted string up to its closing quote. Browsers escape only the quote, and do not double backslashes.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, &quoted[at + 1..]),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                text.push('"');
                chars.next();
            }
            _ => text.push(c),
        }
    }
    (text, "")
}

fn split_at<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    find(bytes, separator).map(|at| (&bytes[..at], &bytes[at + separator.len()..]))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> Pair {
        Pair { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn queries_are_decoded_in_order_with_duplicates() {
        for (target, expected) in [
            ("/a", vec![]),
            ("/a?", vec![]),
            ("/a?x=1&x=2&&y", vec![pair("x", "1"), pair("x", "2"), pair("y", "")]),
            ("/?q=a+b%20c%C3%A4&e=%zz%", vec![pair("q", "a b cä"), pair("e", "%zz%")]),
            ("/?a=b?c=d", vec![pair("a", "b?c=d")]),
            ("/?%=%ä1", vec![pair("%", "%ä1")]),
        ] {
            assert_eq!(query(target), expected, "{target}");
        }
    }

    #[test]
    fn form_bodies_encode_and_decode() {
        let text = encode([("a b", "ä&="), ("c", "")].into_iter());
        assert_eq!(text, "a+b=%C3%A4%26%3D&c=");
        let decoded = params("application/x-www-form-urlencoded; charset=utf-8", text.as_bytes()).unwrap();
        let seen: Vec<_> = decoded.into_iter().map(|p| (p.name, p.value.unwrap())).collect();
        assert_eq!(seen, [("a b".to_owned(), "ä&=".to_owned()), ("c".to_owned(), String::new())]);
    }

    #[test]
    fn multipart_names_files_and_values_are_listed() {
        let body = b"preamble\r\n--X\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nline 1\r\nline 2\r\n--X\r\n\
            content-disposition: form-data; filename=\"C:\\a\\\"b\\\".png\"; name=up\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--X--\r\n";
        let seen = params("multipart/form-data; charset=utf-8; boundary=\"X\"", body).unwrap();
        let note = Param { name: "note".into(), value: Some("line 1\r\nline 2".into()), ..Param::default() };
        let file = Param {
            name: "up".into(),
            value: None,
            file_name: Some("C:\\a\"b\".png".into()),
            content_type: Some("image/png".into()),
        };
        assert_eq!(seen, [note, file]);
    }

    #[test]
    fn broken_multipart_bodies_give_what_is_there() {
        for body in [&b""[..], b"--X", b"--X--", b"--X\r\n", b"--X\r\n\r\n\r\n", b"--X--X--X", b"no boundary"]
        {
            assert_eq!(params("multipart/form-data; boundary=X", body), Some(vec![]), "{body:?}");
        }
        assert_eq!(params("multipart/form-data", b"--X"), None);
        assert_eq!(params("multipart/form-data; boundary=", b"--"), Some(vec![]));
        assert_eq!(params("application/json", b"{}"), None);
    }
}
