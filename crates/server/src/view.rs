//! The view of a receipt as JSON, for people and their programs. It is never what is signed or hashed.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tally_core::{
    cbor::{Cbor as _, CborError},
    commitment::Field,
    computation::tokens_from_bytes,
    receipt::{
        Adjustment, Answer, Bundle, EmbeddingAnswer, Evidence, Openings, Preparation,
        ProtectedHeader, SeedSource, Statement,
    },
};

/// The JSON view of a bundle; nothing is judged.
///
/// # Errors
/// A header or a statement that is not well-formed.
pub fn of(bundle: &Bundle) -> Result<Value, CborError> {
    let header = ProtectedHeader::parse(&bundle.statement.protected)?;
    let statement = Statement::parse(&bundle.statement.payload)?;
    let price = statement.price.as_ref();
    let price = price.map(|price| json!({"asset": price.asset, "amount_1e-9": price.amount}));
    Ok(json!({
        "view": "tally/receipt-view/1",
        "receipt_digest": bundle.statement.digest().to_string(),
        "id": hex::encode(statement.id),
        "key_id": header.key_id.to_string(),
        "issuer": header.issuer,
        "kind": statement.kind.to_string(),
        "time_ms": statement.time_ms,
        "time": time_text(statement.time_ms),
        "nonce": statement.nonce.as_ref().map(hex::encode),
        "software": statement.software,
        "request_commitment": statement.request.to_string(),
        "answer": statement.outcome.answer().map(answer_json),
        "embedding": statement.outcome.embedding().map(embedding_json),
        "refusal": statement.outcome.refusal().map(|refusal| refusal.code.clone()),
        "price": price,
        "attribution": statement.attribution.map(|digest| digest.to_string()),
        "trace_root": statement.trace_root.map(|digest| digest.to_string()),
        "keyset": statement.keyset.map(|digest| digest.to_string()),
        "evidence": bundle.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
        "openings": openings_json(&bundle.openings),
    }))
}

fn openings_json(openings: &Openings) -> Value {
    let entries = openings.iter().map(|(field, opening)| {
        let value = match field {
            Field::Input | Field::Output => tokens_from_bytes(&opening.value)
                .map_or_else(|_| json!(hex::encode(&opening.value)), |tokens| json!(tokens)),
            Field::Seed | Field::Controls | Field::Attribution => {
                json!(hex::encode(&opening.value))
            }
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
                "presence_penalty": parameters.presence_penalty.to_string(),
                "frequency_penalty": parameters.frequency_penalty.to_string(),
            },
            "seed_commitment": claims.seed.to_string(),
            "output_chain": claims.output.to_string(),
            "output_count": claims.output_count,
            "finish": claims.finish.to_string(),
            "controls_commitment": claims.controls.map(|digest| digest.to_string()),
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

/// What the node did to a request.
#[must_use]
pub fn adjustment_text(adjustment: &Adjustment) -> String {
    match adjustment {
        Adjustment::Added(text) => format!("added {text}"),
        Adjustment::Dropped(text) => format!("dropped {text}"),
        Adjustment::Rewrote(text) => format!("rewrote {text}"),
    }
}

/// Where a seed came from.
#[must_use]
pub const fn seed_source_text(source: SeedSource) -> &'static str {
    match source {
        SeedSource::Client => "the client's",
        SeedSource::Derived => "derived from client nonce and input",
        SeedSource::Issuer => "the issuer's choice",
    }
}

/// A time as RFC 3339 text in UTC.
#[must_use]
pub fn time_text(time_ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(time_ms)) {
        // humantime formats years up to 9999.
        Some(time) if time_ms < 253_402_300_800_000 => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{time_ms} ms after 1970"),
    }
}
