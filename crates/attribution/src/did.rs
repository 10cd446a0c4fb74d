//! A contributor's key as people see it: `did:key` of an Ed25519 public key.
//!
//! `did:key:z` and, in base58btc, the two bytes 0xed 0x01 (multicodec `ed25519-pub` as a varint) before
//! the key's 32 bytes. Other key types, DID URLs with paths or fragments and keys that the signature rule
//! refuses are refused here too, each by name. Source: "The did:key Method", W3C Credentials Community Group.

use thiserror::Error;

use tally_core::ed25519::{Ed25519Error, PublicKey};

/// What every did:key begins with.
const SCHEME: &str = "did:key:";
/// The multibase letter of base58btc.
const BASE58BTC: char = 'z';
/// Multicodec `ed25519-pub`, 0xed as a varint.
const ED25519: [u8; 2] = [0xed, 0x01];
/// Most bytes of a did:key that is decoded at all; one of Ed25519 has 56, one of P-521 some 150.
pub const DID_BYTES_MAX: usize = 256;
/// Other key types by the first two bytes of their multicodec, to tell what was found.
const OTHERS: [([u8; 2], &str); 9] = [
    ([0xe7, 0x01], "secp256k1"),
    ([0xea, 0x01], "BLS12-381 G1"),
    ([0xeb, 0x01], "BLS12-381 G2"),
    ([0xec, 0x01], "X25519"),
    ([0x80, 0x24], "P-256"),
    ([0x81, 0x24], "P-384"),
    ([0x82, 0x24], "P-521"),
    ([0x83, 0x24], "Ed448"),
    ([0x85, 0x24], "RSA"),
];

/// Why a text is no did:key of an Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DidError {
    /// The text is longer than any did:key that is read.
    #[error("did has {found} bytes, limit {limit}", limit = DID_BYTES_MAX)]
    TooLong {
        /// The length found, in bytes.
        found: usize,
    },
    /// It is another kind of identifier.
    #[error("contributor is `{found}`, expected a text that begins with `did:key:z`")]
    Scheme {
        /// The identifier found.
        found: String,
    },
    /// The key is in another base than base58btc.
    #[error("did:key begins with multibase letter {found:?}, expected 'z' of base58btc")]
    Multibase {
        /// The letter found, if there is one.
        found: Option<char>,
    },
    /// A character is not of base58btc.
    #[error("did:key has {found:?} at byte {position}, which is not of base58btc")]
    Character {
        /// The character found.
        found: char,
        /// Its place in the whole text, in bytes.
        position: usize,
    },
    /// It is a key of a known other type.
    #[error("did:key holds a key for {found}, expected Ed25519")]
    OtherKey {
        /// The type found.
        found: &'static str,
    },
    /// It is a key of a type that is not known here.
    #[error("did:key begins with multicodec {found:02x?}, expected [ed, 01] of Ed25519")]
    Multicodec {
        /// The first bytes found, at most two.
        found: Vec<u8>,
    },
    /// The key is not one that signatures are verified under.
    #[error("key of the did: {0}")]
    Key(#[from] Ed25519Error),
}

/// The did:key of an Ed25519 public key; the key is not looked at.
#[must_use]
pub fn to_did(key: &[u8; 32]) -> String {
    let bytes = [&ED25519[..], key].concat();
    format!("{SCHEME}{BASE58BTC}{}", bs58::encode(bytes).into_string())
}

/// The Ed25519 public key of a did:key.
///
/// Every key has exactly one such text, which is that of [`to_did`].
///
/// # Errors
/// If the text is no did:key, or its key is of another type, not canonical, no point or of small order.
pub fn parse_did(text: &str) -> Result<[u8; 32], DidError> {
    if text.len() > DID_BYTES_MAX {
        return Err(DidError::TooLong { found: text.len() });
    }
    let rest = text.strip_prefix(SCHEME).ok_or_else(|| DidError::Scheme { found: text.into() })?;
    let digits = rest
        .strip_prefix(BASE58BTC)
        .ok_or_else(|| DidError::Multibase { found: rest.chars().next() })?;
    let bytes = decode(digits, text.len() - digits.len())?;
    let Some((codec, key)) = bytes.split_first_chunk::<2>() else {
        return Err(DidError::Multicodec { found: bytes });
    };
    if *codec != ED25519 {
        let other = OTHERS.into_iter().find(|(known, _)| known == codec);
        return Err(other.map_or_else(
            || DidError::Multicodec { found: codec.to_vec() },
            |(_, found)| DidError::OtherKey { found },
        ));
    }
    Ok(*PublicKey::from_slice(key)?.as_bytes())
}

