//! A receipt in the making: statement, keys, openings, proofs, policy and what the caller knows.

use std::collections::BTreeMap;

use tally_core::Digest;
use tally_core::cbor::Cbor as _;
use tally_core::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use tally_core::commitment::{Field, Opening, OutputChain, ReceiptSecret};
use tally_core::computation::{
    FinishReason, Micro, SamplingParameters, SignedMicro, TokenId, derived_seed, tokens_to_bytes,
};
use tally_core::cosignature::{Timestamp, cosign};
use tally_core::ed25519::SigningKey;
use tally_core::entry::{Entry, EntryKind, HourBucket};
use tally_core::note::{KeyName, SignatureType, VerifierKey};
use tally_core::receipt::{
    Answer, Bundle, ComputationClaims, Evidence, EvidenceKind, Kind, Openings, Outcome,
    Preparation, ProtectedHeader, Refusal, SeedSource, SignedStatement, Statement, key_id,
};
use tally_core::tlog_proof::TlogProof;
use tally_core::tree::{self, LeafIndex, NodeId, Nodes, TreeSize};

use super::Inputs;

/// 2026-09-21T14:13:20Z, when every statement is made.
pub(super) const MADE_MS: u64 = 1_790_000_000_000;
pub(super) const MADE_S: u64 = MADE_MS / 1_000;
pub(super) const NONCE: &[u8] = b"nonce of 16 byte";
pub(super) const REQUEST: &[u8] = br#"{"messages":[{"role":"user","content":"Say hello"}]}"#;
pub(super) const RESPONSE: &[u8] = b"Hello";
pub(super) const INPUT: &[TokenId] = &[1, 17, 4_000, 5];
pub(super) const OUTPUT: &[TokenId] = &[9, 300, 2];
pub(super) const STOP: TokenId = 2;
pub(super) const ORIGIN: &str = "log.example/one";
pub(super) const ARITHMETIC: &str = "ra-1-draft.1";

/// Everything that leads to the arguments of `verify`.
#[derive(Clone)]
pub(super) struct Scenario {
    /// The accept vector that this is, or departs from.
    pub(super) accepted_as: &'static str,
    pub(super) statement: Statement,
    pub(super) signer: SigningKey,
    /// The header, where it is not the one that the statement demands.
    pub(super) header: Option<ProtectedHeader>,
    pub(super) openings: Openings,
    pub(super) proofs: Vec<Proof>,
    /// Evidence after the proofs.
    pub(super) evidence: Vec<Evidence>,
    pub(super) policy: String,
    pub(super) expected: BTreeMap<&'static str, Vec<u8>>,
    pub(super) now_ms: u64,
}

/// An inclusion proof to be made.
#[derive(Clone)]
pub(super) struct Proof {
    pub(super) origin: &'static str,
    pub(super) log_key: u8,
    pub(super) index: u64,
    pub(super) size: u64,
    /// Name, key and time in seconds of every cosignature.
    pub(super) cosigners: Vec<(&'static str, u8, u64)>,
}

/// The signing key with a seed of 32 equal bytes.
pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(super) const ISSUER_KEY: u8 = 1;
pub(super) const LOG_KEY: u8 = 3;
pub(super) const OWN_KEY: u8 = 4;

pub(super) fn digest(text: &str) -> Digest {
    Digest::of_content(text.as_bytes())
}

/// A verifier key as a policy names it.
pub(super) fn vkey(name: &str, kind: SignatureType, seed: u8) -> VerifierKey {
    VerifierKey::new(key_name(name), kind, key(seed).public_key())
}

pub(super) fn key_name(name: &str) -> KeyName {
    KeyName::parse(name).expect("the names of the vectors are key names")
}

pub(super) fn secret() -> ReceiptSecret {
    ReceiptSecret::from_bytes([0x5e; 32])
}

/// The opening of a field with this value.
pub(super) fn opening(field: Field, value: &[u8]) -> Opening {
    Opening { salt: secret().salt(field), value: value.to_vec() }
}

fn commit(field: Field, value: &[u8]) -> Digest {
    secret().salt(field).commit(value)
}

impl Proof {
    /// A proof of the vectors' log, cosigned by the operator's own cosigner.
    pub(super) fn own() -> Self {
        let cosigners = vec![("cosigner.example/own", OWN_KEY, MADE_S + 1)];
        Self { origin: ORIGIN, log_key: LOG_KEY, index: 5, size: 11, cosigners }
    }

