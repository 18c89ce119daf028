//! Where the state is, and opening what is there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use capture_store::{ErrorKind, Store, StoreConfig};
use client_setup::StateDir;
use proxy_core::CertificateAuthority;

use crate::{output, text};

/// The state directory and the store.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    state: StateDir,
    store: PathBuf,
    /// Whether the user named the store.
    pub(crate) store_is_named: bool,
}

impl Place {
    /// Takes what was named, and the user's own place otherwise.
    pub(crate) fn resolve(state: Option<PathBuf>, store: Option<PathBuf>) -> Result<Self> {
        let state = match state {
            Some(directory) => StateDir::new(std::path::absolute(directory).context("read --state-dir")?),
            None => StateDir::of_user(|name| std::env::var_os(name))?,
        };
        let store_is_named = store.is_some();
        let store = store.unwrap_or_else(|| state.store());
        Ok(Self { state, store, store_is_named })
    }

    /// A place below `directory`, for what is thrown away.
    pub(crate) fn below(directory: &Path) -> Self {
        let state = StateDir::new(directory);
        Self { store: state.store(), state, store_is_named: true }
    }

    /// The same with the store elsewhere.
    pub(crate) fn with_store(self, store: PathBuf) -> Self {
        Self { store, ..self }
    }

    /// The store's directory.
    pub(crate) fn store_path(&self) -> &Path {
        &self.store
    }

    /// Where the files for clients are kept.
    pub(crate) fn clients(&self) -> PathBuf {
        self.state.clients()
    }

    /// The CA's certificate file.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.state.ca().join("ca.pem")
    }

    /// The CA; made where there is none yet.
    pub(crate) fn ca(&self) -> Result<CertificateAuthority> {
        Ok(CertificateAuthority::load_or_create(self.state.ca())?)
    }

    /// Opens the store to write, and tells which sessions a crash had left open.
    pub(crate) fn store(&self) -> Result<Store> {
        let store = Store::open(&self.store, StoreConfig::default())?;
        for session in store.recovered() {
            let Some(recovery) = &session.recovery else { continue };
            output::note(format_args!(
                "wirescope: recovered session {} after a crash: {} kept, of them {} cut off by it; up to {} before it may \
                 be missing",
                session.id,
                text::count(session.exchanges, "exchange"),
                recovery.unfinished,
                text::duration(std::time::Duration::from_millis(recovery.window_ms)),
            ));
        }
        Ok(store)
    }

    /// Opens the store to list what is there; `None` where nothing was ever recorded. Sessions that a crash left open
    /// are closed first, so that none passes for being recorded; where that cannot be, they are listed as they are.
    pub(crate) fn store_to_list(&self) -> Result<Option<Store>> {
        if !self.store.exists() {
            return Ok(None);
        }
        match self.store() {
            Ok(store) => Ok(Some(store)),
            Err(error) => self.store_to_read_if_any().map_err(|_| error),
        }
    }

    /// Opens the store to read; `None` where nothing was ever recorded.
    pub(crate) fn store_to_read_if_any(&self) -> Result<Option<Store>> {
        if !self.store.exists() {
            return Ok(None);
        }
        match Store::open(&self.store, StoreConfig::read_only()) {
            // Written by an older version: opening it to write brings it up to date.
            Err(error) if matches!(error.kind(), ErrorKind::OlderSchema { .. }) => {
                self.store()?;
                Ok(Some(Store::open(&self.store, StoreConfig::read_only())?))
            }
            opened => Ok(Some(opened?)),
        }
    }

    /// Opens the store to read.
    pub(crate) fn store_to_read(&self) -> Result<Store> {
        self.store_to_read_if_any()?.with_context(|| {
            format!(
                "find recordings in {}: nothing is recorded there yet; name another directory with --store",
                self.store.display()
            )
        })
    }
}
