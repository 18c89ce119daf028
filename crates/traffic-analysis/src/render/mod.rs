//! An exchange as something else reads it: a curl command, HTTP messages, a line of JSON.
//!
//! Each is written to where it is to go, in constant memory: a large body is streamed. What cannot be said in a form is
//! left out and told as a [`Note`].

mod curl;
mod form;
mod lines;
mod raw;
mod shell;
#[cfg(test)]
mod tests;

pub use curl::curl;
pub use form::{Note, RenderError};
pub use lines::json_line;
pub use raw::raw;
