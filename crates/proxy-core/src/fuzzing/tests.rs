//! The fuzz targets under mutations of their seeds: the same each time, and few enough for every run of the tests.

use super::*;

/// Mutants of each seed.
const MUTANTS: u64 = 1_500;

/// What parsers trip over.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"-1",
    b"+",
    b"chunked",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n ",
    b"HTTP/1.1",
    b"http://",
    b"\xff\xff\xff\xff",
    b"\x7f",
    b"\x80",
    b"\xe2\x84\xaa",
];

/// Numbers that look random and are the same each time (the generator of Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..(at + self.below(9)).min(bytes.len()))),
            4 => {
                let end = (at + self.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }
}

#[test]
fn mutated_seeds_hold_the_properties_of_every_fuzz_target() {
    for target in TARGETS {
        for (index, seed) in (target.seeds)().into_iter().enumerate() {
            (target.run)(&seed);
            for mutant in 0..MUTANTS {
                let mut dice = Dice(mutant << 16 | index as u64);
                let mut bytes = seed.clone();
                for _ in 0..=dice.below(6) {
                    dice.mutate(&mut bytes);
                }
                let held = std::panic::catch_unwind(|| (target.run)(&bytes));
                assert!(held.is_ok(), "{} on {:?}", target.name, bytes.escape_ascii().to_string());
            }
        }
    }
}

#[test]
fn seeds_lead_past_the_first_refusal() {
    for (name, seeds) in [("hellos", seeds::hellos()), ("openings", seeds::openings())] {
        for seed in seeds {
            let detected = crate::detect::detect(&seed, true);
            let known = !matches!(detected, crate::detect::Detected::Yes(crate::detect::Detection::Unknown));
            assert!(known || !seed.starts_with(&[22]), "{name}: {:?}", seed.escape_ascii().to_string());
        }
    }
}

#[test]
fn every_fuzz_target_has_its_file() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    // A packaged crate has no fuzz directory beside it.
    if directory.exists() {
        for target in TARGETS {
            assert!(directory.join(format!("{}.rs", target.name)).is_file(), "{} has no file", target.name);
        }
    }
}
