//! Timestamped Ed25519 cosignatures (c2sp.org/tlog-cosignature, `cosignature/v1`, type `0x04`).
//!
//! A cosignature says: at this time, the largest consistent tree that this cosigner has seen for
//! the origin has this size and root. Whether that suffices is for a policy to judge.

use alloc::{format, vec::Vec};
use core::fmt;

use crate::{
    checkpoint::Checkpoint,
    ed25519::{self, Ed25519Error, Signature, SigningKey},
    note::{KeyId, KeyName, Note, NoteError, NoteSignature, SignatureType, VerifierKey},
};

/// Size of a cosignature's bytes: u64 big-endian timestamp, then the signature.
pub const COSIGNATURE_SIZE_BYTES: usize = 72;

/// When a cosignature was made: whole seconds since 1970-01-01 UTC, at most 2⁶³ − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest timestamp.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned());

    /// Takes seconds since 1970.
    ///
    /// # Errors
    /// [`NoteError::Timestamp`] above 2⁶³ − 1.
    pub const fn new(seconds: u64) -> Result<Self, NoteError> {
        if seconds > Self::MAX.0 {
            return Err(NoteError::Timestamp { found: seconds });
        }
        Ok(Self(seconds))
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes that a cosigner signs: two header lines, then the checkpoint's note text.
#[must_use]
pub fn message(time: Timestamp, note_text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{note_text}").into_bytes()
}

/// Cosigns a checkpoint. The caller has verified that it extends all it cosigned before.
#[must_use]
pub fn cosign(
    checkpoint: &Checkpoint,
    time: Timestamp,
    name: &KeyName,
    key: &SigningKey,
) -> NoteSignature {
    let signature = key.sign(&message(time, &checkpoint.encode()));
    let mut bytes = Vec::from(time.0.to_be_bytes());
    bytes.extend_from_slice(signature.as_bytes());
    let key_id = KeyId::derive(name, SignatureType::CosignatureV1, &key.public_key());
    NoteSignature { name: name.clone(), key_id, bytes }
}

/// Verifies that a key of type `0x04` cosigned the note, exactly once, and says when.
///
/// # Errors
/// If it did not, did so twice, or its cosignature is refused.
pub fn verify(note: &Note, key: &VerifierKey) -> Result<Timestamp, NoteError> {
    let line = note.line_by(key, SignatureType::CosignatureV1)?;
    let refused = |cause| NoteError::Signature { key_id: key.id(), cause };
    let Some((time, signature)) = line.bytes.split_first_chunk::<8>() else {
        return Err(refused(Ed25519Error::SignatureLength { found: 0 }));
    };
    let time = Timestamp::new(u64::from_be_bytes(*time))?;
    let signature = Signature::from_slice(signature).map_err(refused)?;
    ed25519::verify(key.key(), &message(time, note.text()), &signature).map_err(refused)?;
    Ok(time)
}

#[cfg(test)]
#[expect(clippy::integer_division, reason = "a test counts bits and bytes")]
mod tests {
    use super::*;
    use crate::{
        Digest,
        checkpoint::{Origin, SignedCheckpoint},
        tree::TreeSize,
    };

    fn fixture() -> (SignedCheckpoint, SigningKey, KeyName) {
        let name = KeyName::parse("log.example/one").unwrap();
        let log = SigningKey::from_seed(&[1; 32]);
        let checkpoint = Checkpoint::new(
            Origin::from(&name),
            TreeSize::new(7).unwrap(),
            Digest::of_content(b"root"),
        );
        let signed = SignedCheckpoint::sign(checkpoint, &name, &log).unwrap();
        (signed, SigningKey::from_seed(&[2; 32]), KeyName::parse("cosigner.example").unwrap())
    }

    fn verifier(name: &KeyName, key: &SigningKey) -> VerifierKey {
        VerifierKey::new(name.clone(), SignatureType::CosignatureV1, key.public_key())
    }

    #[test]
    fn the_signed_message_is_that_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\n\
                    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
                        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(message(Timestamp(1_679_315_147), text), expected.as_bytes());
    }

    #[test]
    fn a_cosignature_verifies_and_tells_its_time() {
        let (mut signed, key, name) = fixture();
        for time in [0, 1, Timestamp::MAX.seconds()] {
            let (mut once, time) = (signed.clone(), Timestamp::new(time).unwrap());
            once.push(cosign(once.checkpoint(), time, &name, &key)).unwrap();
            let again = SignedCheckpoint::parse(once.encode().as_bytes()).unwrap();
            assert_eq!(verify(again.note(), &verifier(&name, &key)), Ok(time));
        }
        let line = cosign(signed.checkpoint(), Timestamp(5), &name, &key);
        assert_eq!(line.bytes.len(), COSIGNATURE_SIZE_BYTES);
        signed.push(line.clone()).unwrap();
        assert!(matches!(signed.push(line), Err(NoteError::SignedTwice { .. })));
    }

    #[test]
    fn every_flipped_bit_of_a_cosignature_is_refused() {
        let (signed, key, name) = fixture();
        let line = cosign(signed.checkpoint(), Timestamp(1_000), &name, &key);
        for bit in 0..COSIGNATURE_SIZE_BYTES * 8 {
            let (mut bad, mut note) = (line.clone(), signed.clone());
            bad.bytes[bit / 8] ^= 1 << (bit % 8);
            note.push(bad).unwrap();
            assert!(verify(note.note(), &verifier(&name, &key)).is_err(), "bit {bit}");
        }
        for len in [1, 7, 8, 71, 73] {
            let (mut bad, mut note) = (line.clone(), signed.clone());
            bad.bytes.resize(len, 0);
            note.push(bad).unwrap();
            assert!(verify(note.note(), &verifier(&name, &key)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_log_signature_is_no_cosignature_and_the_reverse() {
        let (mut signed, key, name) = fixture();
        let as_log = VerifierKey::new(name.clone(), SignatureType::Ed25519, key.public_key());
        assert!(matches!(verify(signed.note(), &as_log), Err(NoteError::KeyType { .. })));
        assert!(matches!(
            verify(signed.note(), &verifier(&name, &key)),
            Err(NoteError::Unsigned { .. })
        ));
        signed.push(cosign(signed.checkpoint(), Timestamp(1), &name, &key)).unwrap();
        assert!(matches!(signed.note().verify(&as_log), Err(NoteError::Unsigned { .. })));
    }

    #[test]
    fn a_timestamp_above_the_limit_is_refused() {
        assert!(Timestamp::new(1 << 63).is_err());
        assert_eq!(Timestamp::new((1 << 63) - 1).map(Timestamp::seconds), Ok((1 << 63) - 1));
        assert_eq!(Timestamp::new(7).map(Timestamp::seconds), Ok(7));
    }
}
