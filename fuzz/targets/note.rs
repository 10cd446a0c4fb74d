//! Signed notes, key lines and cosigner answers: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::note::{Note, NoteSignature, VerifierKey};

fuzz_target!(|data: &[u8]| {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.encode().as_bytes(), data);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(signatures) = NoteSignature::parse_lines(text) {
        let lines: String = signatures.iter().map(NoteSignature::encode).collect();
        assert_eq!(lines, text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.encode(), text);
    }
});
