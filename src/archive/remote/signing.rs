//! What requests are signed with: the hashes that this crate has anyway, and no second library.

use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use sha2::{Digest as _, Sha256};

/// SHA-256, alone and with a key: Signature Version 4 needs nothing else.
#[derive(Debug)]
pub(super) struct Signing;

impl CryptoProvider for Signing {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Digesting::default())),
            other => Err(unknown(format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(secret)
                    .map_err(|error| unknown(error.to_string()))?;
                Ok(Box::new(Keyed { mac, done: [0; 32] }))
            }
            other => Err(unknown(format!("{other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        Err(unknown(format!("{algorithm:?}")))
    }
}

fn unknown(what: String) -> Error {
    Error::NotSupported { source: what.into() }
}

#[derive(Default)]
struct Digesting {
    hasher: Sha256,
    done: [u8; 32],
}

impl DigestContext for Digesting {
    fn update(&mut self, data: &[u8]) {
        self.hasher.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.done = self.hasher.finalize_reset().into();
        Ok(&self.done)
    }
}

struct Keyed {
    mac: Hmac<Sha256>,
    done: [u8; 32],
}

impl HmacContext for Keyed {
    fn update(&mut self, data: &[u8]) {
        self.mac.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.done = self.mac.clone().finalize().into_bytes().into();
        Ok(&self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// FIPS 180-2, and test cases 1 and 2 of RFC 4231.
    #[test]
    fn hashes_are_those_of_the_standards() {
        let mut digest = Signing.digest(DigestAlgorithm::Sha256).unwrap();
        digest.update(b"a");
        digest.update(b"bc");
        assert_eq!(
            hex(digest.finish().unwrap()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        for (key, data, expected) in [
            (
                &[0x0b; 20][..],
                "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ] {
            let mut mac = Signing.hmac(DigestAlgorithm::Sha256, key).unwrap();
            mac.update(data.as_bytes());
            assert_eq!(hex(mac.finish().unwrap()), expected);
        }
    }
}
