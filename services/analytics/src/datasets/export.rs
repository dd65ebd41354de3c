//! Cells on their way out: what a spreadsheet would take for a formula is made text.

use std::borrow::Cow;

/// A cell of a CSV file. Text that begins like a formula (`=`, `+`, `-`, `@`, a tab, a line end) gets an apostrophe before it, as
/// OWASP advises; numbers stay as they are. What holds a comma, a quote or a line end is quoted.
#[must_use]
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && text.parse::<f64>().is_err();
    let quoted = text.contains([',', '"', '\n', '\r']);
    if !formula && !quoted {
        return text.into();
    }
    let mark = if formula { "'" } else { "" };
    if quoted { format!("\"{mark}{}\"", text.replace('"', "\"\"")).into() } else { format!("{mark}{text}").into() }
}
