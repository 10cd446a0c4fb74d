//! The CBOR decoder reads items as a script asks; whatever it accepts, the encoder writes again
//! byte for byte, and an independent decoder reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::{CborError, Decoder, Encoder};

/// Items read of one input.
const ITEMS_MAX: usize = 256;

fuzz_target!(|data: &[u8]| {
    let Some((script, input)) = data.split_at_checked(16) else { return };
    let mut decoder = Decoder::new(input);
    for step in script.iter().cycle().take(ITEMS_MAX) {
        let start = decoder.offset();
        let mut encoder = Encoder::new();
        if read(&mut decoder, *step, &mut encoder).is_err() {
            break;
        }
        let consumed = decoder.since(start);
        assert_eq!(encoder.finish(), consumed, "an item has two encodings");
        if step % 8 < 4 {
            ciborium::from_reader::<ciborium::Value, _>(consumed).expect("valid CBOR");
        }
    }
});

/// Reads the item that `step` asks for and writes it again.
fn read(decoder: &mut Decoder<'_>, step: u8, encoder: &mut Encoder) -> Result<(), CborError> {
    let limit = u64::from(step) * 16;
    match step % 8 {
        0 => encoder.uint(decoder.uint_up_to("number", u64::MAX >> (step % 64))?),
        1 => encoder.int(decoder.int()?),
        2 => encoder.bytes(decoder.bytes("bytes", limit)?),
        3 => encoder.text(decoder.text("text", limit)?),
        4 => encoder.array(usize::try_from(decoder.array("array", limit)?).expect("below limit")),
        5 => encoder.bool(decoder.bool()?),
        6 => return read_map(decoder, encoder),
        _ => {
            decoder.tag(u64::from(step))?;
            encoder.tag(u64::from(step))
        }
    };
    Ok(())
}

/// A map of small keys to numbers, read as the closed formats read theirs.
fn read_map(decoder: &mut Decoder<'_>, encoder: &mut Encoder) -> Result<(), CborError> {
    let mut map = decoder.map("map")?;
    let mut pairs = Vec::new();
    for key in (0..24).chain([-1, -2]) {
        if map.optional(decoder, key)? {
            pairs.push((key, decoder.uint()?));
        }
    }
    map.end(decoder)?;
    encoder.map(pairs.len());
    for (key, value) in pairs {
        encoder.key(key).uint(value);
    }
    Ok(())
}
