//! Signed notes (c2sp.org/signed-note): text, a blank line, signature lines.
//!
//! The parser is strict about form and knows nothing of trust: signatures by unknown keys are kept
//! and ignored, as the specification demands. A note's text means nothing before
//! [`Note::verify`] (or [`crate::cosignature::verify`]) has succeeded with a trusted key.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use base64ct::{Base64, Encoding};
use thiserror::Error;

use crate::{
    Hasher,
    ed25519::{self, Ed25519Error, PublicKey, Signature, SigningKey},
};

#[cfg(test)]
mod tests;

/// Largest note that is read: room for [`SIGNATURE_COUNT_MAX`] ML-DSA-44 cosignatures.
pub const NOTE_SIZE_BYTES_MAX: usize = 262_144;

/// Most signature lines of a note; the specification demands that 16 be accepted.
pub const SIGNATURE_COUNT_MAX: usize = 64;

/// Longest key name, as in the ML-DSA-44 form of tlog-cosignature.
pub const KEY_NAME_SIZE_BYTES_MAX: usize = 255;

const DASH: &str = "\u{2014} ";

/// Why bytes are not a note, or a note is not signed as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note is above the size limit.
    #[error("note has {found} bytes, the limit is {NOTE_SIZE_BYTES_MAX}")]
    Size {
        /// Its size.
        found: usize,
    },
    /// The note is not UTF-8.
    #[error("note is not UTF-8 from byte {offset} on")]
    Utf8 {
        /// Offset of the first wrong byte.
        offset: usize,
    },
    /// The note holds a control character other than newline.
    #[error("note holds control character {found:#04x} at byte {offset}")]
    ControlCharacter {
        /// Offset of the character.
        offset: usize,
        /// The character.
        found: u8,
    },
    /// The text is empty or does not end in a newline.
    #[error("note text does not end in a newline")]
    TextEnd,
    /// No blank line divides text and signatures.
    #[error("note has no blank line before its signatures")]
    NoBlankLine,
    /// The note has no signature line.
    #[error("note has no signature line")]
    NoSignature,
    /// The last signature line lacks its newline.
    #[error("note does not end in a newline")]
    End,
    /// Too many signature lines.
    #[error("note has more than {SIGNATURE_COUNT_MAX} signature lines")]
    SignatureCount,
    /// A signature line has not the form dash, space, name, space, base64.
    #[error("signature line {line} has not the form dash, key name, base64")]
    SignatureLine {
        /// 0-based number of the line among the signature lines.
        line: usize,
    },
    /// A signature line's base64 is not canonical, or it decodes to fewer than five bytes.
    #[error("signature line {line} holds no canonical base64 of a key id and a signature")]
    SignatureBase64 {
        /// 0-based number of the line among the signature lines.
        line: usize,
    },
    /// A key name is empty, too long, or holds a space, a plus or a control character.
    #[error("key name is empty, above {KEY_NAME_SIZE_BYTES_MAX} bytes, or holds space or plus")]
    KeyName,
    /// A verifier key has not the form name, plus, key id, plus, base64.
    #[error("verifier key has not the form name+id+base64")]
    VerifierKey,
    /// A verifier key states another id than its name and key yield.
    #[error("verifier key states id {stated}, its name and key yield {computed}")]
    VerifierKeyId {
        /// The id that it states.
        stated: KeyId,
        /// The id that its parts yield.
        computed: KeyId,
    },
    /// A signature type that this version does not know.
    #[error("signature type {found:#04x} is not known")]
    SignatureType {
        /// The type byte.
        found: u8,
    },
    /// The key is of another signature type than the use demands.
    #[error("key is of signature type {found}, expected {expected}")]
    KeyType {
        /// The type that the use demands.
        expected: SignatureType,
        /// The key's type.
        found: SignatureType,
    },
    /// The note holds no signature by the key.
    #[error("note holds no signature by key id {key_id} of the expected name")]
    Unsigned {
        /// The key's id.
        key_id: KeyId,
    },
    /// The note holds two signatures by one key.
    #[error("note holds more than one signature by key id {key_id}")]
    SignedTwice {
        /// The key's id.
        key_id: KeyId,
    },
    /// The signature or the key is refused.
    #[error("signature by key id {key_id}: {cause}")]
    Signature {
        /// The key's id.
        key_id: KeyId,
        /// Why.
        cause: Ed25519Error,
    },
    /// A timestamp above 2⁶³ − 1.
    #[error("timestamp {found} is above the limit of 2^63 - 1")]
    Timestamp {
        /// The timestamp found.
        found: u64,
    },
}

