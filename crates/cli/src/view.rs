//! The view of a receipt for people: text and JSON. It is never what is signed or hashed.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tally_core::{
    cbor::Cbor as _,
    commitment::Field,
    computation::tokens_from_bytes,
    receipt::{
        Adjustment, Answer, Bundle, EmbeddingAnswer, Evidence, EvidenceKind, Outcome, Preparation,
        ProtectedHeader, SeedSource, Statement,
    },
    tlog_proof::TlogProof,
};

use crate::output::quoted;

/// A parsed bundle with its statement and header.
pub(crate) struct ReceiptView {
    pub(crate) bundle: Bundle,
    pub(crate) header: ProtectedHeader,
    pub(crate) statement: Statement,
}

impl ReceiptView {
    /// Parses a bundle down to its statement; nothing is judged.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, tally_core::cbor::CborError> {
        let bundle = Bundle::parse(bytes)?;
        let header = ProtectedHeader::parse(&bundle.statement.protected)?;
        let statement = Statement::parse(&bundle.statement.payload)?;
        Ok(Self { bundle, header, statement })
    }

    /// The opened value of a field, if the bundle holds it.
    pub(crate) fn opened(&self, field: Field) -> Option<&[u8]> {
        self.bundle.openings.get(&field).map(|opening| opening.value.as_slice())
    }

    /// The JSON view.
    pub(crate) fn to_json(&self) -> Value {
        let statement = &self.statement;
        json!({
            "view": "tally/receipt-view/1",
            "receipt_digest": self.bundle.statement.digest().to_string(),
            "id": hex::encode(statement.id),
            "key_id": self.header.key_id.to_string(),
            "issuer": self.header.issuer,
            "kind": statement.kind.to_string(),
            "time_ms": statement.time_ms,
            "time": time_text(statement.time_ms),
            "nonce": statement.nonce.as_ref().map(hex::encode),
            "software": statement.software,
            "request_commitment": statement.request.to_string(),
            "answer": statement.outcome.answer().map(answer_json),
            "embedding": statement.outcome.embedding().map(embedding_json),
            "refusal": statement.outcome.refusal().map(|refusal| refusal.code.clone()),
            "price": statement.price.as_ref().map(|price| json!({"asset": price.asset, "amount_1e-9": price.amount})),
            "attribution": statement.attribution.map(|digest| digest.to_string()),
            "trace_root": statement.trace_root.map(|digest| digest.to_string()),
            "keyset": statement.keyset.map(|digest| digest.to_string()),
            "evidence": self.bundle.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
            "openings": self.openings_json(),
        })
    }

    fn openings_json(&self) -> Value {
        let entries = self.bundle.openings.iter().map(|(field, opening)| {
            let value = match field {
                Field::Input | Field::Output => tokens_from_bytes(&opening.value)
                    .map_or_else(|_| json!(hex::encode(&opening.value)), |tokens| json!(tokens)),
                Field::Seed | Field::Controls => json!(hex::encode(&opening.value)),
                Field::Request | Field::Response => match std::str::from_utf8(&opening.value) {
                    Ok(text) => json!(text),
                    Err(_) => json!({"hex": hex::encode(&opening.value)}),
                },
            };
            let opened = json!({"salt": hex::encode(opening.salt.as_bytes()), "value": value});
            (field.to_string(), opened)
        });
        Value::Object(entries.collect())
    }

    /// The text view, as lines.
    pub(crate) fn to_lines(&self) -> Vec<String> {
        let statement = &self.statement;
        let mut lines = vec![
            format!("Receipt {}", hex::encode(statement.id)),
            row("digest", self.bundle.statement.digest()),
            row("signed by key", self.header.key_id),
            row("time", format!("{} (the issuer's clock)", time_text(statement.time_ms))),
            row("software", &statement.software),
            row("nonce", statement.nonce.as_ref().map_or("none".into(), hex::encode)),
        ];
        match &statement.outcome {
            Outcome::Answer(answer) => lines.extend(answer_lines(statement, answer)),
            Outcome::Embedding(embedding) => lines.extend(embedding_lines(embedding)),
            Outcome::Refusal(refusal) => lines.push(row("refused", &refusal.code)),
        }
        lines.push(String::new());
        lines.push("Evidence".into());
        if self.bundle.evidence.is_empty() {
            lines.push("  none".into());
        }
        lines.extend(self.bundle.evidence.iter().flat_map(evidence_lines));
        lines.push(String::new());
        lines.push("Openings (what the holder reveals)".into());
        for field in Field::ALL {
            let shown =
                self.opened(field).map_or("hidden".into(), |value| opened_text(field, value));
            lines.push(row(&field.to_string(), shown));
        }
        lines
    }
}

fn answer_json(answer: &Answer) -> Value {
    let claims = &answer.computation;
    let parameters = &claims.parameters;
    json!({
        "computation": {
            "arithmetic": claims.arithmetic,
            "model_root": claims.model_root.to_string(),
            "input_commitment": claims.input.to_string(),
            "input_count": claims.input_count,
            "parameters": {
                "max_tokens": parameters.max_tokens,
                "temperature": parameters.temperature.to_string(),
                "top_k": parameters.top_k,
                "top_p": parameters.top_p.to_string(),
                "stop_tokens": parameters.stop_tokens,
                "choice": parameters.choice,
            },
            "seed_commitment": claims.seed.to_string(),
            "output_chain": claims.output.to_string(),
            "output_count": claims.output_count,
            "finish": claims.finish.to_string(),
        },
        "preparation": preparation_json(&answer.preparation),
        "seed_source": seed_source_text(answer.seed_source),
        "response_commitment": answer.response.to_string(),
    })
}

