//! Encrypted page cursors: nobody but this service can read or change one, and each ends by itself.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// Encrypts small texts by AES-256-GCM under a random nonce.
pub struct CursorCipher(RandomizedNonceKey);

impl CursorCipher {
    /// With a key of 32 bytes that all replicas share. `None` when it has another length.
    pub fn new(key: &[u8]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key).ok().map(Self)
    }

    /// With a key of its own: what it encrypts, only it decrypts.
    pub fn random() -> Option<Self> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).ok()?;
        Self::new(&key)
    }

    /// Encrypts `text`, bound to `context` (who may use it, for what), as lower-case hexadecimal.
    pub fn encrypt(&self, text: &[u8], context: &[u8]) -> Option<String> {
        let mut encrypted = text.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(context), &mut encrypted).ok()?;
        Some(nonce.as_ref().iter().chain(&encrypted).map(|b| format!("{b:02x}")).collect())
    }

    /// Decrypts what was encrypted under the same context.
    pub fn decrypt(&self, encrypted: &str, context: &[u8]) -> Option<Vec<u8>> {
        let pairs = encrypted.as_bytes().chunks(2);
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
    fn only_the_same_key_and_context_decrypt_a_text() {
        let cipher = CursorCipher::random().unwrap();
        let encrypted = cipher.encrypt(b"here", b"ada").unwrap();
        assert_eq!(cipher.decrypt(&encrypted, b"ada").as_deref(), Some(&b"here"[..]));
        assert_eq!(cipher.decrypt(&encrypted, b"bob"), None);
        assert_eq!(CursorCipher::random().unwrap().decrypt(&encrypted, b"ada"), None);
        for bad in ["", "zz", "0", &encrypted[2..], &format!("{encrypted}00"), "é"] {
            assert_eq!(cipher.decrypt(bad, b"ada"), None, "{bad}");
        }
    }
}