/// A key's name: non-empty, without Unicode spaces, plus or control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`NoteError::KeyName`] if it is not one.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let legal = |c: char| !c.is_whitespace() && c != '+' && !is_forbidden(c);
        if text.is_empty() || text.len() > KEY_NAME_SIZE_BYTES_MAX || !text.chars().all(legal) {
            return Err(NoteError::KeyName);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of signature a key makes: the type byte of c2sp.org/signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureType {
    /// `0x01`: Ed25519 over the note text.
    Ed25519,
    /// `0x04`: timestamped Ed25519 cosignature, c2sp.org/tlog-cosignature.
    CosignatureV1,
}

impl SignatureType {
    /// The type byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, NoteError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            found => Err(NoteError::SignatureType { found }),
        }
    }
}

impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.byte())
    }
}

/// A key's short identifier: an address, not a cryptographic hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// The first four bytes of SHA-256(name ‖ newline ‖ type byte ‖ public key).
    #[must_use]
    pub fn derive(name: &KeyName, kind: SignatureType, key: &PublicKey) -> Self {
        let mut hasher = Hasher::plain();
        hasher.update(name.as_str().as_bytes());
        hasher.update(&[b'\n', kind.byte()]);
        hasher.update(key.as_bytes());
        let digest = hasher.finish();
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self([a, b, c, d])
    }

    /// Takes four bytes as an identifier.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The identifier's four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// A name, a signature type and a public key: who is trusted for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    kind: SignatureType,
    key: PublicKey,
    id: KeyId,
}

impl VerifierKey {
    /// Puts the parts together.
    #[must_use]
    pub fn new(name: KeyName, kind: SignatureType, key: PublicKey) -> Self {
        let id = KeyId::derive(&name, kind, &key);
        Self { name, kind, key, id }
    }

    /// Parses `name+id+base64(type ‖ key)`, with the id in 8 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// If the form is another, the type is unknown, the key is refused, or the id is not its own.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.split_once('+').ok_or(NoteError::VerifierKey)?;
        let (id, key) = rest.split_once('+').ok_or(NoteError::VerifierKey)?;
        let name = KeyName::parse(name)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.len() != 8 || !id.bytes().all(is_hex) {
            return Err(NoteError::VerifierKey);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| NoteError::VerifierKey)?;
        let stated = KeyId(id.to_be_bytes());
        let key = Base64::decode_vec(key).map_err(|_| NoteError::VerifierKey)?;
        let (kind, key) = key.split_first().ok_or(NoteError::VerifierKey)?;
        let kind = SignatureType::from_byte(*kind)?;
        let key = PublicKey::from_slice(key)
            .map_err(|cause| NoteError::Signature { key_id: stated, cause })?;
        let parsed = Self::new(name, kind, key);
        if parsed.id != stated {
            return Err(NoteError::VerifierKeyId { stated, computed: parsed.id });
        }
        Ok(parsed)
    }

    /// The text that [`VerifierKey::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::from([self.kind.byte()]);
        bytes.extend_from_slice(self.key.as_bytes());
        format!("{}+{}+{}", self.name, self.id, Base64::encode_string(&bytes))
    }

    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's signature type.
    #[must_use]
    pub const fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key's identifier.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

/// One signature line, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: KeyName,
    /// Identifier of the key.
    pub key_id: KeyId,
    /// The signature's bytes, whose form is the key's business; never empty.
    pub bytes: Vec<u8>,
}

impl NoteSignature {
    /// Parses the line, without its newline; `line` only numbers it in errors.
    fn parse(text: &str, line: usize) -> Result<Self, NoteError> {
        let text = text.strip_prefix(DASH).ok_or(NoteError::SignatureLine { line })?;
        let (name, base64) = text.split_once(' ').ok_or(NoteError::SignatureLine { line })?;
        let name = KeyName::parse(name)?;
        let bytes = Base64::decode_vec(base64).map_err(|_| NoteError::SignatureBase64 { line })?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, rest)) if !rest.is_empty() => {
                Ok(Self { name, key_id: KeyId(*key_id), bytes: rest.into() })
            }
            _ => Err(NoteError::SignatureBase64 { line }),
        }
    }

    /// Parses one or more signature lines, each ended by a newline, as a cosigner answers them.
    ///
    /// # Errors
    /// If there is none, or one has another form.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, NoteError> {
        if text.is_empty() {
            return Err(NoteError::NoSignature);
        }
        let lines = text.strip_suffix('\n').ok_or(NoteError::End)?;
        if lines.split('\n').count() > SIGNATURE_COUNT_MAX {
            return Err(NoteError::SignatureCount);
        }
        lines.split('\n').enumerate().map(|(line, text)| Self::parse(text, line)).collect()
    }

    fn is_by(&self, name: &KeyName, key_id: KeyId) -> bool {
        self.name == *name && self.key_id == key_id
    }

    /// The line with its newline.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::from(*self.key_id.as_bytes());
        bytes.extend_from_slice(&self.bytes);
        format!("{DASH}{} {}\n", self.name, Base64::encode_string(&bytes))
    }
}

