//! On how many threads connections are carried.

use std::{num::NonZeroUsize, thread::available_parallelism};

use clap::Args;
use proxy_core::ProxyBuilder;

/// Flags that say on which threads connections are carried.
#[derive(Args, Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ThreadFlags {
    /// Carry connections on this many threads, each connection on one of them; with 0 all threads of the program carry
    /// all of them, which costs more, and keeps what computes for long from holding up others [default: one for each
    /// processor].
    #[arg(long, value_name = "N", env = "WIRESCOPE_THREADS", hide_env_values = true)]
    threads: Option<usize>,
}

impl ThreadFlags {
    /// How many threads of its own the proxy is to have; none where the caller's runtime is to carry connections.
    #[must_use]
    pub fn count(self) -> Option<NonZeroUsize> {
        match self.threads {
            Some(threads) => NonZeroUsize::new(threads),
            None => available_parallelism().ok(),
        }
    }

    /// Tells a proxy.
    pub fn apply(self, builder: ProxyBuilder) -> ProxyBuilder {
        match self.count() {
            Some(threads) => builder.threads(threads),
            None => builder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nought_leaves_it_to_the_caller_and_nothing_takes_all_processors() {
        let count = |threads| ThreadFlags { threads }.count().map(NonZeroUsize::get);
        assert_eq!(count(Some(0)), None);
        assert_eq!(count(Some(3)), Some(3));
        assert_eq!(count(None), available_parallelism().ok().map(NonZeroUsize::get));
    }
}
