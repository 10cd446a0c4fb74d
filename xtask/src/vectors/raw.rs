//! Bytes that no encoder of ours writes: edits of encoded receipts, for reject vectors alone.

use tally_core::cbor::{Cbor as _, Encoder};
use tally_core::commitment::{Field, Opening};
use tally_core::receipt::{Bundle, Evidence};

use super::scenario::Scenario;

/// Replaces the one place where `from` stands.
pub(super) fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut places = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
    let (place, _) = places.next().expect("the bytes to be replaced are there");
    assert!(places.next().is_none(), "the bytes to be replaced stand there twice");
    [&bytes[..place], to, &bytes[place + from.len()..]].concat()
}

/// Flips the lowest bit of the last byte of the one place where `field` stands.
pub(super) fn flip(bytes: &[u8], field: &[u8]) -> Vec<u8> {
    let mut flipped = field.to_vec();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    replace(bytes, field, &flipped)
}

/// The bundle around other payload bytes, which are signed.
pub(super) fn with_payload(scenario: &Scenario, edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let payload = edit(&scenario.statement.encode());
    let signed = scenario.sign(scenario.header().encode(), payload);
    scenario.bundle_of(signed).encode()
}

/// The bundle around other header bytes, which are signed.
pub(super) fn with_header(scenario: &Scenario, edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let header = edit(&scenario.header().encode());
    let signed = scenario.sign(header, scenario.statement.encode());
    scenario.bundle_of(signed).encode()
}

/// The bundle with its signed statement's encoding changed after signing.
pub(super) fn with_envelope(scenario: &Scenario, edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Bundle { statement, evidence, openings } = scenario.bundle();
    let openings: Vec<_> = openings.iter().collect();
    bundle(&edit(&statement.encode()), &evidence, &openings)
}

/// A bundle with the openings in any order.
pub(super) fn bundle(
    envelope: &[u8],
    evidence: &[Evidence],
    openings: &[(&Field, &Opening)],
) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.tag(0x5441_4c59).map(4).key(1).uint(1).key(2).bytes(envelope);
    encoder.key(3).array(evidence.len());
    for item in evidence {
        encoder.raw(&item.encode());
    }
    encoder.key(4).map(openings.len());
    for (field, opening) in openings {
        encoder.key(field.code().into()).array(2);
        encoder.bytes(opening.salt.as_bytes()).bytes(&opening.value);
    }
    encoder.finish()
}

/// A map with `change` added to the count in its head, which is below 23, and bytes at its end.
pub(super) fn recount(map: &[u8], change: i8, tail: &[u8]) -> Vec<u8> {
    let mut bytes = map.to_vec();
    bytes[0] = bytes[0].checked_add_signed(change).expect("the maps of the vectors are small");
    bytes.extend_from_slice(tail);
    bytes
}

/// Key and value as they stand in a map.
pub(super) fn pair(key: i64, value: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::new();
    value(encoder.key(key));
    encoder.finish()
}

/// The other form of a signature: S plus the order of the group.
pub(super) fn second_form(signature: [u8; 64]) -> [u8; 64] {
    // The group's order, little-endian (RFC 8032 §5.1).
    const ORDER_HIGH: u8 = 0x10;
    const ORDER_LOW: [u8; 16] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14,
    ];
    let mut order = [0; 32];
    order[..16].copy_from_slice(&ORDER_LOW);
    order[31] = ORDER_HIGH;
    let mut second = signature;
    let mut carry = 0_u16;
    for (byte, add) in second[32..].iter_mut().zip(order) {
        let [high, low] = (u16::from(*byte) + u16::from(add) + carry).to_be_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    second
}
