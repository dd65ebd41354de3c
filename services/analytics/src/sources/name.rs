//! What a file of the web is called: its name says its layout and how it is packed.

use crate::{datasets::Input, uploads::is_plain_name};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::borrow::Cow;

/// The first name that says what the file is, or else the first that is one at all: that of the settings, that which the publisher
/// gives (Content-Disposition), that of the address that was asked, and that of the address where it was.
pub(super) fn of(setting: Option<&str>, disposition: Option<&str>, asked: &Url, found: &Url) -> Option<String> {
    let given = disposition.and_then(from_disposition);
    let names = [setting.map(str::to_owned), given, last_segment(asked), last_segment(found)];
    let names: Vec<_> = names.into_iter().flatten().filter(|name| is_plain_name(name)).collect();
    names.iter().find(|name| Input::is_known(name)).or(names.first()).cloned()
}

fn last_segment(url: &Url) -> Option<String> {
    decoded(url.path_segments()?.next_back()?)
}

/// The `filename*` of RFC 6266, or else its `filename`.
fn from_disposition(text: &str) -> Option<String> {
    let parameters = parameters(text);
    let named = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let extended = named("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, value) = rest.split_once('\'')?;
        charset.eq_ignore_ascii_case("utf-8").then(|| decoded(value)).flatten()
    });
    extended.or_else(|| named("filename").cloned())
}

/// Names in lower case, and values without their quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                part.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    let pair = |part: &String| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    parts.iter().filter_map(pair).collect()
}

/// Without `%20` and the like; none where that is no UTF-8.
fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(disposition: Option<&str>, asked: &str) -> Option<String> {
        let asked = asked.parse().unwrap();
        of(None, disposition, &asked, &"https://cdn.example.gov/x/part.csv.gz".parse().unwrap())
    }

    #[test]
    fn the_name_that_says_what_the_file_is_counts() {
        let at = "https://a.example/files/sites%202020.csv?x=/evil.csv";
        for (disposition, expected) in [
            (None, "sites 2020.csv"),
            (Some("attachment"), "sites 2020.csv"),
            (Some("attachment; filename=cities.csv"), "cities.csv"),
            (Some("attachment; filename=\"a; b\\\"c.csv\"; size=1"), "a; b\"c.csv"),
            (Some("attachment; FileName=\"x.csv\"; filename*=utf-8'en'n%C3%A4me.csv"), "n\u{e4}me.csv"),
            (Some("attachment; filename*=iso-8859-1''x.csv"), "sites 2020.csv"),
            // no ending that is known
            (Some("attachment; filename=export"), "sites 2020.csv"),
        ] {
            assert_eq!(name(disposition, at).as_deref(), Some(expected), "{disposition:?}");
        }
        assert_eq!(name(None, "https://a.example/download?id=7").as_deref(), Some("part.csv.gz"));
        let asked = "https://a.example/download?id=7".parse().unwrap();
        assert_eq!(of(Some("set.csv"), Some("x; filename=y.csv"), &asked, &asked).as_deref(), Some("set.csv"));
    }

    #[test]
    fn a_name_does_not_lead_out_of_its_folder() {
        for sly in [
            "attachment; filename=\"../../etc/cron.d/x.csv\"",
            "attachment; filename=\"..\\\\x.csv\"",
            "attachment; filename=.hidden.csv",
            "attachment; filename*=utf-8''..%2Fx.csv",
            "attachment; filename*=utf-8''x%00.csv",
            "attachment; filename=\"\"",
        ] {
            assert_eq!(name(Some(sly), "https://a.example/good.csv").as_deref(), Some("good.csv"), "{sly}");
        }
        let only = |text: &str| of(None, None, &text.parse().unwrap(), &text.parse().unwrap());
        for sly in ["https://a.example/", "https://a.example/..%2F..%2Fx.csv", "https://a.example/%2e%2e%5cx.csv"] {
            assert_eq!(only(sly), None, "{sly}");
        }
    }
}
