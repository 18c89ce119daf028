//! The built `wirescope` binary from outside: real processes, real sockets, real files.
#![cfg(test)]

mod analysis;
mod arguments;
mod crash;
mod demo;
mod exec;
mod memory;
mod process;
mod recordings;
mod replays;
mod rules;
mod run;
