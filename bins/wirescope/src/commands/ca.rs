//! `ca`: the certificate authority that clients are to trust.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{output::Out, place::Place};

/// How to trust the CA, with `{path}`, `{name}`, `{fingerprint}` and `{spki}` where those of the certificate are to be.
const TRUST: &str = include_str!("ca/trust.txt");

/// Prints the CA's certificate, where it is, or how to trust it.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Prints the path of the certificate in PEM; the CA is made where there is none yet.
    Path,
    /// Prints the certificate in PEM.
    Print,
    /// Prints the certificate's SHA-256 fingerprint.
    Fingerprint,
    /// Tells how to trust the certificate on Linux, macOS, Windows, iOS, Android, in Firefox, Chromium, Java and others;
    /// changes nothing.
    Trust,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let ca = place.ca()?;
    let path = place.ca_certificate().display().to_string();
    let mut out = Out::new();
    match arguments.what {
        What::Path => out.line_now(path),
        What::Print => out.text(ca.certificate_pem()),
        What::Fingerprint => out.line_now(ca.fingerprint_sha256()),
        What::Trust => out.text(
            &TRUST
                .replace("{path}", &path)
                .replace("{name}", ca.subject())
                .replace("{fingerprint}", &ca.fingerprint_sha256())
                .replace("{spki}", &ca.spki_sha256_base64()),
        ),
    }
}
