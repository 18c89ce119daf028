//! Rows of the kernel's tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6` (proc_pid_net(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The number by which its owner's descriptor names it; never 0, as a socket without an owner has.
    pub(super) inode: u64,
}

/// Reads a row: `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`. `None` for the table's
/// head, sockets nobody owns any more, and whatever else is no row.
pub(super) fn row(line: &[u8]) -> Option<Row> {
    let mut columns = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let local = address(columns.nth(1)?)?;
    let remote = address(columns.next()?)?;
    let inode = columns.nth(6)?.parse().ok().filter(|inode| *inode != 0)?;
    Some(Row { local, remote, inode })
}

/// Reads `0100007F:1F90`: words of 32 bits as they stand in memory, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = words.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match words.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, quarter) in octets.chunks_exact_mut(4).enumerate() {
                quarter.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The socket a descriptor's link names: `socket:[12345]`.
pub(super) fn inode(link: &str) -> Option<u64> {
    let digits = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    const FOUR: &str = "   1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 \
                        88291 1 0000000000000000 20 4 30 10 -1";
    const SIX: &str = "   4: 00000000000000000000000001000000:9C40 0000000000000000FFFF00000100007F:1F90 01 \
                       00000000:00000000 02:000A7214 00000000  1000        0 9 2 0000000000000000";
    const LEFT: &str = "   7: 0100007F:9C40 0100007F:1F90 06 00000000:00000000 03:0000176F 00000000     0        0 0 3 \
                        0000000000000000";

    #[test]
    #[cfg(target_endian = "little")]
    fn rows_of_both_tables_are_read() {
        let read = |line: &str| {
            row(line.as_bytes()).map(|row| (row.local.to_string(), row.remote.to_string(), row.inode))
        };
        let expected = |local: &str, remote: &str, inode| Some((local.to_owned(), remote.to_owned(), inode));
        assert_eq!(read(FOUR), expected("127.0.0.1:40000", "127.0.0.1:8080", 88_291));
        assert_eq!(read(SIX), expected("[::1]:40000", "[::ffff:127.0.0.1]:8080", 9));
        for other in [HEAD, LEFT, "", "1: 0100007F:9C40", "1: 0100007é:9C40 0100007F:1F90 1 2 3 4 5 6 7"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn links_name_their_socket() {
        for (link, expected) in [
            ("socket:[12345]", Some(12_345)),
            ("socket:[]", None),
            ("socket:[12345", None),
            ("socket:[99999999999999999999999]", None),
            ("pipe:[12345]", None),
            ("/tmp/socket:[1]", None),
        ] {
            assert_eq!(inode(link), expected, "{link}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_no_rows_or_other_rows_but_never_worse(
            line in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = (row(&line), inode(&String::from_utf8_lossy(&line)));
            for known in [FOUR, SIX] {
                let mut line = known.as_bytes().to_vec();
                let at = at.index(line.len());
                line[at] = byte;
                let _ = row(&line);
            }
        }

        #[test]
        fn what_the_kernel_writes_is_read(ip in any::<u128>(), port in any::<u16>(), number in 1..u64::MAX) {
            let words = ip.to_ne_bytes();
            let words: Vec<String> = words.chunks_exact(4)
                .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
                .collect();
            for text in [words.concat(), words[0].clone()] {
                let line = format!("0: {text}:{port:04X} {text}:{port:04X} 01 0:0 0:0 0 0 0 {number} 1");
                let row = row(line.as_bytes()).unwrap();
                prop_assert_eq!((row.inode, row.local.port(), row.local), (number, port, row.remote));
                let octets = ip.to_ne_bytes();
                match row.local.ip() {
                    IpAddr::V4(ip) => prop_assert_eq!(&ip.octets()[..], &octets[..4]),
                    IpAddr::V6(ip) => prop_assert_eq!(ip.octets(), octets),
                }
            }
        }
    }
}
