//! Paths of one shape under one name: what identifies a thing becomes a placeholder.

use std::borrow::Cow;

/// Segments that are told apart; what comes after them is `{rest}`.
const MAX_SEGMENTS: usize = 32;
/// Bytes of a segment that is kept as it is; one that is longer is no word.
const MAX_SEGMENT_BYTES: usize = 64;
/// Bytes of what is no path (`*`, an authority) that are kept; no host name is longer.
const MAX_OTHER_BYTES: usize = 262;
/// The shortest run of hexadecimal digits that is taken for an id.
const MIN_HEX: usize = 8;
/// The shortest run of letters and digits mixed that is taken for an id.
const MIN_MIXED: usize = 16;
/// The shortest that is taken for a token, of which nobody wants to read more than that it is one.
const MIN_TOKEN: usize = 24;
/// The shortest number beside other letters of a segment that is taken for an id: `utf-8` and `page-2` stay.
const MIN_NUMBER_PART: usize = 3;
/// Longest extension of a file that is left beside its templated name.
const MAX_EXTENSION: usize = 5;

const ID: &str = "{id}";
const TOKEN: &str = "{token}";
const REST: &str = "{rest}";

/// The template of a path: segments that identify one thing among many become placeholders, so that all paths of one
/// route come out the same. Query and fragment are left away.
///
/// | in the path | becomes |
/// |---|---|
/// | a number; 8 or more hexadecimal digits; a ULID; 16 or more letters and digits mixed | `{id}` |
/// | a UUID | `{uuid}` |
/// | a date, or date and time (ISO 8601) | `{date}` |
/// | 32, 40, 64, 96 or 128 hexadecimal digits | `{hash}` |
/// | 24 or more letters and digits mixed; three parts of base64url (a JWT); 65 or more bytes of anything | `{token}` |
/// | an e-mail address | `{email}` |
///
/// A file's extension stays (`/img/{id}.png`), and so do words around an id (`/order-{id}`, `/cus_{id}`) and versions
/// (`/v2`). What differs by chance only (a hexadecimal id may be all digits) has one name. At most 32 segments are told
/// apart, and none is longer than 64 bytes. A template's template is itself. What does not begin with a slash is no path
/// and stays as it is.
///
/// ```
/// use capture_store::path_template;
///
/// assert_eq!(path_template("/v2/users/1234/orders/9b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e6f?page=2"), "/v2/users/{id}/orders/{uuid}");
/// assert_eq!(path_template("/static/app.3f2a1b9c.js"), "/static/app.{id}.js");
/// ```
#[must_use]
pub fn path_template(path: &str) -> Cow<'_, str> {
    let path = path.find(['?', '#']).map_or(path, |end| &path[..end]);
    let Some(inner) = path.strip_prefix('/') else {
        return if path.len() > MAX_OTHER_BYTES { TOKEN.into() } else { path.into() };
    };
    let mut out: Option<String> = None;
    let mut done = 1;
    for (index, segment) in inner.split('/').enumerate() {
        if index == MAX_SEGMENTS {
            let mut text = out.unwrap_or_else(|| path[..done].to_owned());
            text.push_str(REST);
            return text.into();
        }
        let templated = template_segment(segment);
        if let (None, Cow::Owned(_)) = (&out, &templated) {
            out = Some(path[..done].to_owned());
        }
        done += segment.len() + 1;
        if let Some(text) = &mut out {
            text.push_str(&templated);
            if done <= path.len() {
                text.push('/');
            }
        }
    }
    out.map_or(Cow::Borrowed(path), Cow::Owned)
}

fn template_segment(segment: &str) -> Cow<'_, str> {
    if let Some(name) = whole(segment) {
        return name.to_owned().into();
    }
    if let Some((stem, extension)) = segment.rsplit_once('.')
        && is_extension(extension)
        && let Some(name) = whole(stem)
    {
        return format!("{name}.{extension}").into();
    }
    let parted = by_parts(segment);
    if parted.len() > MAX_SEGMENT_BYTES { TOKEN.to_owned().into() } else { parted }
}

/// What a segment is as a whole, where it is no word.
fn whole(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        None
    } else if bytes.iter().all(u8::is_ascii_digit) {
        Some(ID)
    } else if is_uuid(bytes) {
        Some("{uuid}")
    } else if is_date(bytes) {
        Some("{date}")
    } else if is_hex(bytes) {
        Some(if [32, 40, 64, 96, 128].contains(&bytes.len()) { "{hash}" } else { ID })
    } else if is_email(text) {
        Some("{email}")
    } else if is_jwt(text) {
        Some(TOKEN)
    } else if after_prefix(text).is_none() && is_mixed(bytes) {
        Some(if bytes.len() >= MIN_TOKEN && !is_ulid(bytes) { TOKEN } else { ID })
    } else {
        None
    }
}

