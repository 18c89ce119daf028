//! Credentials in answers: stable placeholders instead, which are put back in arguments.
//!
//! With redaction on, an answer says `<secret:3>` wherever a credential stands: the same credential has the same number, so
//! that a model can tell that two requests carried one token without ever seeing it, and can send it again, because the
//! server puts it back before a tool reads its arguments. Both happen in one place, around every call, so that no tool can
//! forget it. Which texts are credentials says [`capture_store::secrets`].

mod hide;
mod learn;
mod vault;

pub(crate) use vault::Vault;

#[cfg(test)]
mod tests;
