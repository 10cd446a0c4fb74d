//! Reject vectors of the encoding: bytes that are no receipt, whoever signs them.

use tally_core::cbor::Cbor as _;
use tally_core::computation::Micro;
use tally_core::receipt::{Adjustment, Answer, PROFILE};

use super::raw::{bundle, pair, recount, replace, with_envelope, with_header, with_payload};
use super::scenario::Scenario;
use super::{Vector, reject, reject_bytes};

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = forms();
    vectors.extend(values());
    vectors.extend(keys());
    vectors
}

/// Bytes that are not deterministic CBOR.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn forms() -> Vec<Vector> {
    let local = Scenario::local();
    let bytes = local.bundle_bytes();
    let raw =
        |name, clause, code, what, bytes| reject_bytes(name, clause, code, what, &local, bytes);
    let statement = |edit: &dyn Fn(&[u8]) -> Vec<u8>| with_payload(&local, edit);
    let reversed: Vec<_> = local.openings.iter().rev().collect();
    let envelope = local.signed().encode();
    let evidence = local.bundle().evidence;
    let array = &[0x03, 0x81, 0xa3];
    vec![
        raw(
            "trailing-byte",
            &["R-5"],
            "receipt/trailing-bytes",
            "one byte follows",
            [&bytes[..], &[0]].concat(),
        ),
        raw(
            "trailing-byte-in-statement",
            &["R-5"],
            "receipt/trailing-bytes",
            "one byte follows the statement inside its envelope",
            statement(&|b| [b, &[0]].concat()),
        ),
        raw(
            "truncated",
            &["R-7"],
            "receipt/truncated",
            "the last byte is missing",
            bytes[..bytes.len() - 1].to_vec(),
        ),
        raw("empty", &["R-7"], "receipt/truncated", "there is no byte at all", vec![]),
        raw(
            "long-version",
            &["R-2"],
            "receipt/not-shortest",
            "the version 1 is written in two bytes",
            replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 0x18, 1, 2]),
        ),
        raw(
            "long-length",
            &["R-2"],
            "receipt/not-shortest",
            "the length of the receipt id is written in two bytes",
            statement(&|b| replace(b, &[7, 0x50, 0xa1], &[7, 0x58, 16, 0xa1])),
        ),
        raw(
            "long-key",
            &["R-2"],
            "receipt/not-shortest",
            "the key of the receipt id is written in two bytes",
            statement(&|b| replace(b, &[7, 0x50, 0xa1], &[0x18, 7, 0x50, 0xa1])),
        ),
        raw(
            "openings-out-of-order",
            &["R-3"],
            "receipt/key-order",
            "the openings stand in reverse order",
            bundle(&envelope, &evidence, &reversed),
        ),
        raw(
            "claim-out-of-order",
            &["R-3"],
            "receipt/key-order",
            "a claim of the registry follows the private ones",
            statement(&|b| {
                recount(
                    b,
                    1,
                    &pair(7, |e| {
                        e.bytes(&[0xa1; 16]);
                    }),
                )
            }),
        ),
        raw(
            "duplicate-claim",
            &["R-4"],
            "receipt/duplicate-key",
            "the software stands there twice",
            statement(&|b| {
                recount(
                    b,
                    1,
                    &pair(-70_006, |e| {
                        e.text("tally/0.2.0");
                    }),
                )
            }),
        ),
        raw(
            "float",
            &["R-6"],
            "receipt/form",
            "the version is a floating-point number",
            replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 0xf9, 0x3c, 0, 2]),
        ),
        raw(
            "indefinite-length",
            &["R-6"],
            "receipt/form",
            "the evidence is an array of indefinite length",
            replace(&bytes, array, &[0x03, 0x9f, 0xa3]),
        ),
        raw(
            "deep-nesting",
            &["R-8"],
            "receipt/type",
            "ten thousand arrays in each other stand where the software belongs",
            statement(&|b| replace(b, b"\x6btally/0.1.0", &[0x81; 10_000])),
        ),
        raw(
            "text-for-number",
            &["R-8"],
            "receipt/type",
            "the version is a text",
            replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 0x61, b'1', 2]),
        ),
        raw(
            "null-for-opening",
            &["R-8"],
            "receipt/type",
            "the evidence is null",
            replace(&bytes, array, &[0x03, 0xf6, 0xa3]),
        ),
        raw(
            "not-utf-8",
            &["R-11"],
            "receipt/utf8",
            "the software is not UTF-8",
            statement(&|b| replace(b, b"tally/0.1.0", b"tally/0.1.\xff")),
        ),
        raw(
            "not-a-receipt",
            &["R-14"],
            "receipt/tag",
            "the tag in front is another",
            replace(&bytes, b"TALY", b"TALZ"),
        ),
        raw(
            "not-cose-sign1",
            &["R-14"],
            "receipt/tag",
            "the envelope is a COSE_Mac0 by its tag",
            with_envelope(&local, |b| [&[0xd1], &b[1..]].concat()),
        ),
    ]
}

