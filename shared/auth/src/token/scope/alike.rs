//! Whether a word of a scope may be meant as one of ours: a permission's or an action's, as the tables, the protos and the audit log
//! print them, or as the program calls them (`ReadLatest`).
//!
//! It is in other letters, with other signs or none, escaped, the other way round (`manage:users`), or of one where ours is of
//! many (`user.manage`). The first part of a name alone is not, for `profile` and `roles` are words of others.

use model::access::{Action, Permission};
use std::{collections::HashSet, sync::LazyLock};

/// Our name, in small letters: what holds it is meant for us.
const OUR_NAME: &str = "wardline";
/// What stands between the parts of a name when it is written otherwise.
const JOINTS: [char; 5] = ['.', ':', '_', '-', '/'];
/// What Entra ID calls the one scope of a program that has no others. It only begins like a permission.
const ANY_USE: &str = "access_as_user";
/// What SMART's words begin with, before a resource: the last part of `user/Device.read` is no word of ours.
const SMART: [&str; 3] = ["patient/", "user/", "system/"];

static OURS: LazyLock<Ours> = LazyLock::new(Ours::new);

/// All our names, in small letters.
struct Ours {
    /// What is done to what, as in `users` and `manage`.
    names: HashSet<(String, String)>,
    /// The same with nothing between the two, in either order, of one and of many.
    joined: HashSet<String>,
    /// What it is done to, of one and of many.
    nouns: HashSet<String>,
    verbs: HashSet<String>,
}

impl Ours {
    fn new() -> Self {
        let printed =
            Permission::ALL.into_iter().map(Permission::name).chain(Action::ALL.into_iter().map(Action::name));
        let printed = printed.filter_map(|name| name.split_once('.'));
        let mut names: HashSet<_> = printed.map(|(what, how)| (what.to_owned(), how.to_owned())).collect();
        let called = Permission::ALL.into_iter().map(|one| format!("{one:?}"));
        for name in called.chain(Action::ALL.into_iter().map(|one| format!("{one:?}"))) {
            if let Some((how, what)) = apart(&name).split_once(' ') {
                names.insert((what.replace(' ', ""), how.to_owned()));
            }
        }
        let (mut joined, mut nouns, mut verbs) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (what, how) in &names {
            verbs.insert(how.clone());
            for what in numbers(what) {
                joined.extend([format!("{what}{how}"), format!("{how}{what}")]);
                nouns.insert(what);
            }
        }
        Self { names, joined, nouns, verbs }
    }
}

/// A noun, of one and of many.
fn numbers(what: &str) -> impl Iterator<Item = String> {
    let one = ["es", "s"].into_iter().filter_map(move |end| what.strip_suffix(end)).map(str::to_owned);
    one.chain([what.to_owned(), format!("{what}s"), format!("{what}es")])
}

/// Whether a word that is not exactly one of ours may be meant as one.
pub(super) fn is_alike(word: &str) -> bool {
    let written = unescaped(word);
    let word = written.to_ascii_lowercase();
    if word == ANY_USE {
        return false;
    }
    let parted = apart(&written);
    let parts: Vec<_> = parts(&parted).collect();
    let runs: Vec<_> = word.split(is_sign).collect();
    let is_name = |(what, how): &(String, String)| {
        let (what, how) = (what.as_str(), how.as_str());
        parts.windows(2).any(|pair| pair == [what, how] || pair == [how, what])
    };
    // in whatever list, quotes or address it stands
    word.contains(OUR_NAME)
        || runs.iter().any(|run| OURS.joined.contains(*run))
        || OURS.names.iter().any(is_name)
        || Permission::ALL.iter().any(|one| begins(&word, one.name(), &JOINTS))
        // `Device.Read.All` is Microsoft's, and `device_sso` is OpenID's
        || Action::ALL.iter().any(|one| begins(&written, one.name(), &['.', ':']))
        || std::iter::once(&*written).chain(written.split(is_between)).any(is_near)
}

/// Whether a word, or one in a list or an address, begins as a name does: `users.*`.
fn begins(word: &str, name: &str, joints: &[char]) -> bool {
    let Some((what, _)) = name.split_once('.') else { return false };
    let mut listed = word.split(|sign: char| is_sign(sign) && sign != '.');
    listed.any(|one| one.strip_prefix(what).is_some_and(|rest| rest.starts_with('.')))
        || word.strip_prefix(what).is_some_and(|rest| rest.starts_with(joints) && rest.len() > 1)
}

/// Whether one word, or the last part of an address, is one of our names but for signs and for one or many; or what we know
/// beside what we do, as in `user:read`.
fn is_near(word: &str) -> bool {
    let last = word.rsplit('/').next().unwrap_or(word);
    let plain = |text: &str| text.replace(is_sign, "").to_ascii_lowercase();
    if [word, last].into_iter().any(|text| OURS.joined.contains(&plain(text))) {
        return true;
    }
    let small = word.to_ascii_lowercase();
    let is_smart = SMART.iter().any(|begin| small.strip_prefix(begin).is_some_and(|rest| rest.contains('.')));
    if is_smart || is_of_graph(word) {
        return false;
    }
    let parted = apart(word);
    // not the other way round: `read:user` is GitHub's
    match parts(&parted).collect::<Vec<_>>()[..] {
        [what, how] => OURS.nouns.contains(what) && OURS.verbs.contains(how),
        [what] => word.ends_with('*') && OURS.nouns.contains(what),
        _ => false,
    }
}

/// Whether a word is written as Microsoft writes its own: `User.Read`.
fn is_of_graph(word: &str) -> bool {
    let is_titled = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.next().is_some_and(|second| second.is_ascii_lowercase())
    };
    word.split_once('.').is_some_and(|(what, how)| is_titled(what) && is_titled(how))
}

fn parts(parted: &str) -> impl Iterator<Item = &str> {
    parted.split(is_sign).filter(|part| !part.is_empty())
}

fn is_sign(sign: char) -> bool {
    !sign.is_ascii_alphanumeric()
}

/// What stands between the words of a list that are not a scope's own, or around them.
fn is_between(sign: char) -> bool {
    is_sign(sign) && sign != '*' && !JOINTS.contains(&sign)
}

/// A word without percent signs of an address (`%2E`), however often it was escaped.
fn unescaped(word: &str) -> String {
    let mut word = word.to_owned();
    let escaped = |word: &str| {
        let (at, _) = word.match_indices('%').find(|(at, _)| word.get(at + 1..at + 3).is_some_and(is_hexadecimal))?;
        let byte = u8::from_str_radix(&word[at + 1..at + 3], 16).ok()?;
        Some((at, char::from(byte)))
    };
    // each makes it shorter
    while let Some((at, sign)) = escaped(&word) {
        word.replace_range(at..at + 3, sign.encode_utf8(&mut [0; 4]));
    }
    word
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// A word in small letters, with a space before each capital that follows a small letter (`usersManage`).
fn apart(word: &str) -> String {
    let mut parted = String::with_capacity(2 * word.len());
    let mut before = ' ';
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            parted.push(' ');
        }
        parted.push(letter.to_ascii_lowercase());
        before = letter;
    }
    parted
}
