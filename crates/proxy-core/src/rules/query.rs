//! The query of a URL: names and values.

/// A target's path and its query, without the question mark.
pub(super) fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// The parameters of a target's query, decoded as forms are (`application/x-www-form-urlencoded`, WHATWG URL).
pub(super) fn parameters(target: &str) -> impl Iterator<Item = (String, String)> + '_ {
    split(target).1.unwrap_or_default().split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

/// `+` for a space, `%XX` for a byte; what is no escape stands for itself, wrong UTF-8 is replaced.
pub(super) fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut spaced = text.replace('+', " ").into_bytes();
    unescape(&mut spaced);
    String::from_utf8_lossy(&spaced).into_owned()
}

/// Decodes `%XX` in place.
pub(super) fn unescape(text: &mut Vec<u8>) {
    let (mut read, mut write) = (0, 0);
    while read < text.len() {
        let escaped = text.get(read + 1..read + 3).filter(|_| text[read] == b'%').and_then(hex);
        text[write] = escaped.unwrap_or(text[read]);
        read += if escaped.is_some() { 3 } else { 1 };
        write += 1;
    }
    text.truncate(write);
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

/// A name or a value as a form encodes it.
pub(super) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(byte.into()),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let seen: Vec<_> = parameters("/p?a=1&b=x+y%21&c&&d=%zz&a=%C3%A4").collect();
        let expected = [("a", "1"), ("b", "x y!"), ("c", ""), ("d", "%zz"), ("a", "ä")];
        assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parameters("/p").count(), 0);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "a b+c%&=ä*~\n";
        let mut out = String::new();
        encode(text, &mut out);
        assert_eq!(decode(&out), text);
        assert!(out.is_ascii());
    }
}