/// Values beyond their limits, and values without meaning.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn values() -> Vec<Vector> {
    let local = Scenario::local();
    let bytes = local.bundle_bytes();
    let raw =
        |name, clause, code, what, bytes| reject_bytes(name, clause, code, what, &local, bytes);
    let answer = |name, clause, code, what, edit: &dyn Fn(&mut Answer)| {
        reject(name, clause, code, what, &local.clone().with_answer(edit))
    };
    let statement = |from: &[u8], to: &[u8]| with_payload(&local, |b| replace(b, from, to));
    let nonce = |length: usize| local.clone().with(|s| s.statement.nonce = Some(vec![7; length]));
    vec![
        raw(
            "size-bomb",
            &["R-10"],
            "receipt/limit",
            "four billion pieces of evidence are announced",
            replace(&bytes, &[0x03, 0x81, 0xa3], &[0x03, 0x9a, 0xff, 0xff, 0xff, 0xff, 0xa3]),
        ),
        raw(
            "length-bomb",
            &["R-10"],
            "receipt/limit",
            "an opened value of 2^63 bytes is announced",
            replace(
                &bytes,
                &[0x45, b'H', b'e', b'l', b'l', b'o'],
                &[0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0],
            ),
        ),
        raw(
            "length-within-limit-but-absent",
            &["R-7"],
            "receipt/truncated",
            "an opened value of 4 MiB is announced and not there",
            replace(&bytes, &[0x45, b'H', b'e', b'l', b'l', b'o'], &[0x5a, 0, 0x40, 0, 0]),
        ),
        reject(
            "long-software",
            &["R-10"],
            "receipt/limit",
            "the software has 129 bytes",
            &local.clone().with(|s| s.statement.software = "x".repeat(129)),
        ),
        answer("too-many-adjustments", &["R-10"], "receipt/limit", "33 adjustments", &|a| {
            a.preparation.adjustments = vec![Adjustment::Added("x".into()); 33]
        }),
        answer(
            "temperature-above-limit",
            &["R-10"],
            "receipt/limit",
            "the temperature is 100.000001",
            &|a| a.computation.parameters.temperature = Micro::from_millionths(100_000_001),
        ),
        answer("too-many-stop-tokens", &["R-10"], "receipt/limit", "65 stop tokens", &|a| {
            a.computation.parameters.stop_tokens = (0..65).collect()
        }),
        raw(
            "payload-above-limit",
            &["R-10"],
            "receipt/limit",
            "the statement has 16,385 bytes",
            with_payload(&local, |b| [b, &vec![0; 16_385 - b.len()]].concat()),
        ),
        reject("short-nonce", &["R-25"], "receipt/length", "the nonce has 7 bytes", &nonce(7)),
        reject("long-nonce", &["R-25"], "receipt/limit", "the nonce has 65 bytes", &nonce(65)),
        raw(
            "short-signature",
            &["R-9"],
            "receipt/length",
            "the signature has 63 bytes",
            with_envelope(&local, |b| {
                let (start, end) = (b.len() - 66, b.len() - 1);
                [&b[..start], &[0x58, 63], &b[start + 2..end]].concat()
            }),
        ),
        raw("short-digest", &["R-9"], "receipt/length", "the request's commitment has 31 bytes", {
            let commitment = *local.statement.request.as_bytes();
            statement(
                &[&[0x58, 32], &commitment[..]].concat(),
                &[&[0x58, 31], &commitment[..31]].concat(),
            )
        }),
        raw(
            "unknown-version",
            &["R-15"],
            "receipt/unknown-value",
            "the bundle's version is 2",
            replace(&bytes, &[0xa4, 1, 1, 2], &[0xa4, 1, 2, 2]),
        ),
        raw(
            "unknown-profile",
            &["R-15"],
            "receipt/unknown-value",
            "the profile is `tally:receipt:2`",
            statement(PROFILE.as_bytes(), b"tally:receipt:2"),
        ),
        raw(
            "unknown-kind",
            &["R-15"],
            "receipt/unknown-value",
            "the kind is 99",
            statement(
                &pair(-70_001, |e| {
                    e.uint(1);
                }),
                &pair(-70_001, |e| {
                    e.uint(99);
                }),
            ),
        ),
        raw(
            "unknown-finish-reason",
            &["R-15"],
            "receipt/unknown-value",
            "the finish reason is 5",
            {
                let tail = [&[0x08, 0x03, 0x09][..], &[0x01, 0x02, 0xa3]].concat();
                statement(&tail, &[0x08, 0x03, 0x09, 0x05, 0x02, 0xa3])
            },
        ),
    ]
}

