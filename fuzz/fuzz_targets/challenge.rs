#![no_main]

// The parser is private to the registry client; its file stands alone.
#[allow(dead_code)]
#[path = "../../src/registry/challenge.rs"]
mod parser;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = parser::parse(text);
    let best = parser::best(text.lines());
    for challenge in found.iter().chain(&best) {
        let shown = format!("{challenge:?}");
        assert!(shown == "Basic" || shown == "Bearer", "{shown}");
    }
    if !text.contains('\n') {
        assert_eq!(best.is_some(), !found.is_empty());
    }
});