/// A text and the signature lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note that nobody has signed yet.
    ///
    /// # Errors
    /// If the text is empty, does not end in a newline, is too long, or holds a control character.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        forbid_control_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::TextEnd);
        }
        if text.len() > NOTE_SIZE_BYTES_MAX {
            return Err(NoteError::Size { found: text.len() });
        }
        Ok(Self { text: text.into(), signatures: Vec::new() })
    }

    /// Parses a note with at least one signature line.
    ///
    /// # Errors
    /// The first deviation from the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_SIZE_BYTES_MAX {
            return Err(NoteError::Size { found: bytes.len() });
        }
        let whole = core::str::from_utf8(bytes)
            .map_err(|error| NoteError::Utf8 { offset: error.valid_up_to() })?;
        forbid_control_characters(whole)?;
        let (text, signatures) = whole.rsplit_once("\n\n").ok_or(NoteError::NoBlankLine)?;
        let signatures = NoteSignature::parse_lines(signatures)?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The bytes that [`Note::parse`] reads, once there is a signature.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = format!("{}\n", self.text);
        for signature in &self.signatures {
            out.push_str(&signature.encode());
        }
        out
    }

    /// The text, its last newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in the order of the note.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Appends a signature line.
    ///
    /// # Errors
    /// If the key has signed already or there are too many lines.
    pub fn push(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.len() >= SIGNATURE_COUNT_MAX {
            return Err(NoteError::SignatureCount);
        }
        if self.signatures.iter().any(|line| line.is_by(&signature.name, signature.key_id)) {
            return Err(NoteError::SignedTwice { key_id: signature.key_id });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Signs the text with a key of type `0x01` and appends the line.
    ///
    /// # Errors
    /// As [`Note::push`].
    pub fn sign(&mut self, name: &KeyName, key: &SigningKey) -> Result<(), NoteError> {
        let key_id = KeyId::derive(name, SignatureType::Ed25519, &key.public_key());
        let signature = key.sign(self.text.as_bytes());
        self.push(NoteSignature {
            name: name.clone(),
            key_id,
            bytes: signature.as_bytes().as_slice().into(),
        })
    }

    /// Verifies that a key of type `0x01` signed the text, exactly once.
    ///
    /// # Errors
    /// If it did not, did so twice, or its signature is refused.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let line = self.line_by(key, SignatureType::Ed25519)?;
        Signature::from_slice(&line.bytes)
            .and_then(|signature| ed25519::verify(&key.key, self.text.as_bytes(), &signature))
            .map_err(|cause| NoteError::Signature { key_id: key.id, cause })
    }

    /// The one line by `key`, which must be of type `expected`; its signature is not verified.
    ///
    /// # Errors
    /// If the key is of another type, or there is not exactly one line by it.
    pub fn line_by(
        &self,
        key: &VerifierKey,
        expected: SignatureType,
    ) -> Result<&NoteSignature, NoteError> {
        if key.kind != expected {
            return Err(NoteError::KeyType { expected, found: key.kind });
        }
        let mut lines = self.signatures.iter().filter(|line| line.is_by(&key.name, key.id));
        let line = lines.next().ok_or(NoteError::Unsigned { key_id: key.id })?;
        if lines.next().is_some() {
            return Err(NoteError::SignedTwice { key_id: key.id });
        }
        Ok(line)
    }
}

fn is_forbidden(c: char) -> bool {
    c < ' ' && c != '\n'
}

fn forbid_control_characters(text: &str) -> Result<(), NoteError> {
    match text.bytes().enumerate().find(|(_, byte)| is_forbidden(char::from(*byte))) {
        Some((offset, found)) => Err(NoteError::ControlCharacter { offset, found }),
        None => Ok(()),
    }
}