    pub(super) fn make(&self, entry: &Entry) -> TlogProof {
        let nodes = Leaves(self.leaves(entry));
        let size = TreeSize::new(self.size).expect("the trees of the vectors are small");
        let Ok(hashes) = tree::prove_inclusion(&nodes, LeafIndex(self.index), size);
        let hashes = hashes.unwrap_or_default();
        let origin = Origin::parse(self.origin).expect("the origins of the vectors are legal");
        let checkpoint = Checkpoint::new(origin, size, tree::root(&nodes.0));
        let name = key_name(self.origin);
        let mut signed = SignedCheckpoint::sign(checkpoint.clone(), &name, &key(self.log_key))
            .expect("the checkpoints of the vectors are notes");
        for (name, seed, time) in &self.cosigners {
            let time = Timestamp::new(*time).expect("the times of the vectors are legal");
            let line = cosign(&checkpoint, time, &key_name(name), &key(*seed));
            signed.push(line).expect("the cosigners of the vectors differ");
        }
        TlogProof { extra: None, index: LeafIndex(self.index), hashes, checkpoint: signed }
    }

    fn leaves(&self, entry: &Entry) -> Vec<Digest> {
        let leaf = |index| match index == self.index {
            true => tree::leaf_hash(&entry.encode()),
            false => tree::leaf_hash(format!("another entry {index}").as_bytes()),
        };
        (0..self.size).map(leaf).collect()
    }
}

/// A small tree that computes every node from its leaves.
struct Leaves(Vec<Digest>);

impl Nodes for Leaves {
    type Error = std::convert::Infallible;

    fn node(&self, id: NodeId) -> Result<Digest, Self::Error> {
        let width = 1_usize << id.level;
        let start = usize::try_from(id.index).unwrap_or(usize::MAX).saturating_mul(width);
        Ok(tree::root(self.0.get(start..start + width).unwrap_or_default()))
    }
}

impl Scenario {
    /// A chat with everything opened, in the operator's own log, under its home policy.
    pub(super) fn local() -> Self {
        let seed = derived_seed(NONCE, INPUT);
        let output = OutputChain::of(&secret().salt(Field::Output), OUTPUT).link();
        let statement = Statement {
            id: [0xa1; 16],
            nonce: Some(NONCE.to_vec()),
            kind: Kind::Chat,
            time_ms: MADE_MS,
            request: commit(Field::Request, REQUEST),
            outcome: Outcome::Answer(Answer {
                computation: ComputationClaims {
                    arithmetic: ARITHMETIC.into(),
                    model_root: digest("model"),
                    input: commit(Field::Input, &tokens_to_bytes(INPUT)),
                    input_count: 4,
                    parameters: SamplingParameters {
                        max_tokens: 64,
                        temperature: Micro::ONE,
                        top_k: 40,
                        top_p: Micro::from_millionths(950_000),
                        stop_tokens: vec![0, STOP],
                        choice: 0,
                        presence_penalty: SignedMicro::ZERO,
                        frequency_penalty: SignedMicro::ZERO,
                    },
                    seed: commit(Field::Seed, &seed),
                    output,
                    output_count: 3,
                    finish: FinishReason::Stop,
                    controls: None,
                },
                preparation: Preparation {
                    tokenizer: digest("tokenizer"),
                    template: Some(digest("template")),
                    adjustments: vec![],
                },
                seed_source: SeedSource::Derived,
                response: commit(Field::Response, RESPONSE),
            }),
            software: "tally/0.1.0".into(),
            price: None,
            attribution: None,
            trace_root: None,
            keyset: None,
        };
        let values = [
            (Field::Request, REQUEST.to_vec()),
            (Field::Response, RESPONSE.to_vec()),
            (Field::Input, tokens_to_bytes(INPUT)),
            (Field::Seed, seed.to_vec()),
            (Field::Output, tokens_to_bytes(OUTPUT)),
        ];
        let openings = values.map(|(field, value)| (field, opening(field, &value)));
        Self {
            accepted_as: "001-local",
            statement,
            signer: key(ISSUER_KEY),
            header: None,
            openings: openings.into(),
            proofs: vec![Proof::own()],
            evidence: vec![],
            policy: home_policy(),
            expected: BTreeMap::from([
                ("nonce", NONCE.to_vec()),
                ("request", REQUEST.to_vec()),
                ("response", RESPONSE.to_vec()),
            ]),
            now_ms: MADE_MS + 60_000,
        }
    }

    /// A statement without evidence and openings.
    pub(super) fn signed_only() -> Self {
        Self {
            accepted_as: "002-signed-only",
            openings: Openings::new(),
            proofs: vec![],
            policy: home_policy().replace(", \"self-cosigned\"", ""),
            expected: BTreeMap::new(),
            ..Self::local()
        }
    }

