//! The decoder accepts what the encoder writes and refuses every neighbour of it.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::new();
    write(&mut encoder);
    encoder.finish()
}

#[test]
fn integers_at_every_length_border_round_trip() {
    for value in [0, 1, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let bytes = encoded(|e| {
            e.uint(value);
        });
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(decoder.uint(), Ok(value));
        assert_eq!(decoder.finish(), Ok(()));
        let oracle: u64 = ciborium::from_reader(bytes.as_slice()).unwrap();
        assert_eq!(oracle, value);
    }
    for value in [0, -1, -24, -25, -256, -257, i64::MIN, i64::MAX] {
        let bytes = encoded(|e| {
            e.int(value);
        });
        assert_eq!(Decoder::new(&bytes).int(), Ok(value));
        let oracle: i64 = ciborium::from_reader(bytes.as_slice()).unwrap();
        assert_eq!(oracle, value);
    }
}

#[test]
fn the_offset_is_that_of_the_next_item_and_since_yields_what_was_read() {
    let bytes = [0x18, 24, 0x62, b'h', b'i'];
    let mut decoder = Decoder::new(&bytes);
    assert_eq!(decoder.offset(), 0);
    assert_eq!(decoder.uint(), Ok(24));
    assert_eq!(decoder.offset(), 2);
    assert_eq!(decoder.text("text", 2), Ok("hi"));
    assert_eq!(decoder.offset(), 5);
    assert_eq!(decoder.since(2), &bytes[2..5]);
    assert_eq!(decoder.since(6), b"");
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn truth_values_round_trip_and_are_no_integers() {
    for value in [false, true] {
        let bytes = encoded(|e| {
            e.bool(value);
        });
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(decoder.bool(), Ok(value));
        assert_eq!(decoder.finish(), Ok(()));
        let (expected, found) = ("an unsigned integer", "a simple value");
        assert_eq!(
            Decoder::new(&bytes).uint(),
            Err(CborError::Type { offset: 0, expected, found })
        );
    }
    // Null is known and has no place in any of the formats.
    for wrong in [0x01, 0xf6] {
        assert!(matches!(Decoder::new(&[wrong]).bool(), Err(CborError::Type { .. })));
    }
    assert!(matches!(Decoder::new(&[0xf6]).uint(), Err(CborError::Type { .. })));
}

#[test]
fn a_text_at_its_limit_is_read_and_one_byte_more_is_rejected() {
    let bytes = [0x62, b'h', b'i'];
    assert_eq!(Decoder::new(&bytes).text("text", 2), Ok("hi"));
    assert_eq!(Decoder::new(&bytes).text("text", 3), Ok("hi"));
    assert_eq!(
        Decoder::new(&bytes).text("text", 1),
        Err(CborError::Limit { what: "text", offset: 0, limit: 1, found: 2 })
    );
}

#[test]
fn a_wrong_type_is_named() {
    let names = [
        "an unsigned integer",
        "a negative integer",
        "a byte string",
        "a text string",
        "an array",
        "a map",
        "a tag",
    ];
    for (major, found) in (0_u8..).zip(names) {
        let error = Err(CborError::Type { offset: 0, expected: "a truth value", found });
        assert_eq!(Decoder::new(&[major << 5]).bool(), error);
    }
}

#[test]
fn longer_integer_forms_are_rejected() {
    for bytes in [
        &[0x18, 23][..],
        &[0x19, 0, 255],
        &[0x1a, 0, 0, 255, 255],
        &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
    ] {
        assert_eq!(Decoder::new(bytes).uint(), Err(CborError::NotShortest { offset: 0 }));
    }
}

#[test]
fn indefinite_lengths_floats_and_reserved_forms_are_rejected() {
    for initial in [0x1c, 0x1f, 0x5f, 0x7f, 0x9f, 0xbf, 0xf9, 0xfb, 0xff, 0xe0, 0xf3, 0xf7] {
        let bytes = [initial, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Decoder::new(&bytes).uint(), Err(CborError::Form { offset: 0, initial }));
    }
}

#[test]
fn a_length_beyond_the_input_allocates_nothing_and_is_truncated() {
    let bytes = [0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(
        Decoder::new(&bytes).bytes("value", u64::MAX),
        Err(CborError::Truncated { offset: 9 })
    );
    assert!(matches!(
        Decoder::new(&bytes).bytes("value", 10),
        Err(CborError::Limit { limit: 10, .. })
    ));
}

#[test]
fn map_keys_out_of_order_twice_unknown_or_missing_have_errors_of_their_own() {
    let read = |bytes: &[u8]| -> Result<(), CborError> {
        let mut decoder = Decoder::new(bytes);
        let mut map = decoder.map("sample")?;
        map.require(&mut decoder, 1)?;
        decoder.uint()?;
        if map.optional(&mut decoder, 2)? {
            decoder.uint()?;
        }
        map.require(&mut decoder, -1)?;
        decoder.uint()?;
        map.end(&mut decoder)?;
        decoder.finish()
    };
    assert_eq!(read(&[0xa3, 1, 0, 2, 0, 0x20, 0]), Ok(()));
    assert_eq!(read(&[0xa2, 1, 0, 0x20, 0]), Ok(()));
    assert_eq!(read(&[0xa2, 0x20, 0, 1, 0]), Err(CborError::MissingKey { map: "sample", key: 1 }));
    assert!(matches!(
        read(&[0xa3, 1, 0, 1, 0, 0x20, 0]),
        Err(CborError::DuplicateKey { key: 1, .. })
    ));
    assert_eq!(
        read(&[0xa3, 1, 0, 3, 0, 0x20, 0]),
        Err(CborError::UnknownKey { map: "sample", key: 3 })
    );
    assert_eq!(read(&[0xa1, 1, 0]), Err(CborError::MissingKey { map: "sample", key: -1 }));
    assert_eq!(
        read(&[0xa3, 1, 0, 0x20, 0, 0x21, 0]),
        Err(CborError::UnknownKey { map: "sample", key: -2 })
    );
    assert!(matches!(
        read(&[0xa3, 1, 0, 0x20, 0, 0, 0]),
        Err(CborError::KeyOrder { key: 0, previous: -1, .. })
    ));
    assert_eq!(read(&[0xa2, 1, 0, 0x20, 0, 0]), Err(CborError::Trailing { count: 1 }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut decoder = Decoder::new(&bytes);
        let _ = decoder.clone().uint();
        let _ = decoder.clone().int();
        let _ = decoder.clone().bytes("b", 32);
        let _ = decoder.clone().text("t", 32);
        let _ = decoder.clone().array("a", 32);
        let _ = decoder.clone().bool();
        if let Ok(mut map) = decoder.map("m") {
            while map.optional(&mut decoder, 0).is_ok_and(|found| found) {}
        }
    }

    #[test]
    fn strings_agree_with_an_independent_encoder(value in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut oracle = vec![];
        ciborium::into_writer(&ciborium::Value::Bytes(value.clone()), &mut oracle).unwrap();
        prop_assert_eq!(encoded(|e| { e.bytes(&value); }), oracle);
    }
}
