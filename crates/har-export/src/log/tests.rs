use std::io;

use super::*;

/// Takes entries and bodies in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) entries: Vec<RawEntry>,
}

impl Depot for Memory {
    fn append(&mut self, body: &mut ImportBody, piece: &[u8]) -> Result<(), Error> {
        let mut held = body.held().unwrap_or_default().to_vec();
        held.extend_from_slice(piece);
        *body = held.into();
        Ok(())
    }

    fn open(&self, body: &ImportBody) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(io::Cursor::new(body.held().unwrap_or_default().to_vec())))
    }

    fn discard(&mut self, _: ImportBody) {}
}

impl Receiver for Memory {
    fn depot(&mut self) -> &mut dyn Depot {
        self
    }

    fn entry(&mut self, entry: RawEntry) -> Result<(), Error> {
        self.entries.push(entry);
        Ok(())
    }
}

/// Reads one entry as a file has it.
pub(crate) fn raw(entry: &Value) -> RawEntry {
    let file = format!("{{\"log\":{{\"entries\":[{entry}]}}}}");
    let mut memory = Memory::default();
    read(file.as_bytes(), &Gauge::default(), &mut memory).unwrap();
    memory.entries.remove(0)
}

fn entries(file: &[u8]) -> Result<Vec<(Value, usize)>, Error> {
    let mut memory = Memory::default();
    read(file, &Gauge::default(), &mut memory)?;
    Ok(memory.entries.into_iter().map(|entry| (entry.value, entry.notes.len())).collect())
}

#[test]
fn entries_are_found_wherever_they_stand() {
    for file in [
        r#"{"log":{"entries":[1,{"a":[2]},null]}}"#,
        "\u{feff} {\"x\":[{}],\"log\":{\"pages\":[{\"entries\":[9]}],\"entries\":[1,{\"a\":[2]},null],\"z\":{}},\"y\":1}\n",
    ] {
        let seen = entries(file.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&seen).unwrap(), r#"[[1,0],[{"a":[2]},0],[null,0]]"#);
    }
    assert_eq!(entries(br#"{"log":{"entries":[]}}"#).unwrap(), []);
}

#[test]
fn what_is_no_har_is_refused_with_what_it_is() {
    for (file, expected) in [
        ("{\"log\":{\"entries\":[{},\n{\"a\":", "EOF while parsing a value at line 2 column 5"),
        ("{\"log\":{\"entries\":[]}} x", "trailing characters at line 1 column 24"),
        ("[1]", "found a list, expected an object with a `log`"),
        ("[1", "EOF while parsing a list"),
        ("{\"log\":[]}", "found a list, expected a `log` object"),
        ("{\"log\":{\"entries\":{}}}", "found an object, expected a list of `entries`"),
        ("{\"log\":{\"entries\":null}}", "found null, expected a list of `entries`"),
        ("{\"log\":{}}", "there is no such list"),
        ("{}", "there is no such list"),
        ("\"log\"", "found text, expected an object with a `log`"),
    ] {
        let error = entries(file.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn texts_of_bodies_and_messages_are_taken_out_of_their_entry() {
    let file = r#"{"log":{"entries":[{"request":{"postData":{"text":"a","x":1}},
        "_webSocketMessages":[{"type":"send","data":"m"},7],
        "response":{"content":{"text":"first","encoding":"none","text":"b"},"text":"stays"}},
        {"request":{"postData":{"text":null}},"response":{"content":{"text":[1]}}}]}}"#;
    let mut memory = Memory::default();
    read(file.as_bytes(), &Gauge::default(), &mut memory).unwrap();
    let [first, second] = &memory.entries[..] else { panic!() };
    let expected = serde_json::json!({"request": {"postData": {"x": 1}},
        "response": {"content": {"encoding": "none"}, "text": "stays"}});
    assert_eq!(first.value, expected);
    assert_eq!(first.request_text.as_ref().unwrap().held(), Some(&b"a"[..]));
    assert_eq!(first.response_text.as_ref().unwrap().held(), Some(&b"b"[..]));
    assert_eq!((first.messages.count, first.messages.bad), (1, 1));
    assert!(second.request_text.is_none() && second.response_text.is_none());
    assert_eq!(second.value["response"]["content"]["text"], serde_json::json!([1]));
}

#[test]
fn what_stands_beside_the_entries_is_kept() {
    let file = r#"{"log":{"version":"1.2","creator":{"name":"x"},"entries":[],"pages":[{"id":"p"}],"_y":1,"entries":[{}]}}"#;
    let mut memory = Memory::default();
    let facts = read(file.as_bytes(), &Gauge::default(), &mut memory).unwrap();
    let expected = serde_json::json!({"creator": {"name": "x"}, "pages": [{"id": "p"}], "_y": 1});
    assert_eq!(Value::Object(facts.log), expected);
    assert_eq!((facts.notes.len(), memory.entries.len()), (1, 1), "a second list is said to be there");
}

#[test]
fn limits_are_counted_for_each_entry_on_its_own() {
    let long = "y".repeat(crate::tree::MAX_TEXT_BYTES + 100);
    let file = format!(r#"{{"log":{{"entries":[["a"],["{long}"],["b","\ud800"]]}}}}"#);
    let seen = entries(file.as_bytes()).unwrap();
    assert_eq!(seen.iter().map(|(_, notes)| *notes).collect::<Vec<_>>(), [0, 1, 1]);
    assert_eq!(seen[1].0[0].as_str().unwrap().len(), crate::tree::MAX_TEXT_BYTES);
    assert_eq!(seen[2].0[1], "\u{fffd}");
}

#[test]
fn an_error_of_the_receiver_ends_the_walk() {
    struct Refusing(u64, Memory);
    impl Receiver for Refusing {
        fn depot(&mut self) -> &mut dyn Depot {
            &mut self.1
        }
        fn entry(&mut self, _: RawEntry) -> Result<(), Error> {
            self.0 += 1;
            Err(Error::new(ErrorKind::Store))
        }
    }
    let mut to = Refusing(0, Memory::default());
    let error = read(&br#"{"log":{"entries":[1,2,3]}}"#[..], &Gauge::default(), &mut to);
    assert_eq!((error.unwrap_err().kind(), to.0), (&ErrorKind::Store, 1));
}