fn embedding_json(embedding: &EmbeddingAnswer) -> Value {
    let claims = &embedding.computation;
    json!({
        "computation": {
            "arithmetic": claims.arithmetic,
            "model_root": claims.model_root.to_string(),
            "input_commitment": claims.input.to_string(),
            "input_count": claims.input_count,
            "output_commitment": claims.output.to_string(),
            "vector_count": claims.vector_count,
        },
        "preparation": preparation_json(&embedding.preparation),
        "response_commitment": embedding.response.to_string(),
    })
}

fn preparation_json(preparation: &Preparation) -> Value {
    json!({
        "tokenizer": preparation.tokenizer.to_string(),
        "template": preparation.template.map(|digest| digest.to_string()),
        "adjustments": preparation.adjustments.iter().map(adjustment_text).collect::<Vec<_>>(),
    })
}

fn evidence_json(evidence: &Evidence) -> Value {
    json!({
        "kind": evidence.kind.to_string(),
        "digest": evidence.digest.to_string(),
        "value": evidence.value.as_ref().map(|value| match std::str::from_utf8(value) {
            Ok(text) => json!(text),
            Err(_) => json!({"hex": hex::encode(value)}),
        }),
    })
}

fn answer_lines(statement: &Statement, answer: &Answer) -> Vec<String> {
    let claims = &answer.computation;
    let parameters = &claims.parameters;
    let mut lines = vec![
        row(
            "answer",
            format!(
                "{}: {} tokens in, {} tokens out, ended by {}",
                statement.kind, claims.input_count, claims.output_count, claims.finish
            ),
        ),
        row("model root", claims.model_root),
        row("arithmetic", &claims.arithmetic),
        row(
            "sampling",
            format!(
                "temperature {}, top-p {}, top-k {}, at most {} tokens",
                parameters.temperature, parameters.top_p, parameters.top_k, parameters.max_tokens
            ),
        ),
        row("seed", seed_source_text(answer.seed_source)),
    ];
    let adjustments = &answer.preparation.adjustments;
    lines.extend(adjustments.iter().map(|item| row("the node", adjustment_text(item))));
    lines
}

fn embedding_lines(embedding: &EmbeddingAnswer) -> Vec<String> {
    let claims = &embedding.computation;
    let counts =
        format!("embedding: {} tokens in, {} vectors out", claims.input_count, claims.vector_count);
    let mut lines = vec![
        row("answer", counts),
        row("model root", claims.model_root),
        row("arithmetic", &claims.arithmetic),
    ];
    let adjustments = &embedding.preparation.adjustments;
    lines.extend(adjustments.iter().map(|item| row("the node", adjustment_text(item))));
    lines
}

fn evidence_lines(evidence: &Evidence) -> Vec<String> {
    let Some(value) = &evidence.value else {
        return vec![row(&evidence.kind.to_string(), "value held elsewhere")];
    };
    if evidence.kind != EvidenceKind::Inclusion {
        return vec![row(&evidence.kind.to_string(), format!("{} bytes", value.len()))];
    }
    match TlogProof::parse(value) {
        Ok(proof) => vec![
            row("log inclusion", format!("entry {}", proof.index.0)),
            row("of log", proof.checkpoint.checkpoint().origin()),
            row("at tree size", proof.checkpoint.checkpoint().size()),
            row("signature lines", proof.checkpoint.note().signatures().len()),
        ],
        Err(error) => vec![row(&evidence.kind.to_string(), format!("unreadable: {error}"))],
    }
}

fn opened_text(field: Field, value: &[u8]) -> String {
    match field {
        Field::Input | Field::Output => tokens_from_bytes(value)
            .map_or("unreadable".into(), |tokens| format!("{} token ids", tokens.len())),
        Field::Seed | Field::Controls => hex::encode(value),
        Field::Request | Field::Response => {
            let text = String::from_utf8_lossy(value);
            let start: String =
                text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
            if start.len() < text.len() {
                format!("{start}… ({} bytes)", value.len())
            } else {
                start
            }
        }
    }
}

fn adjustment_text(adjustment: &Adjustment) -> String {
    match adjustment {
        Adjustment::Added(text) => format!("added {text}"),
        Adjustment::Dropped(text) => format!("dropped {text}"),
        Adjustment::Rewrote(text) => format!("rewrote {text}"),
    }
}

const fn seed_source_text(source: SeedSource) -> &'static str {
    match source {
        SeedSource::Client => "the client's",
        SeedSource::Derived => "derived from client nonce and input",
        SeedSource::Issuer => "the issuer's choice",
    }
}

/// A time as RFC 3339 text in UTC.
pub(crate) fn time_text(time_ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(time_ms)) {
        // humantime formats years up to 9999.
        Some(time) if time_ms < 253_402_300_800_000 => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{time_ms} ms after 1970"),
    }
}

fn row(name: &str, value: impl std::fmt::Display) -> String {
    format!("  {name:<16} {}", quoted(&value.to_string()))
}
