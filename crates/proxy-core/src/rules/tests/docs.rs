use super::*;

const NAMES: [&str; 23] = [
    "mock",
    "map_local",
    "redirect",
    "map_remote",
    "rewrite_url",
    "query",
    "set_method",
    "request_headers",
    "request_body",
    "set_status",
    "response_headers",
    "response_body",
    "delay",
    "throttle",
    "drop",
    "close",
    "reset",
    "time_out",
    "truncate",
    "corrupt",
    "edit_messages",
    "inject_message",
    "breakpoint",
];

#[test]
fn every_example_of_the_guide_is_a_file_of_rules() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
    // Outside the repository, in a published package, there is no guide.
    let Ok(text) = std::fs::read_to_string(guide) else { return };
    let mut examples = 0;
    let mut fences = text.split("\n```");
    fences.next();
    while let (Some(block), Some(_)) = (fences.next(), fences.next()) {
        let (language, example) = block.split_once('\n').unwrap();
        let format = match language {
            "toml" => FileFormat::Toml,
            "json" => FileFormat::Json,
            _ => continue,
        };
        let rules = Rules::new();
        rules.replace_with_text(example, format).unwrap_or_else(|error| panic!("{error}\n{example}"));
        assert!(!rules.list().is_empty(), "{example}");
        examples += 1;
    }
    assert!(examples > 8, "{examples}");
    for name in NAMES {
        assert!(text.contains(name), "{name} is not in the guide");
    }
    for preset in Preset::ALL {
        assert!(text.contains(&format!("`{}`", preset.name())), "{preset:?}");
    }
}
