//! Rust source with its comments and literals blanked, so that a rule sees only code.

/// `source` with every comment, string and character replaced by spaces; lines and offsets stay.
pub(super) fn only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let length = literal(rest, at.checked_sub(1).and_then(|before| bytes.get(before)).copied());
        for byte in code.iter_mut().skip(at).take(length).filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        at += length.max(1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The code of `source` that is compiled outside tests: [`only`], with every `#[cfg(test)]` item blanked too.
pub(super) fn production(source: &str) -> String {
    let mut code = only(before_tests(source)).into_bytes();
    let marks: Vec<usize> =
        String::from_utf8_lossy(&code).match_indices("#[cfg(test)]").map(|(at, _)| at).collect();
    for mark in marks {
        let length = item(code.get(mark..).unwrap_or_default());
        for byte in code.iter_mut().skip(mark).take(length).filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The length of the item that `code` begins with, through its closing brace or semicolon.
fn item(code: &[u8]) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The part of `source` before its test module, and the whole when it has none.
pub(super) fn before_tests(source: &str) -> &str {
    let start = source.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|&at| {
        let after = source.get(at..).unwrap_or_default();
        after
            .lines()
            .skip(1)
            .find(|line| !line.trim_start().starts_with("#["))
            .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    start.and_then(|at| source.get(..at)).unwrap_or(source)
}

/// The names of the modules in files of their own that exist in tests only.
pub(super) fn test_modules(source: &str) -> Vec<&str> {
    let after = source.match_indices("#[cfg(test)]").filter_map(|(at, mark)| source.get(at + mark.len()..));
    let items = after.filter_map(|rest| {
        rest.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#["))
    });
    items.filter_map(|item| item.strip_prefix("mod ")?.strip_suffix(';')).collect()
}

/// How many bytes of `rest` are a comment or a literal; 0 when it begins with code.
fn literal(rest: &[u8], before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => 1 + quoted(rest.get(1..).unwrap_or_default()),
        [b'b' | b'c', b'"', ..] if !in_word => 2 + quoted(rest.get(2..).unwrap_or_default()),
        [b'r', b'"' | b'#', ..] if !in_word => raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_word => raw(rest, 2),
        [b'\'', b'\\', ..] => character(rest),
        [b'\'', _, b'\'', ..] => 3,
        [b'\'', wide, ..] if !wide.is_ascii() => character(rest),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return at + 2,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    rest.len()
}

/// The length through the closing quote, given what follows the opening one.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A raw string whose hashes begin at `prefix`; 0 for a raw identifier.
fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest.iter().skip(prefix).take_while(|&&byte| byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = rest.get(open + 1..).unwrap_or_default();
    let end = body.windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| open + 1 + end + close.len())
}

/// The length through the closing quote of a character, at most a Unicode escape away.
fn character(rest: &[u8]) -> usize {
    let escaped = usize::from(rest.get(1) == Some(&b'\\'));
    let from = 2 + escaped;
    rest.iter().skip(from).take(12).position(|&byte| byte == b'\'').map_or(1, |at| from + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        for (source, expected) in [
            ("a // .unwrap()\nb", "a             \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("a\"b", c)"#, r#"f(      , c)"#),
            (r##"f(r#"a"b"#, c)"##, "f(        , c)"),
            ("f(b\"ab\", 'x', '\\n', '\\'')", "f(     ,    ,     ,     )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("let r#type = var\"x\";", "let r#type = var   ;"),
        ] {
            assert_eq!(only(source), expected, "{source}");
        }
    }

    #[test]
    fn items_for_tests_are_no_production_code() {
        let code =
            production("#[cfg(test)]\nfn a() { if b { c } }\nfn d() {}\n#[cfg(test)]\nuse e;\nfn f() {}\n");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["fn", "d()", "{}", "fn", "f()", "{}"]);
    }

    #[test]
    fn modules_for_tests_are_named() {
        let source = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\nmod tests {\n}\n#[cfg(test)]\n#[expect(x)]\nmod c;\n";
        assert_eq!(test_modules(source), ["b", "c"]);
    }

    #[test]
    fn test_module_is_cut_off_and_other_test_items_are_not() {
        let tests = "#[cfg(test)]\n#[expect(x)]\nmod tests {\n}\n";
        assert_eq!(before_tests(&format!("fn a() {{}}\n{tests}")), "fn a() {}\n");
        let outside = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
        assert_eq!(before_tests(outside), outside);
    }
}
