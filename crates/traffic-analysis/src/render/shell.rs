//! Words of a POSIX shell that mean exactly some bytes.

/// A word that a shell takes for these bytes, whatever they are: in single quotes where a person can read it, and by
/// `printf` where it has what a terminal acts upon or what is no text. NUL cannot stand in a word and is left out; an end
/// of line at the end would be, and is not asked for.
pub(super) fn word(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_readable) => quoted(text),
        _ => printed(bytes),
    }
}

/// Whether a character is itself when it is shown, copied and pasted.
pub(super) fn is_readable(character: char) -> bool {
    let acts = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    !character.is_control() && !acts
}

/// In single quotes: nothing means anything there but their end.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn printed(bytes: &[u8]) -> String {
    let mut word = String::from("\"$(printf '");
    for byte in bytes.iter().filter(|byte| **byte != 0) {
        if byte.is_ascii_alphanumeric() || b" -_./:;=,".contains(byte) {
            word.push(char::from(*byte));
        } else {
            word.push_str(&format!("\\{byte:03o}"));
        }
    }
    word.push_str("')\"");
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_far_as_they_need_it() {
        for (bytes, expected) in [
            (&b"plain-1.2/x"[..], "plain-1.2/x"),
            (b"", "''"),
            (b"two words", "'two words'"),
            (b"it's $HOME `x` \"y\" \\ !", r#"'it'\''s $HOME `x` "y" \ !'"#),
            ("grün".as_bytes(), "'grün'"),
            (b"tab\tend", r#""$(printf 'tab\011end')""#),
            (b"\xff 100% \x1b[2J!", r#""$(printf '\377 100\045 \033\1332J\041')""#),
            ("\u{202e}x".as_bytes(), r#""$(printf '\342\200\256x')""#),
        ] {
            assert_eq!(word(bytes), expected);
        }
    }
}
