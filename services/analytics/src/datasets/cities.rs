//! Keys of cities: the same place, however it is written, has the same key within its state.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    words: HashMap<String, String>,
    first_words: HashMap<String, String>,
    aliases: BTreeMap<String, BTreeMap<String, String>>,
}

struct Names {
    words: HashMap<String, String>,
    first_words: HashMap<String, String>,
    /// By state and key: the key in the table of cities.
    aliases: HashMap<String, HashMap<String, String>>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("../../datasets/city_aliases.toml")).expect("a test reads the table");
    let mut names = Names { words: file.words, first_words: file.first_words, aliases: HashMap::new() };
    let keys = |aliases: BTreeMap<String, String>| {
        let pair = |(from, to): (String, String)| (plain_key(&names, &from), plain_key(&names, &to));
        aliases.into_iter().map(pair).collect()
    };
    let aliases = file.aliases.into_iter().map(|(state, aliases)| (state, keys(aliases))).collect();
    names.aliases = aliases;
    names
});

/// The key without aliases: capitals and digits, words written one way (`SAINT` as `ST`), no spaces. `Winston-Salem` is
/// `WINSTONSALEM`, `O'Fallon` and `O FALLON` are `OFALLON`.
fn plain_key(names: &Names, city: &str) -> String {
    let upper: String = city.to_uppercase().chars().map(without_accent).collect();
    let words: Vec<&str> =
        upper.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut key = String::with_capacity(upper.len());
    for (position, word) in words.iter().enumerate() {
        let first = (position == 0 && words.len() > 1).then(|| names.first_words.get(*word)).flatten();
        key.push_str(first.or_else(|| names.words.get(*word)).map_or(*word, String::as_str));
    }
    key
}

/// `Ñ` as `N`: the table of cities has names without accents beside those with them.
fn without_accent(letter: char) -> char {
    match letter {
        'À'..='Å' => 'A',
        'Ç' => 'C',
        'È'..='Ë' => 'E',
        'Ì'..='Ï' => 'I',
        'Ñ' => 'N',
        'Ò'..='Ö' => 'O',
        'Ù'..='Ü' => 'U',
        other => other,
    }
}

/// A city's key in a state (postal code), and whether an alias led to it.
#[must_use]
pub fn city_key(state: &str, city: &str) -> (String, bool) {
    let key = plain_key(&NAMES, city);
    match NAMES.aliases.get(state).and_then(|aliases| aliases.get(&key)) {
        Some(alias) => (alias.clone(), true),
        None => (key, false),
    }
}

/// Every alias, as (state, key, key in the table of cities).
#[cfg(test)]
pub(super) fn aliases() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of_state = |(state, aliases): (&'static String, &'static HashMap<String, String>)| {
        aliases.iter().map(move |(from, to)| (state.as_str(), from.as_str(), to.as_str()))
    };
    NAMES.aliases.iter().flat_map(of_state)
}
