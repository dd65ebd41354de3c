//! Sealed page cursors: nobody but this service can read or change one, and each ends by itself.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// Seals small texts with AES-256-GCM under a random nonce.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// With a key of 32 bytes that all replicas share. `None` when it has another length.
    pub fn new(key: &[u8]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key).ok().map(Self)
    }

    /// With a key of its own: what it seals, only it opens.
    pub fn random() -> Option<Self> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).ok()?;
        Self::new(&key)
    }

    /// Seals `text`, bound to `context` (who may use it, for what), as lower-case hexadecimal.
    pub fn seal(&self, text: &[u8], context: &[u8]) -> Option<String> {
        let mut sealed = text.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(context), &mut sealed).ok()?;
        Some(nonce.as_ref().iter().chain(&sealed).map(|b| format!("{b:02x}")).collect())
    }

    /// Opens what was sealed under the same context.
    pub fn open(&self, sealed: &str, context: &[u8]) -> Option<Vec<u8>> {
        let pairs = sealed.as_bytes().chunks(2);
        let mut bytes: Vec<u8> =
            pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok()).collect::<Option<_>>()?;
        if bytes.len() < NONCE_LEN {
            return None;
        }
        let mut rest = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::from(context), &mut rest).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_context_open_a_seal() {
        let sealer = Sealer::random().unwrap();
        let sealed = sealer.seal(b"here", b"ada").unwrap();
        assert_eq!(sealer.open(&sealed, b"ada").as_deref(), Some(&b"here"[..]));
        assert_eq!(sealer.open(&sealed, b"bob"), None);
        assert_eq!(Sealer::random().unwrap().open(&sealed, b"ada"), None);
        for bad in ["", "zz", "0", &sealed[2..], &format!("{sealed}00"), "é"] {
            assert_eq!(sealer.open(bad, b"ada"), None, "{bad}");
        }
    }
}
