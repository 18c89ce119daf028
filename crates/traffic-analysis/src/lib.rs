//! What recorded exchanges have in common, how they differ, and what API they speak.
//!
//! What enters: a `capture-store`. What leaves: groups with figures, differences, documents. What it does not know:
//! where exchanges come from, HAR, MCP, command lines.

#![forbid(unsafe_code)]