/// The bytes of base58btc digits that begin at byte `offset` of the whole text.
fn decode(digits: &str, offset: usize) -> Result<Vec<u8>, DidError> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() && !matches!(c, '0' | 'O' | 'I' | 'l');
    if let Some((at, found)) = digits.char_indices().find(|(_, c)| !is_digit(*c)) {
        return Err(DidError::Character { found, position: offset + at });
    }
    // All digits are of the alphabet, so this does not fail; an empty result is refused by the caller.
    Ok(bs58::decode(digits).into_vec().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the did:key specification and its test vectors (Ed25519), with the keys they encode.
    const VECTORS: [(&str, &str); 3] = [
        (
            "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
            "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
        ),
        (
            "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
            "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6",
        ),
        (
            "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
    ];

    fn did_of(codec: &[u8], key: &[u8]) -> String {
        format!("did:key:z{}", bs58::encode([codec, key].concat()).into_string())
    }

    #[test]
    fn published_keys_have_their_published_names() {
        for (did, key) in VECTORS {
            let parsed = parse_did(did).unwrap();
            assert_eq!(tally_core::Digest::from_bytes(parsed).to_string(), key, "{did}");
            assert_eq!(to_did(&parsed), did);
        }
    }

    #[test]
    fn every_change_of_a_digit_is_another_key_or_refused() {
        let (did, _) = VECTORS[0];
        let key = parse_did(did).unwrap();
        for at in 0..did.len() {
            for digit in ['1', 'z', 'Q', '0', ' ', '#'] {
                let mut changed: Vec<char> = did.chars().collect();
                if changed[at] == digit {
                    continue;
                }
                changed[at] = digit;
                let changed: String = changed.into_iter().collect();
                assert_ne!(parse_did(&changed).ok(), Some(key), "{changed}");
            }
        }
        for longer in [format!("{did}1"), format!("{did}#{did}"), format!(" {did}")] {
            assert!(parse_did(&longer).is_err(), "{longer}");
        }
    }

    #[test]
    fn other_identifiers_are_refused_by_what_they_are() {
        let found = |found: &str| DidError::Scheme { found: found.into() };
        assert_eq!(parse_did(""), Err(found("")));
        assert_eq!(parse_did("did:web:example.org"), Err(found("did:web:example.org")));
        assert_eq!(parse_did("did:key:"), Err(DidError::Multibase { found: None }));
        assert_eq!(parse_did("did:key:u7QE"), Err(DidError::Multibase { found: Some('u') }));
        assert_eq!(parse_did("did:key:z"), Err(DidError::Multicodec { found: vec![] }));
        let zero = DidError::Character { found: '0', position: 11 };
        assert_eq!(parse_did("did:key:z6M0"), Err(zero));
        let limit = format!("did:key:z{}", "1".repeat(DID_BYTES_MAX - 9));
        assert_eq!(parse_did(&limit), Err(DidError::Multicodec { found: vec![0, 0] }));
        let found = DID_BYTES_MAX + 1;
        assert_eq!(parse_did(&format!("{limit}1")), Err(DidError::TooLong { found }));
    }

    #[test]
    fn other_keys_are_refused_by_their_type() {
        let secp256k1 = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
        assert_eq!(parse_did(secp256k1), Err(DidError::OtherKey { found: "secp256k1" }));
        let p256 = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169";
        assert_eq!(parse_did(p256), Err(DidError::OtherKey { found: "P-256" }));
        let unknown = did_of(&[0xfa, 0x7f], &[1; 32]);
        assert_eq!(parse_did(&unknown), Err(DidError::Multicodec { found: vec![0xfa, 0x7f] }));
    }

    #[test]
    fn keys_that_no_signature_is_verified_under_are_refused() {
        for length in [0, 31, 33] {
            let expected = DidError::Key(Ed25519Error::KeyLength { found: length });
            assert_eq!(parse_did(&did_of(&ED25519, &vec![1; length])), Err(expected));
        }
        let mut small = [0; 32];
        small[0] = 1;
        assert_eq!(parse_did(&to_did(&small)), Err(Ed25519Error::KeySmallOrder.into()));
        let refused = parse_did(&to_did(&[0xff; 32]));
        assert_eq!(refused, Err(Ed25519Error::KeyNotCanonical.into()));
    }
}
