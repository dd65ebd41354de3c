//! Claim codes, which an integrator carries to a device, and refresh tokens, which the device keeps.

use rand::Rng;

/// Crockford's digits: none of them looks like another.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Four groups of five: 100 bits.
const GROUPS: usize = 4;

/// A new code, such as `7K2MZ-...`.
pub(crate) fn new() -> String {
    let mut random = rand::rng();
    let group = |_| (0..5).map(|_| char::from(DIGITS[random.random_range(0..DIGITS.len())])).collect::<String>();
    (0..GROUPS).map(group).collect::<Vec<_>>().join("-")
}

/// A new refresh token: 256 bits in hexadecimal digits.
pub(crate) fn refresh_token() -> String {
    rand::rng().random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The code that somebody meant: case, hyphens and spaces do not matter, nor do digits that look alike.
pub(crate) fn plain(text: &str) -> String {
    let digit = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_are_read_as_people_write_them() {
        let (one, other) = (new(), new());
        assert_ne!(one, other);
        assert_eq!(one.len(), 23);
        assert_eq!(plain(&one), plain(&one.to_lowercase().replace('-', " ")));
        assert_eq!(plain("oOiIlL"), "001111");
    }
}
