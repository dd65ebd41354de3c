//! Words: comments that say something, and one name for one thing.

use super::{files, root, rust_files};
use std::{collections::BTreeMap, fs};

/// Comments of so many words say nothing in the API's documentation.
const PROTO_WORDS_MIN: usize = 4;
/// The same in Rust's.
const RUST_WORDS_MIN: usize = 3;
/// Longer ones that say nothing either.
const HOLLOW: [&str; 10] = [
    "What it is.",
    "What it says.",
    "What to do.",
    "What was given.",
    "What was found.",
    "It does not.",
    "As it is.",
    "All of it.",
    "All of them.",
    "What, and how.",
];

/// Each comment, as one line, with the number of the first of its lines.
fn comments(text: &str, mark: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::<(usize, String)>::new(), false);
    for (at, line) in text.lines().enumerate() {
        let comment = line.trim_start().strip_prefix(mark);
        if let Some(comment) = comment.map(str::trim) {
            if !open {
                found.push((at + 1, String::new()));
            }
            if let Some((_, said)) = found.last_mut() {
                said.push_str(if open { " " } else { "" });
                said.push_str(comment);
            }
        }
        open = comment.is_some();
    }
    found
}

#[test]
fn comments_of_the_api_say_something() {
    let mut empty = Vec::new();
    let protos = files(["proto/wardline"], "proto");
    assert!(protos.len() > 15, "{protos:?}");
    let protos = protos.into_iter().map(|path| (path, "//", PROTO_WORDS_MIN));
    let sources = rust_files(["proto", "shared", "services", "tests"]).into_iter();
    for (path, mark, least) in protos.chain(sources.map(|path| (path, "///", RUST_WORDS_MIN))) {
        for (line, text) in comments(&fs::read_to_string(&path).unwrap(), mark) {
            if text.split_whitespace().count() < least || HOLLOW.contains(&text.as_str()) {
                empty.push(format!("{}:{line}: {text}", path.display()));
            }
        }
    }
    assert!(empty.is_empty(), "say what it is, its unit, its default:\n{}", empty.join("\n"));
}

#[test]
fn comments_are_found_whole() {
    let text = "/// One.\n/// Two.\nfn a() {}\n    /// Three\n    b: u8,\n// no\n";
    assert_eq!(comments(text, "///"), [(1, "One. Two.".to_owned()), (4, "Three".to_owned())]);
}

/// Pictures that stood for something that has a name, and this name.
const FORBIDDEN: [(&str, &str); 7] = [
    ("door", "listener, endpoint or way in"),
    ("doors", "listeners, endpoints or ways in"),
    ("tie", "relation"),
    ("ties", "relations"),
    ("tied", "related"),
    ("clerk", "client"),
    ("desk", "client or service"),
];
/// There ranks are tied, as statisticians say.
const STATISTICS: &str = "services/analytics/";

/// Types whose name had several meanings: each has at most one.
const ONCE: [&str; 7] = ["Place", "Found", "Auditor", "Asking", "Sealer", "Tie", "Door"];

/// The words of a text in lower case: of `is_aWord` they are `is`, `a` and `word`.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphabetic()).flat_map(|word| {
        let mut parts = vec![String::new()];
        for c in word.chars() {
            let begins = c.is_uppercase() && parts.last().is_some_and(|part| part.ends_with(char::is_lowercase));
            if begins {
                parts.push(String::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push(c);
            }
        }
        parts.into_iter().filter(|part| !part.is_empty()).map(|part| part.to_lowercase())
    })
}

#[test]
fn words_of_the_field_are_used() {
    let mut found = Vec::new();
    let sources = rust_files(["proto/src", "shared", "services"]).into_iter().chain(files(["proto/wardline"], "proto"));
    for path in sources {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = format!("{name}\n{}", fs::read_to_string(&path).unwrap());
        for (at, line) in text.lines().enumerate() {
            for word in words(line) {
                let wrong = FORBIDDEN.iter().find(|(forbidden, _)| *forbidden == word);
                let wrong = wrong.filter(|_| !(word.starts_with("tie") && name.starts_with(STATISTICS)));
                found.extend(wrong.map(|(word, better)| format!("{name}:{at}: {word} ({better})")));
            }
        }
    }
    assert!(found.is_empty(), "say it by the field's word:\n{}", found.join("\n"));
}

#[test]
fn words_are_told_apart() {
    let all: Vec<_> = words("is_tied(TlsDoor) neck-tie, ties2 HTTPDoor outdoors").collect();
    assert_eq!(all, ["is", "tied", "tls", "door", "neck", "tie", "ties", "httpdoor", "outdoors"]);
}

/// Names of the types that a file defines.
fn types(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let words: Vec<_> = line.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let at = words.iter().position(|word| ["struct", "enum", "trait", "type", "union"].contains(word))?;
        let before = |word: &&str| ["pub", "crate", "super", ""].contains(word);
        words[..at].iter().all(before).then(|| words.get(at + 1).copied())?
    })
}

#[test]
fn a_name_that_had_several_meanings_has_one() {
    let mut defined = BTreeMap::<String, Vec<String>>::new();
    for path in rust_files(["proto", "shared", "services", "tests"]) {
        for name in types(&fs::read_to_string(&path).unwrap()).filter(|name| ONCE.contains(name)) {
            defined.entry(name.to_owned()).or_default().push(path.display().to_string());
        }
    }
    defined.retain(|_, paths| paths.len() > 1);
    assert!(defined.is_empty(), "one name, one thing: {defined:#?}");
}

#[test]
fn types_are_found_where_they_are_defined() {
    let text =
        "pub struct A {\n    enum B;\npub(crate) type C<'a> = u8;\n// a struct D\nfn e(f: struct G)\ntrait H: I {";
    assert_eq!(types(text).collect::<Vec<_>>(), ["A", "B", "C", "H"]);
}