/// Keys that are not in the closed maps, and keys that are missing.
#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn keys() -> Vec<Vector> {
    let local = Scenario::local();
    let raw =
        |name, clause, code, what, bytes| reject_bytes(name, clause, code, what, &local, bytes);
    let refusal = pair(-70_005, |e| {
        e.map(1).key(1).text("x/y");
    });
    let software = pair(-70_006, |e| {
        e.text("tally/0.1.0");
    });
    let id = pair(7, |e| {
        e.bytes(&[0xa1; 16]);
    });
    let answer = pair(-70_004, |e| {
        e.raw(&local.statement.outcome.answer().map(Answer::encode).unwrap_or_default());
    });
    vec![
        raw(
            "unknown-claim",
            &["R-12"],
            "receipt/unknown-claim",
            "a claim -70012 that this version does not have",
            with_payload(&local, |b| {
                recount(
                    b,
                    1,
                    &pair(-70_012, |e| {
                        e.uint(0);
                    }),
                )
            }),
        ),
        raw(
            "missing-claim",
            &["R-13"],
            "receipt/missing-claim",
            "there is no receipt id",
            with_payload(&local, |b| replace(&recount(b, -1, &[]), &id, &[])),
        ),
        raw(
            "critical-header",
            &["R-23"],
            "receipt/unknown-claim",
            "the header lists a critical label",
            with_header(&local, |b| {
                let critical = pair(2, |e| {
                    e.array(1).int(-70_000);
                });
                replace(
                    &recount(b, 1, &[]),
                    &[0x01, 0x32],
                    &[&[0x01, 0x32], &critical[..]].concat(),
                )
            }),
        ),
        raw(
            "header-label-too-many",
            &["R-23"],
            "receipt/unknown-claim",
            "the header has a label 33, a certificate chain",
            with_header(&local, |b| {
                recount(
                    b,
                    1,
                    &pair(33, |e| {
                        e.bytes(b"x");
                    }),
                )
            }),
        ),
        raw(
            "unprotected-header",
            &["R-20"],
            "receipt/unknown-claim",
            "the unprotected header holds a key id",
            with_envelope(&local, |b| {
                let protected = local.header().encode();
                let empty = [&protected[..], &[0xa0]].concat();
                replace(
                    b,
                    &empty,
                    &[
                        &protected[..],
                        &[0xa1],
                        &pair(4, |e| {
                            e.bytes(b"x");
                        }),
                    ]
                    .concat(),
                )
            }),
        ),
        raw(
            "answer-and-refusal",
            &["R-24"],
            "receipt/unknown-claim",
            "the statement holds an answer and a refusal",
            with_payload(&local, |b| {
                replace(&recount(b, 1, &[]), &software, &[refusal, software.clone()].concat())
            }),
        ),
        raw(
            "neither-answer-nor-refusal",
            &["R-24"],
            "receipt/missing-claim",
            "the statement holds neither an answer nor a refusal",
            with_payload(&local, |b| replace(&recount(b, -1, &[]), &answer, &[])),
        ),
    ]
}
