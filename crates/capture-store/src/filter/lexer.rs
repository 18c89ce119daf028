//! A filter cut into tokens.

use std::ops::Range;

use super::FilterError;

/// A piece of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Open,
    Close,
    And,
    Or,
    Not,
    Term(Term),
}

/// A word, or a field with what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// The field; `None` for a bare word.
    pub(super) name: Option<Piece>,
    pub(super) operator: Operator,
    /// What stands between commas; at least one.
    pub(super) pieces: Vec<Piece>,
}

/// A part of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) span: Range<usize>,
    pub(super) quoted: bool,
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `:`, as is natural for the field.
    Natural,
    Equal,
    Unequal,
    Regex,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Longer ones first.
const OPERATORS: [(&str, Operator); 14] = [
    (":!=", Operator::Unequal),
    (":>=", Operator::AtLeast),
    (":<=", Operator::AtMost),
    ("!=", Operator::Unequal),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (":=", Operator::Equal),
    (":~", Operator::Regex),
    (":>", Operator::Greater),
    (":<", Operator::Less),
    (":", Operator::Natural),
    ("=", Operator::Equal),
    ("~", Operator::Regex),
    (">", Operator::Greater),
];

/// Schemes of URLs, which are no fields.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// Cuts a filter into tokens.
pub(super) fn tokens(filter: &str) -> Result<Vec<Token>, FilterError> {
    let mut lexer = Lexer { filter, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'f> {
    filter: &'f str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.filter[self.at..]
    }

    fn token(&mut self) -> Result<Option<Token>, FilterError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let next = self.rest().chars().nth(1);
        let kind = match first {
            '(' => self.one(TokenKind::Open),
            ')' => self.one(TokenKind::Close),
            '-' | '!' if next.is_some_and(|next| !next.is_whitespace() && next != ')') => {
                self.one(TokenKind::Not)
            }
            _ => match self.keyword() {
                Some(kind) => kind,
                None => TokenKind::Term(self.term()?),
            },
        };
        Ok(Some(Token { kind, span: start..self.at }))
    }

    fn one(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn keyword(&mut self) -> Option<TokenKind> {
        let end = self.rest().find(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
        let word = &self.rest()[..end.unwrap_or(self.rest().len())];
        let kind = match word.to_ascii_lowercase().as_str() {
            "and" | "&" | "&&" => TokenKind::And,
            "or" | "|" | "||" => TokenKind::Or,
            "not" | "!" => TokenKind::Not,
            _ => return None,
        };
        self.at += word.len();
        Some(kind)
    }

    fn term(&mut self) -> Result<Term, FilterError> {
        let start = self.at;
        let length = name_length(self.rest());
        let after = &self.rest()[length..];
        let name = &self.rest()[..length];
        let scheme = SCHEMES.contains(&name.to_ascii_lowercase().as_str()) && after.starts_with("://");
        let operator = OPERATORS
            .iter()
            .chain(&[("<", Operator::Less)])
            .find(|(text, _)| length > 0 && !scheme && after.starts_with(text));
        let Some((text, operator)) = operator else {
            let pieces = vec![self.piece(false)?];
            return Ok(Term { name: None, operator: Operator::Natural, pieces });
        };
        let name = Piece { text: name.to_owned(), span: start..start + length, quoted: false };
        self.at += length + text.len();
        let mut pieces = vec![self.piece(true)?];
        while self.rest().starts_with(',') {
            self.at += 1;
            pieces.push(self.piece(true)?);
        }
        Ok(Term { name: Some(name), operator: *operator, pieces })
    }

    /// Reads a word or a quoted text; in a list, up to a comma.
    fn piece(&mut self, list: bool) -> Result<Piece, FilterError> {
        let start = self.at;
        if let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) {
            return self.quoted(quote, start);
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')') || (list && c == ',');
        let end = self.rest().find(ends).unwrap_or(self.rest().len());
        let text = self.rest()[..end].to_owned();
        self.at += end;
        Ok(Piece { text, span: start..self.at, quoted: false })
    }

    fn quoted(&mut self, quote: char, start: usize) -> Result<Piece, FilterError> {
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.at = start + at + 1;
                return Ok(Piece { text, span: start..self.at, quoted: true });
            }
            // Only a quote and a backslash are escaped, so that expressions keep their own backslashes.
            let next = self.filter.get(start + at + letter.len_utf8()..).and_then(|rest| rest.chars().next());
            let escaped = next.filter(|next| *next == quote || *next == '\\');
            match (letter, escaped) {
                ('\\', Some(escaped)) if quote == '"' => {
                    text.push(escaped);
                    letters.next();
                }
                (letter, _) => text.push(letter),
            }
        }
        let message = format!("this quote is not closed; end it with {quote}");
        Err(FilterError::new(self.filter, start..self.filter.len(), message))
    }
}

/// How long the name at the beginning of a text is: letters, then what names of header fields may have.
fn name_length(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return 0;
    }
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | '$');
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(filter: &str) -> String {
        let show = |token: Token| match token.kind {
            TokenKind::Term(term) => {
                let name = term.name.map(|name| name.text).unwrap_or_default();
                let pieces: Vec<_> = term.pieces.into_iter().map(|piece| piece.text).collect();
                format!("{name}{:?}{pieces:?}", term.operator)
            }
            kind => format!("{kind:?}"),
        };
        tokens(filter).unwrap().into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn filters_are_cut_where_one_expects_it() {
        for (filter, tokens) in [
            ("", ""),
            ("  token  ", r#"Natural["token"]"#),
            ("status:>=500", r#"statusAtLeast["500"]"#),
            ("status>=500 ms<3", r#"statusAtLeast["500"] msLess["3"]"#),
            ("method:GET,\"PO ST\"", r#"methodNatural["GET", "PO ST"]"#),
            ("-path:/x (a or b)", r#"Not pathNatural["/x"] Open Natural["a"] Or Natural["b"] Close"#),
            ("not a && !b", r#"Not Natural["a"] And Not Natural["b"]"#),
            ("https://a.test/x?y=1", r#"Natural["https://a.test/x?y=1"]"#),
            (r#"body:"say \"hi\" \d""#, r#"bodyNatural["say \"hi\" \\d"]"#),
            ("header.X-Trace-Id=7", r#"header.X-Trace-IdEqual["7"]"#),
            ("url~'a b'", r#"urlRegex["a b"]"#),
            ("- -", r#"Natural["-"] Natural["-"]"#),
        ] {
            assert_eq!(shown(filter), tokens, "{filter}");
        }
        let error = tokens("a body:\"x").unwrap_err();
        assert_eq!((error.column, error.span), (8, 7..9));
    }
}
