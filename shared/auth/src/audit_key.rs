//! The key that signs the audit log's checkpoints, and how whoever has its public half checks them.

use crate::{Error, key_file};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use std::path::Path;

/// The Ed25519 key (RFC 8032) that signs the audit log's checkpoints.
pub struct AuditKey {
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl AuditKey {
    /// The key in a file (PKCS#8, readable by its owner only), made there when there is none.
    ///
    /// Of several that make it at once all get the same. [`Error::Key`] when the file holds something else.
    pub fn open_or_create(path: &Path) -> Result<Self, Error> {
        let unusable = |what: &str| Error::Key { name: path.display().to_string(), what: what.to_owned() };
        let pkcs8 = key_file::ed25519(path)?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| unusable("not an Ed25519 key in PKCS#8"))?;
        let public_key =
            pair.public_key().as_ref().try_into().map_err(|_| unusable("its public half is not 32 bytes"))?;
        Ok(Self { pair, public_key })
    }

    /// Signs bytes: an Ed25519 signature (RFC 8032).
    pub fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], Error> {
        let failed = || Error::Key { name: "of the audit log".to_owned(), what: "it does not sign".to_owned() };
        let signature = self.pair.try_sign(bytes).map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }

    /// The public half: what [`verify`] needs.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// Names the key: the first 8 bytes of the public half's SHA-256.
    pub fn key_id(&self) -> [u8; 8] {
        key_id(&self.public_key)
    }
}

/// Names a key by its public half.
pub fn key_id(public_key: &[u8; 32]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&digest(&SHA256, public_key).as_ref()[..8]);
    id
}

/// Whether `signature` is that of `bytes` under `public_key`.
pub fn verify(public_key: &[u8; 32], bytes: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt, thread};

    #[test]
    fn the_key_stays_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/audit.pk8");
        let made: Vec<_> = thread::scope(|scope| {
            let open = || scope.spawn(|| AuditKey::open_or_create(&path).unwrap().public_key());
            let threads: Vec<_> = (0..8).map(|_| open()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| *key == made[0]), "made once");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing left behind");

        fs::write(&path, "not a key").unwrap();
        assert!(matches!(AuditKey::open_or_create(&path), Err(Error::Key { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"not a key", "it is not made anew");
        assert!(matches!(AuditKey::open_or_create(dir.path()), Err(Error::File { .. })));
    }

    #[test]
    fn only_the_same_bytes_and_key_verify() {
        let dir = tempfile::tempdir().unwrap();
        let key = |name: &str| AuditKey::open_or_create(&dir.path().join(name)).unwrap();
        let (ours, other) = (key("ours"), key("other"));
        let signature = ours.sign(b"checkpoint").unwrap();
        assert!(verify(&ours.public_key(), b"checkpoint", &signature));
        assert!(!verify(&ours.public_key(), b"checkpoinT", &signature));
        assert!(!verify(&other.public_key(), b"checkpoint", &signature));
        for bit in 0..512 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&ours.public_key(), b"checkpoint", &changed), "bit {bit}");
        }
        assert_eq!(key("ours").sign(b"checkpoint").unwrap(), signature, "opened again");
        assert_ne!(ours.key_id(), other.key_id());
    }

    /// RFC 8032, section 7.1, test 2; the id by `sha256sum`.
    #[test]
    fn the_standards_example_verifies() {
        let public_key = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert!(verify(&public_key, &[0x72], &signature));
        assert!(!verify(&public_key, &[0x73], &signature));
        assert_eq!(key_id(&public_key), bytes("39f713d0a644253f"));
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
    }
}
