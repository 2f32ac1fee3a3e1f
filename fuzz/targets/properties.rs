//! Properties and their edits.
//!
//! An edit changes the one property and leaves the others as they were, in their order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trireme_remoting::message::{java_string_hash_code, properties};

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, name, value) = input;
    let all: Vec<_> = properties::iter(text).collect();
    assert_eq!(properties::iter(&properties::build(all.iter().copied())).collect::<Vec<_>>(), all);
    java_string_hash_code(text);

    let others: Vec<_> = all.iter().copied().filter(|(found, _)| *found != name).collect();
    let mut edited = text.to_owned();
    assert_eq!(properties::remove(&mut edited, name), others.len() < all.len());
    assert_eq!(properties::get(&edited, name), None);
    assert_eq!(properties::iter(&edited).collect::<Vec<_>>(), others);

    if properties::is_clean(name) && properties::is_clean(value) && !name.is_empty() && !value.is_empty() {
        let mut edited = text.to_owned();
        properties::set(&mut edited, name, value);
        assert_eq!(properties::get(&edited, name), Some(value));
        let mut expect = others;
        expect.push((name, value));
        assert_eq!(properties::iter(&edited).collect::<Vec<_>>(), expect);
    }
});
