//! The README is short, and what it names is there.

use super::{read, root};

/// Half of what it had once.
const WORDS_MAX: usize = 2_200;
/// Folders at the top: what begins with one of them is a path.
const FOLDERS: [&str; 6] = ["proto/", "shared/", "services/", "tests/", "deploy/", "helm/"];

#[test]
fn the_readme_is_short() {
    let n_words = read("README.md").split_whitespace().count();
    assert!(
        n_words <= WORDS_MAX,
        "README.md has {n_words} words, of {WORDS_MAX}: what is for one reader is for a manual"
    );
}

/// Paths in backticks outside of examples, and targets of links.
fn paths(text: &str) -> Vec<&str> {
    // what lies between fences is an example
    let prose = text.split("```").step_by(2);
    let code = prose.clone().flat_map(|prose| prose.split('`').skip(1).step_by(2));
    let links = prose.flat_map(|prose| prose.split("](").skip(1)).filter_map(|link| link.split([')', '#']).next());
    let is_path = |word: &&str| !word.contains(' ') && FOLDERS.iter().any(|folder| word.starts_with(folder));
    code.chain(links).filter(is_path).collect()
}

#[test]
fn every_path_of_the_readme_is_there() {
    let text = read("README.md");
    let all = paths(&text);
    assert!(all.len() > 80, "found only {} paths", all.len());
    let missing: Vec<_> = all.into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "README.md names what is not there: {missing:#?}");
}

#[test]
fn paths_are_found_in_backticks_and_links() {
    let text = "`tests/a.rs`, `b.rs`, `cargo test > helm/x` [c](proto/c.md#d)\n```sh\ncat `tests/e`\n```\n`deploy/`";
    assert_eq!(paths(text), ["tests/a.rs", "deploy/", "proto/c.md"]);
}
