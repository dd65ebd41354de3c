//! Which hospitals are meant: a caller's filters become a report's parameters.

use crate::reports::{Parameter, Report};
use proto::{
    analytics::v1::{ExportHospitalsRequest, ListHospitalsRequest},
    problem,
};
use std::collections::BTreeMap;
use tonic::Status;
use xxhash_rust::xxh3::xxh3_64;

/// Most characters of a part of a name.
const NAME_CHARS: usize = 100;

/// Filters of hospitals, as they were sent.
pub(super) struct Filters<'a> {
    state: &'a str,
    hospital_type: &'a str,
    ownership: &'a str,
    min_rating: i32,
    emergency: Option<bool>,
    name: &'a str,
}

macro_rules! of_request {
    ($request:ident) => {
        impl<'a> From<&'a $request> for Filters<'a> {
            fn from(request: &'a $request) -> Self {
                Self {
                    state: &request.state,
                    hospital_type: &request.r#type,
                    ownership: &request.ownership,
                    min_rating: request.min_rating,
                    emergency: request.emergency_services,
                    name: &request.name_contains,
                }
            }
        }
    };
}
of_request!(ListHospitalsRequest);
of_request!(ExportHospitalsRequest);

impl Filters<'_> {
    /// The parameters of the report that they mean.
    ///
    /// # Errors
    /// INVALID_FILTER, with each field at fault and what it may be.
    pub(super) fn parameters(&self, report: &Report) -> Result<BTreeMap<String, String>, Status> {
        let emergency = self.emergency.map(|with| if with { "yes" } else { "no" });
        let sent = [
            ("state", "state", self.state.to_owned()),
            ("type", "hospital_type", self.hospital_type.to_owned()),
            ("ownership", "ownership", self.ownership.to_owned()),
            ("min_rating", "min_rating", self.min_rating.to_string()),
            ("emergency_services", "emergency", emergency.unwrap_or_default().to_owned()),
        ];
        let (mut given, mut wrong) = (BTreeMap::new(), Vec::new());
        for (field, name, value) in sent.into_iter().filter(|(_, _, value)| !value.is_empty()) {
            let parameter = report.parameters.iter().find(|parameter| parameter.name == name);
            match parameter.map(|parameter| unfit(parameter, &value)) {
                Some(Some(text)) => wrong.push((field.to_owned(), text)),
                _ => drop(given.insert(name.to_owned(), value)),
            }
        }
        match self.name {
            "" => {}
            name if name.chars().count() <= NAME_CHARS && !name.chars().any(|c| c.is_control() || is_hidden(c)) => {
                given.insert("name".to_owned(), pattern(name));
            }
            _ => {
                let text = format!("must be a text of 1 to {NAME_CHARS} characters, all of which can be seen");
                wrong.push(("name_contains".to_owned(), text));
            }
        }
        if wrong.is_empty() { Ok(given) } else { Err(problem::invalid_fields("INVALID_FILTER", &wrong)) }
    }
}

/// What a value must be that the parameter cannot have. `all` is no value: who wants all leaves the filter out.
fn unfit(parameter: &Parameter, value: &str) -> Option<String> {
    let is_left_out = parameter.default.as_deref() == Some("all") && value.eq_ignore_ascii_case("all");
    let fits = parameter.domain.fits(value) && !is_left_out;
    (!fits).then(|| match is_left_out {
        true => "leave it out for all".to_owned(),
        false => format!("must be {}", parameter.domain.to_string().trim_end_matches(", or all")),
    })
}

/// Shows nothing, or turns what is around it: no hospital's name has it, and who copied it does not see why nothing is found.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A pattern of SQL's for all that has this text in it, whatever characters that has.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

/// A digest of parameters: a page token is of those that its page was asked with.
pub(super) fn digest(given: &BTreeMap<String, String>) -> u64 {
    // no value has a control character
    let text: String = given.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    xxh3_64(text.as_bytes())
}
