//! The store from outside: events in, answers out, over real files and between real processes.
#![cfg(test)]

mod connections;
mod crash;
mod decoding;
mod failing;
mod filtering;
mod importing;
mod keeping;
mod killing;
mod migrating;
mod opening;
mod packing;
mod pressure;
mod querying;
mod recording;
mod searching;
mod sessions;
mod small_disk;
mod sql;
mod support;
mod ways;