/// Templates the runs of letters and digits between other signs.
fn by_parts(segment: &str) -> Cow<'_, str> {
    if let Some(at) = after_prefix(segment) {
        return format!("{}{ID}", &segment[..at]).into();
    }
    let is_id = |part: &str| {
        let bytes = part.as_bytes();
        let number = bytes.len() >= MIN_NUMBER_PART && bytes.iter().all(u8::is_ascii_digit);
        number || is_hex(bytes) || is_mixed(bytes)
    };
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '%';
    let mut out: Option<String> = None;
    let mut rest = segment;
    while !rest.is_empty() {
        let done = segment.len() - rest.len();
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        let sign = after.chars().next().map_or(0, char::len_utf8);
        if is_id(part) {
            out.get_or_insert_with(|| segment[..done].to_owned()).push_str(ID);
        } else if let Some(text) = &mut out {
            text.push_str(part);
        }
        if let Some(text) = &mut out {
            text.push_str(&after[..sign]);
        }
        rest = &after[sign..];
    }
    out.map_or(Cow::Borrowed(segment), Cow::Owned)
}

/// Where the id begins in `cus_9s6XKzkNRiz8i3`: a short lower-case word, an underscore, 8 or more letters and digits
/// with a digit among them.
fn after_prefix(text: &str) -> Option<usize> {
    let (prefix, id) = text.rsplit_once('_')?;
    let word =
        (2..=12).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let id_like = id.len() >= MIN_HEX
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && id.bytes().any(|byte| byte.is_ascii_digit());
    (word && id_like).then_some(prefix.len() + 1)
}

