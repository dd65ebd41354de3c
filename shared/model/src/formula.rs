//! What a spreadsheet takes for a formula in a CSV file: one rule for all that write such files, and for what reads them again.

/// Whether a cell with this text is one: by how it begins, as OWASP lists it ("CSV Injection"), in full width, too.
pub fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_a_formula_in_either_width_and_only_at_the_begin() {
        for formula in ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x"] {
            assert!(is_formula(formula), "{formula:?}");
        }
        assert!(!is_formula("") && !is_formula("A=1") && !is_formula("'=1"));
    }
}
