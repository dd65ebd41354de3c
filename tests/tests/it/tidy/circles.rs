//! Which files of a crate name which others, and the circles among them.
//!
//! Read are paths that begin with `crate`, `super` or `self`, in `use` and elsewhere, re-exports followed. Files below one file
//! of the root (`x.rs` and `x/`) are that file's own parts, and the root is everybody's: among them a circle is no fault.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

/// Names of modules from the root of the crate on; empty: the root.
type Module = Vec<String>;
/// The text of each module's file.
type Texts = BTreeMap<Module, String>;

/// Re-exports of re-exports that are followed.
const DEPTH_MAX: usize = 8;

/// The folders below `dir` that are the root of a library, a binary or a suite of tests.
fn roots(dir: &Path) -> Vec<PathBuf> {
    let inner = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let folders = ["src", "tests", "examples"].map(|name| dir.join(name)).into_iter().filter(|folder| folder.is_dir());
    let folders = folders.flat_map(|folder| [folder.clone()].into_iter().chain(inner(&folder)).collect::<Vec<_>>());
    folders.filter(|folder| ["lib.rs", "main.rs"].iter().any(|name| folder.join(name).exists())).collect()
}

/// The modules of a crate, by the folder of its root.
fn modules(root: &Path) -> Texts {
    let (mut found, mut left) = (Texts::new(), vec![(root.to_owned(), Module::new())]);
    while let Some((dir, above)) = left.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut module = above.clone();
            if path.is_dir() {
                module.push(name);
                left.push((path, module));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                match (name.as_str(), above.is_empty()) {
                    // beside a library its binary is another crate
                    ("main", true) if root.join("lib.rs").exists() => continue,
                    ("lib" | "main", true) | ("mod", false) => {}
                    _ => module.push(name),
                }
                found.insert(module, code(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// A file without its comments, and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(before, _)| before);
    text.lines().map(|line| line.split_once("//").map_or(line, |(before, _)| before).to_owned() + "\n").collect()
}

/// Adds each path that a tree such as `a::{b, c::D as E}` stands for, below `above`, and the name that it gets; returns the
/// text behind the tree.
fn read<'a>(text: &'a str, above: &[String], found: &mut Vec<(Module, String)>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = read(rest, above, found).trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let word =
        |text: &'a str| text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()));
    let (name, rest) = word(text);
    let mut path = above.to_vec();
    match name {
        "super" => drop(path.pop()),
        "" | "self" => {}
        name => path.push(name.to_owned()),
    }
    if let Some(rest) = rest.strip_prefix("::").filter(|_| !name.is_empty()) {
        return read(rest, &path, found);
    }
    let rest = rest.strip_prefix('*').unwrap_or(rest);
    let (alias, rest) = rest.trim_start().strip_prefix("as ").map_or((name, rest), word);
    found.push((path, alias.to_owned()));
    rest
}

/// The paths from the root on that a file names.
fn named(module: &[String], text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (start, above) in [("crate::", &[][..]), ("super::", module), ("self::", module)] {
        for (at, _) in text.match_indices(start) {
            let is_start = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_start {
                let rest = text[at..].strip_prefix("crate::").unwrap_or(&text[at..]);
                read(rest, above, &mut found);
            }
        }
    }
    found.into_iter().map(|(path, _)| path).collect()
}

/// What a file takes in by `use`, so that others can name it there: name, and path from the root on.
fn taken(module: &[String], text: &str) -> BTreeMap<String, Module> {
    let mut found = Vec::new();
    let is_use = |statement: &&str| statement.starts_with("use ") || statement.starts_with("pub");
    for statement in text.split(['\n', ';']).map(str::trim_start).filter(is_use) {
        let at = statement.as_ptr() as usize - text.as_ptr() as usize;
        let Some((_, tree)) = text[at..].split_once("use ").filter(|(before, _)| !before.contains([';', '\n'])) else {
            continue;
        };
        match tree.strip_prefix("crate::") {
            Some(tree) => read(tree, &[], &mut found),
            None => read(tree, module, &mut found),
        };
    }
    found.into_iter().map(|(path, name)| (name, path)).collect()
}

/// The module whose file a path leads to: what is re-exported stands where it is from.
fn target(texts: &Texts, path: &[String], depth: usize) -> Module {
    let (module, inner) = (0..=path.len())
        .rev()
        .map(|length| path.split_at(length))
        .find(|(module, _)| texts.contains_key(*module))
        .unwrap_or_default();
    let Some((name, rest)) = inner.split_first().filter(|_| depth < DEPTH_MAX) else { return module.to_vec() };
    let from = texts.get(module).and_then(|text| taken(module, text).remove(name));
    // of another crate, or of its own
    let from = from.filter(|from| from != path && (1..=from.len()).any(|length| texts.contains_key(&from[..length])));
    from.map_or_else(|| module.to_vec(), |from| target(texts, &[&from, rest].concat(), depth + 1))
}

/// The circles of a crate, each once: its modules, in some order.
fn circles(texts: &Texts) -> BTreeSet<Vec<String>> {
    let is_apart = |a: &Module, b: &Module| !a.is_empty() && !b.is_empty() && a.first() != b.first();
    let needs = |(module, text): (&Module, &String)| {
        let targets = named(module, text).into_iter().map(|path| target(texts, &path, 0));
        (module.clone(), targets.filter(|target| is_apart(module, target)).collect::<BTreeSet<_>>())
    };
    let edges: BTreeMap<Module, BTreeSet<Module>> = texts.iter().map(needs).collect();
    let mut found = BTreeSet::new();
    for start in edges.keys() {
        // the shortest way back
        let (mut ways, mut met) = (VecDeque::from([vec![start]]), BTreeSet::new());
        while let Some(way) = ways.pop_front() {
            for next in way.last().and_then(|last| edges.get(*last)).into_iter().flatten() {
                if next == start {
                    let mut circle: Vec<_> = way.iter().map(|module| module.join("::")).collect();
                    circle.sort();
                    found.insert(circle);
                } else if met.insert(next) {
                    ways.push_back([&way[..], &[next]].concat());
                }
            }
        }
    }
    found
}

/// Files that need each other are one file in two: what both need belongs into a third.
#[test]
fn no_two_files_need_each_other() {
    let (mut n_modules, mut found) = (0, Vec::new());
    for (name, dir) in super::crates() {
        for root in roots(&dir) {
            let texts = modules(&root);
            n_modules += texts.len();
            found.extend(circles(&texts).iter().map(|circle| format!("{name}: {}", circle.join(", "))));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(n_modules > 400, "found only {n_modules} modules");
}

#[test]
fn circles_are_found() {
    let made = |files: &[(&str, &str)]| -> Vec<String> {
        let split =
            |path: &str| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect::<Module>();
        let texts = files.iter().map(|(path, text)| (split(path), code(text))).collect();
        circles(&texts).iter().map(|circle| circle.join(" ")).collect()
    };
    let root = ("", "mod a;\nmod b;\npub(crate) use b::{B, c::C as Known};\n");
    for (a, b, expected) in [
        ("use crate::b::B;", "use super::a::A;", &["a b"][..]),
        ("use crate::{\n    b::{self, B},\n    x::Y,\n};", "fn f() {\n    crate::a::g()\n}", &["a b"]),
        // by what the root takes in
        ("use super::B;", "use crate::a::A;", &["a b"]),
        ("use crate::Known;", "mod c;\nuse crate::a::A;", &[]),
        ("use crate::b::B;", "", &[]),
        ("use crate::b::B; // crate::a", "// use crate::a::A;", &[]),
        ("use crate::b::B;", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}", &[]),
        ("use other::b::B;", "use crate::a::A;", &[]),
    ] {
        let circle = made(&[root, ("a", a), ("b", b), ("b::c", "pub struct C;")]);
        assert_eq!(circle, expected, "{a} {b}");
    }
    let inner = made(&[root, ("a", "use super::Known;"), ("b", ""), ("b::c", "use crate::a::A;")]);
    assert_eq!(inner, ["a b::c"]);
    let three = made(&[("a", "use crate::b::B;"), ("b", "use crate::c::C;"), ("c", "use super::a::A;")]);
    assert_eq!(three, ["a b c"]);
    // a file's own parts
    let parts = [("a", "use self::b::B;"), ("a::b", "use super::{A, c::C};"), ("a::c", "use super::b::B;")];
    assert!(made(&parts).is_empty());
}