fn is_extension(text: &str) -> bool {
    (1..=MAX_EXTENSION).contains(&text.len())
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// RFC 9562 section 4, of whatever version.
fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2026-01-31`, with or without a time after a `T`.
fn is_date(bytes: &[u8]) -> bool {
    let Some((date, time)) = bytes.split_at_checked(10) else { return false };
    let shaped = date.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let of_time = |byte: &u8| byte.is_ascii_digit() || b":.+-ZzAa%".contains(byte);
    shaped && matches!(time.split_first(), None | Some((b'T' | b't', _))) && time.iter().skip(1).all(of_time)
}

/// Hexadecimal digits, 8 or more, that are not a word by chance.
fn is_hex(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_HEX
        && bytes.iter().all(u8::is_ascii_hexdigit)
        && (bytes.iter().any(u8::is_ascii_digit) || bytes.len() >= MIN_MIXED)
}

/// Crockford's alphabet, 26 letters and digits, the first at most 7.
fn is_ulid(bytes: &[u8]) -> bool {
    bytes.len() == 26
        && matches!(bytes[0], b'0'..=b'7')
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(byte))
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@').or_else(|| text.split_once("%40")) else { return false };
    let labels: Vec<&str> = host.split('.').collect();
    let domain = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let top = |label: &&str| label.len() > 1 && label.bytes().all(|byte| byte.is_ascii_alphabetic());
    !user.is_empty()
        && labels.len() > 1
        && labels.iter().all(|label| !label.is_empty() && domain(label))
        && labels.last().is_some_and(top)
}

/// Three parts of base64url, the first a JSON object (RFC 7519).
fn is_jwt(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(4, '.').collect();
    text.starts_with("eyJ") && parts.len() == 3 && parts.iter().all(|part| part.bytes().all(is_base64url))
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'='
}

/// Letters and digits mixed as no word is: 16 or more of base64url, with capitals among small letters and digits, or
/// going to and fro between letters and digits, or between capitals and small letters.
fn is_mixed(bytes: &[u8]) -> bool {
    if bytes.len() < MIN_MIXED || !bytes.iter().copied().all(is_base64url) {
        return false;
    }
    let count = |is: fn(&u8) -> bool| bytes.iter().filter(|byte| is(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let signs = bytes.len() - digits - upper - lower;
    let changes = |is: fn(&u8) -> bool| {
        bytes
            .windows(2)
            .filter(|pair| pair.iter().all(u8::is_ascii_alphanumeric) && is(&pair[0]) != is(&pair[1]))
            .count()
    };
    if signs * 6 > bytes.len() {
        // Words with hyphens between them.
        return false;
    }
    if digits == 0 {
        return changes(u8::is_ascii_uppercase) * 3 > bytes.len() && bytes.len() >= 20;
    }
    let letters = upper + lower;
    letters > 0
        && ((upper > 0 && lower > 0 && changes(u8::is_ascii_digit) >= 2) || changes(u8::is_ascii_digit) >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_a_thing_becomes_a_placeholder_and_words_stay() {
        for (path, template) in [
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("host.test:443", "host.test:443"),
            ("/users", "/users"),
            ("/users/", "/users/"),
            ("/users/42", "/users/{id}"),
            ("/users/42/?x=/1/2", "/users/{id}/"),
            ("/users/42#top", "/users/{id}"),
            ("/v1/a//7", "/v1/a//{id}"),
            ("/o/9B2E4C1D-8f3a-4b6e-9d2c-1a2b3c4d5e6f/x", "/o/{uuid}/x"),
            ("/o/9b2e4c1d", "/o/{id}"),
            ("/o/deadbeef", "/o/deadbeef"),
            ("/sum/d41d8cd98f00b204e9800998ecf8427e", "/sum/{hash}"),
            ("/ulid/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ulid/{id}"),
            ("/day/2026-01-31", "/day/{date}"),
            ("/day/2026-01-31T10:00:00Z", "/day/{date}"),
            ("/day/2026-01-31-and-more", "/day/{id}-01-31-and-more"),
            ("/cust/cus_9s6XKzkNRiz8i3", "/cust/cus_{id}"),
            ("/s/dQw4w9WgXcQ1Zx3Tb8", "/s/{id}"),
            ("/s/QWxhZGRpbjpvcGVuIHNlc2FtZQ12x", "/s/{token}"),
            ("/t/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", "/t/{token}"),
            ("/u/ann@example.test/inbox", "/u/{email}/inbox"),
            ("/u/ann%40example.test", "/u/{email}"),
            ("/img/42.png", "/img/{id}.png"),
            ("/static/app.3f2a1b9c.js", "/static/app.{id}.js"),
            ("/static/main-3f2a1b9c8d.min.css", "/static/main-{id}.min.css"),
            ("/order-12345/page-2", "/order-{id}/page-2"),
            ("/odata/Users(4200)/utf-8", "/odata/Users({id})/utf-8"),
            ("/how-to-write-a-proxy-in-rust", "/how-to-write-a-proxy-in-rust"),
            ("/getUserProfileSettingsPage", "/getUserProfileSettingsPage"),
            ("/internationalization", "/internationalization"),
            ("/react@18.2.0/umd", "/react@18.2.0/umd"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("/\u{fc}ber/7", "/\u{fc}ber/{id}"),
        ] {
            assert_eq!(path_template(path), template, "{path}");
        }
        assert!(matches!(path_template("/a/b/c?d"), Cow::Borrowed("/a/b/c")));
        assert_eq!(path_template(&format!("/{}", "x".repeat(65))), "/{token}");
        let deep = path_template(&"/a/1".repeat(40)).into_owned();
        assert_eq!(deep, format!("{}/{{rest}}", "/a/{id}".repeat(16)));
    }

    /// A generator of its own (SplitMix64), so that the cases are the same everywhere.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
        }
    }

    #[test]
    fn whatever_the_path_a_template_is_its_own_template_and_bounded() {
        const PARTS: &[&str] = &[
            "/",
            "/",
            "-",
            "_",
            ".",
            "@",
            "%40",
            "{",
            "}",
            "{id}",
            "id",
            "v1",
            "7",
            "123",
            "2026-01-31",
            "T10",
            "deadbeef",
            "9b2e4c1d",
            "eyJ",
            "Ab3",
            "x",
            "json",
            "(",
            ":",
            "\u{fc}",
            "?",
            "9b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e6f",
            "aB1cD2eF3gH4iJ5k",
        ];
        let mut dice = Dice(26);
        for _ in 0..20_000 {
            let mut path = "/".to_owned();
            for _ in 0..dice.roll(30) {
                path.push_str(PARTS[dice.roll(PARTS.len())]);
            }
            let once = path_template(&path).into_owned();
            assert_eq!(path_template(&once), once, "{path}");
            assert!(once.len() <= MAX_SEGMENTS * (MAX_SEGMENT_BYTES + 8) + REST.len() + 1, "{path}");
            assert_eq!(once.starts_with('/'), path.starts_with('/'));
        }
    }
}
