//! PEM certificates (RFC 7468), no more of it than is needed here.

use base64::{Engine as _, engine::general_purpose::STANDARD};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Writes one certificate, 64 characters to the line (RFC 7468 section 2).
pub(crate) fn encode(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str(BEGIN);
    for (at, character) in text.chars().enumerate() {
        if at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// Reads every certificate; what lies outside the blocks, and blocks that do not decode, are skipped.
pub(crate) fn decode(pem: &str) -> Vec<Vec<u8>> {
    pem.split(BEGIN)
        .skip(1)
        .filter_map(|rest| rest.split_once(END))
        .filter_map(|(block, _)| {
            let text: String = block.chars().filter(|character| !character.is_whitespace()).collect();
            STANDARD.decode(text).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_read_back_whatever_the_line_ends() {
        let first = vec![1_u8; 100];
        let second = vec![2_u8; 47];
        let pem = format!("# a comment\n{}{}", encode(&first), encode(&second));
        assert!(pem.lines().all(|line| line.len() <= 64));
        assert_eq!(decode(&pem), [first.clone(), second.clone()]);
        assert_eq!(decode(&pem.replace('\n', "\r\n")), [first, second]);
        assert!(decode("nothing").is_empty());
    }
}
