//! The certificate authority the user trusts, and the leaf certificates it signs.

mod authority;
mod files;
mod leaf;
mod mirror;

pub use authority::CertificateAuthority;
pub(crate) use leaf::Leafs;

#[cfg(test)]
mod tests;