    /// A refusal: nothing was computed.
    pub(super) fn refusal() -> Self {
        let local = Self::local();
        let outcome = Outcome::Refusal(Refusal { code: "context/length".into() });
        let openings = [(Field::Request, opening(Field::Request, REQUEST))];
        Self {
            accepted_as: "005-refusal",
            statement: Statement { outcome, ..local.statement },
            openings: openings.into(),
            expected: BTreeMap::from([("nonce", NONCE.to_vec()), ("request", REQUEST.to_vec())]),
            ..local
        }
    }

    /// Changes the answer.
    pub(super) fn with_answer(mut self, edit: impl FnOnce(&mut Answer)) -> Self {
        if let Outcome::Answer(answer) = &mut self.statement.outcome {
            edit(answer);
        }
        self
    }

    /// Changes anything.
    pub(super) fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// Replaces a piece of the policy, which must be there.
    pub(super) fn with_policy(mut self, from: &str, to: &str) -> Self {
        assert!(self.policy.contains(from), "the policy lacks {from}:\n{}", self.policy);
        self.policy = self.policy.replacen(from, to, 1);
        self
    }

    /// The header that is signed.
    pub(super) fn header(&self) -> ProtectedHeader {
        let demanded = || {
            ProtectedHeader::new(key_id(self.signer.public_key().as_bytes()), &self.statement.id)
        };
        self.header.clone().unwrap_or_else(demanded)
    }

    /// The statement in its envelope.
    pub(super) fn signed(&self) -> SignedStatement {
        self.sign(self.header().encode(), self.statement.encode())
    }

    /// Any bytes in an envelope.
    pub(super) fn sign(&self, protected: Vec<u8>, payload: Vec<u8>) -> SignedStatement {
        let message = SignedStatement::to_be_signed(&protected, &payload);
        let signature = *self.signer.sign(&message).as_bytes();
        SignedStatement { protected, payload, signature }
    }

    /// The entry of a receipt in the log.
    pub(super) fn entry(&self, digest: Digest) -> Entry {
        let hour = HourBucket::of_unix_seconds(self.statement.time_ms / 1_000);
        Entry { kind: EntryKind::RECEIPT, hour, digest }
    }

    /// The proof of the scenario's own receipt.
    pub(super) fn proof(&self, plan: &Proof) -> TlogProof {
        plan.make(&self.entry(self.signed().digest()))
    }

    /// The bundle around a signed statement.
    pub(super) fn bundle_of(&self, statement: SignedStatement) -> Bundle {
        let entry = self.entry(statement.digest());
        let proofs = self.proofs.iter().map(|plan| inclusion(&plan.make(&entry)));
        let evidence = proofs.chain(self.evidence.iter().cloned()).collect();
        Bundle { statement, evidence, openings: self.openings.clone() }
    }

    pub(super) fn bundle(&self) -> Bundle {
        self.bundle_of(self.signed())
    }

    pub(super) fn bundle_bytes(&self) -> Vec<u8> {
        self.bundle().encode()
    }

    pub(super) fn inputs(&self, receipt: Vec<u8>) -> Inputs {
        Inputs {
            receipt,
            policy: self.policy.clone(),
            expected: self.expected.clone(),
            now_ms: self.now_ms,
            stream: None,
        }
    }
}

/// Evidence of inclusion.
pub(super) fn inclusion(proof: &TlogProof) -> Evidence {
    Evidence::new(EvidenceKind::Inclusion, proof.encode().into_bytes())
}

/// The policy of whoever runs the node: its own issuer, log and cosigner, and no more demanded.
pub(super) fn home_policy() -> String {
    format!(
        "version = 1\n\
         required = [\"signed\", \"self-cosigned\"]\n\
         arithmetics = [\"{ARITHMETIC}\"]\n\
         models = [\n  \"{model}\",\n]\n\
         \n[[issuer]]\nname = \"this node\"\npublic_key = \"{issuer}\"\n\
         \n[[log]]\norigin = \"{ORIGIN}\"\nvkey = \"{log}\"\n\
         \n[[cosigner]]\nname = \"own\"\nvkey = \"{cosigner}\"\nown = true\n",
        model = digest("model"),
        issuer = super::hex(key(ISSUER_KEY).public_key().as_bytes()),
        log = vkey(ORIGIN, SignatureType::Ed25519, LOG_KEY).encode(),
        cosigner = vkey("cosigner.example/own", SignatureType::CosignatureV1, OWN_KEY).encode(),
    )
}
