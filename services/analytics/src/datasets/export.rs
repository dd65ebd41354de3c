//! Cells on their way out: what a spreadsheet would take for a formula is made text.

use model::is_formula;
use std::borrow::Cow;

/// A cell of a CSV file. Text that begins like a formula ([`is_formula`]) gets an apostrophe before it, as OWASP
/// advises; numbers stay as they are. What holds a comma, a quote or a line end is quoted.
#[must_use]
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let formula = is_formula(text) && text.parse::<f64>().is_err();
    let quoted = text.contains([',', '"', '\n', '\r']);
    if !formula && !quoted {
        return text.into();
    }
    let mark = if formula { "'" } else { "" };
    if quoted { format!("\"{mark}{}\"", text.replace('"', "\"\"")).into() } else { format!("{mark}{text}").into() }
}
