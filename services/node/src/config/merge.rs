//! Tables of settings laid over each other.

use toml::{Table, Value};

/// Merges `over` into `base`; a key that `base` does not have is a mistake.
pub(super) fn merge(base: &mut Table, over: Table, path: &str, mistakes: &mut Vec<String>) {
    for (key, value) in over {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over, &name, mistakes),
            (Some(held), value) => *held = value,
            (None, value) if path == "log.kafka.extra" => drop(base.insert(key, value)),
            (None, _) => mistakes.push(format!("{name}: no such setting (`wardline config --manual` shows all)")),
        }
    }
}

/// Sets one key from text: TOML when it is that, else the text itself.
pub(super) fn set(table: &mut Table, path: &[String], text: &str, source: &str, mistakes: &mut Vec<String>) {
    let Some((key, sections)) = path.split_last() else { return };
    let parsed = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    let value = match (parsed, lookup(table, path)) {
        (_, Some(Value::String(_))) | (None, _) => Value::String(text.to_owned()),
        (Some(value), _) => value,
    };
    let mut nested = Table::from_iter([(key.clone(), value)]);
    for section in sections.iter().rev() {
        nested = Table::from_iter([(section.clone(), Value::Table(nested))]);
    }
    let before = mistakes.len();
    merge(table, nested, "", mistakes);
    mistakes[before..].iter_mut().for_each(|mistake| *mistake = format!("{source}: {mistake}"));
}

fn lookup<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (key, sections) = path.split_last()?;
    let section = sections.iter().try_fold(table, |table, section| table.get(section)?.as_table());
    section?.get(key)
}

pub(super) fn put(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => drop(table.insert(key.clone(), value)),
        [section, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(section) {
                put(inner, rest, value);
            }
        }
    }
}
