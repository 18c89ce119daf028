//! Opening: what is created, what is refused.

use capture_store::{ErrorKind, Query, Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};

use crate::support::{TestStore, exchange, noise};

fn read_only() -> StoreConfig {
    let mut config = StoreConfig::default();
    config.read_only = true;
    config
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("state").join("store");
    let store = Store::open(&directory, StoreConfig::default()).unwrap();
    let recorder =
        Recorder::start(&store, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default()).unwrap();
    exchange(&recorder, 1, "/", noise(200_000, 1));
    recorder.flush().unwrap();
    let mut pending = vec![directory];
    let mut files = 0;
    while let Some(path) = pending.pop() {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 5, "database, its side files, locks and a body: {files}");
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let test = TestStore::new();
    let path = test.directory.path().join("store.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 7_000).unwrap();
    drop(database);
    for config in [StoreConfig::default(), read_only()] {
        let error = Store::open(test.directory.path(), config).unwrap_err();
        let ErrorKind::NewerSchema { found: 7_000, known: _, .. } = error.kind() else { panic!("{error}") };
    }
}

#[test]
fn a_place_that_is_no_directory_is_an_error_that_names_it() {
    let outer = tempfile::tempdir().unwrap();
    let file = outer.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Store::open(&file, StoreConfig::default()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Directory(file.clone()));
    assert!(error.to_string().contains("file"), "{error}");
    let missing = outer.path().join("missing");
    let error = Store::open(&missing, read_only()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Directory(missing.clone()));
    assert!(!missing.exists());
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("store.db"), noise(20_000, 1)).unwrap();
    let error = Store::open(directory.path(), StoreConfig::default()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Database, "{error}");
}

#[test]
fn a_store_opened_for_reading_reads_along_and_changes_nothing() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let reader = Store::open(test.directory.path(), read_only()).unwrap();
    exchange(&recorder, 1, "/", "x");
    recorder.flush().unwrap();
    assert_eq!(reader.query(&Query::default()).unwrap().total, Some(1));
    let session = recorder.session();
    for refused in [
        reader.delete_session(session).unwrap_err(),
        reader.clear_session(session).unwrap_err(),
        reader.recover(None).unwrap_err(),
        reader.import("x", None).unwrap_err(),
        Recorder::start(&reader, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default())
            .unwrap_err(),
    ] {
        assert_eq!(*refused.kind(), ErrorKind::ReadOnly);
    }
}

#[test]
fn a_second_recorder_is_refused_while_the_first_lives() {
    let test = TestStore::new();
    let first = test.scratch();
    let other = Store::open(test.directory.path(), StoreConfig::default()).unwrap();
    assert!(other.recovered().is_empty());
    let start =
        || Recorder::start(&other, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default());
    let error = start().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Locked(test.directory.path().to_owned()));
    let session = first.session();
    assert_eq!(*other.recover(Some(session)).unwrap_err().kind(), ErrorKind::SessionActive(session));
    first.close().unwrap();
    start().unwrap();
}
