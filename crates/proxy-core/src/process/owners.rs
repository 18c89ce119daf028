//! Which processes own sockets, out of `/proc`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process,
    time::{Duration, Instant},
};

use super::{ClientProcess, Ends, sockets};
use crate::address::canonical;

/// The tables of sockets.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// What is read of each of them: some 100,000 rows.
const MAX_TABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Processes that are looked at.
const MAX_PROCESSES: usize = 32_768;
/// Descriptors that are looked at.
const MAX_DESCRIPTORS: usize = 262_144;
/// How long a search may take; what is not found by then stays unknown.
pub(super) const MAX_SEARCH: Duration = Duration::from_millis(250);
/// What is kept of a process's name; the kernel keeps 15 bytes.
const MAX_NAME_BYTES: u64 = 64;
/// Processes that are looked at first.
const MAX_RECENT: usize = 8;

/// Finds the processes at the clients' ends, those of `recent` first, and notes in it who was found.
pub(super) fn find(ends: &[Ends], recent: &mut Vec<u32>) -> Vec<Option<ClientProcess>> {
    let mut search = Search::new(ends);
    search.sockets(ends);
    search.owners(recent);
    for process in search.found.iter().flatten() {
        recent.retain(|pid| *pid != process.pid);
        recent.insert(0, process.pid);
    }
    recent.truncate(MAX_RECENT);
    search.found
}

/// One search.
struct Search {
    /// Whose end an address is.
    clients: HashMap<SocketAddr, Vec<usize>>,
    /// The sockets whose owners are sought, and whose they are.
    owned: HashMap<u64, usize>,
    found: Vec<Option<ClientProcess>>,
    descriptors: usize,
    until: Instant,
}

impl Search {
    fn new(ends: &[Ends]) -> Self {
        let mut clients: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, ends) in ends.iter().enumerate() {
            clients.entry(canonical(ends.client)).or_default().push(index);
        }
        Self {
            clients,
            owned: HashMap::new(),
            found: vec![None; ends.len()],
            descriptors: 0,
            until: Instant::now() + MAX_SEARCH,
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Finds the clients' sockets.
    fn sockets(&mut self, ends: &[Ends]) {
        for table in TABLES {
            let Ok(file) = File::open(table) else { continue };
            let mut rows = BufReader::with_capacity(64 * 1024, file.take(MAX_TABLE_BYTES));
            let mut line = Vec::new();
            while self.owned.len() < ends.len() && !self.is_late() {
                line.clear();
                match rows.read_until(b'\n', &mut line) {
                    Ok(read) if read > 0 => self.socket(&line, ends),
                    _ => break,
                }
            }
        }
    }

    fn socket(&mut self, line: &[u8], ends: &[Ends]) {
        let Some(row) = sockets::row(line) else { return };
        for index in self.clients.get(&canonical(row.local)).into_iter().flatten() {
            let server = ends.get(*index).and_then(|ends| ends.server);
            if server.is_none_or(|server| canonical(server) == canonical(row.remote)) {
                self.owned.insert(row.inode, *index);
            }
        }
    }

    /// Finds the sockets' owners: among those found before, then from the youngest process on. The proxy itself has many
    /// descriptors and is hardly ever its own client, so that it comes last.
    fn owners(&mut self, recent: &[u32]) {
        for pid in recent {
            self.owner(*pid);
        }
        if self.owned.is_empty() || self.is_late() {
            return;
        }
        let own = process::id();
        let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut pids: Vec<u32> = numbers.take(MAX_PROCESSES).collect();
        pids.retain(|pid| *pid != own && !recent.contains(pid));
        pids.sort_unstable_by(|one, other| other.cmp(one));
        pids.push(own);
        for pid in pids {
            if self.owned.is_empty() || self.is_late() {
                break;
            }
            self.owner(pid);
        }
    }

    /// Looks through a process's descriptors. Those of another user are not shown: nothing is found there.
    fn owner(&mut self, pid: u32) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return };
        let mut name = None;
        for descriptor in descriptors.flatten() {
            self.descriptors += 1;
            if self.owned.is_empty() || self.descriptors > MAX_DESCRIPTORS || self.is_late() {
                break;
            }
            let link = fs::read_link(descriptor.path()).ok();
            let inode = link.and_then(|link| sockets::inode(link.to_str()?));
            if let Some(index) = inode.and_then(|inode| self.owned.remove(&inode)) {
                let name = name.get_or_insert_with(|| name_of(pid));
                if let Some(found) = self.found.get_mut(index) {
                    *found = name.clone().map(|name| ClientProcess::new(pid, name));
                }
            }
        }
    }
}

/// What a process calls itself; `None` where it is gone.
fn name_of(pid: u32) -> Option<String> {
    let mut name = Vec::new();
    File::open(format!("/proc/{pid}/comm")).ok()?.take(MAX_NAME_BYTES).read_to_end(&mut name).ok()?;
    Some(shown(&name))
}

/// A process may call itself anything: what could not be shown on one line is replaced.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.trim_end_matches('\n').replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_of_text() {
        for (name, expected) in [
            (&b"curl\n"[..], "curl"),
            (b"", ""),
            (b"a\x1b[31mb\nc\n", "a\u{fffd}[31mb\u{fffd}c"),
            (b"\xff\xfe\n", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(shown(name), expected);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_owner_of_each_end_is_found() {
        use std::net::{SocketAddr, TcpListener, TcpStream};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let client = TcpStream::connect(server).unwrap();
        let _accepted = listener.accept().unwrap();
        let ends = |client, server| Ends { client, server };
        let address = client.local_addr().unwrap();
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", address.port()).parse().unwrap();
        let mut recent = vec![1, 2];
        let found = find(
            &[ends(address, Some(elsewhere)), ends(elsewhere, Some(server)), ends(mapped, Some(server))],
            &mut recent,
        );
        assert_eq!(found[..2], [None, None]);
        assert_eq!(found[2].as_ref().unwrap().pid, process::id());
        assert_eq!(recent, [process::id(), 1, 2]);
        // Once more, where it is looked for first; and once it is gone.
        assert_eq!(find(&[ends(address, None)], &mut recent)[0].as_ref().unwrap().pid, process::id());
        drop(client);
        assert_eq!(find(&[ends(address, Some(server))], &mut recent), [None]);
    }
}
