//! What a statement says in clear, for people: the issuer's word and nothing more.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use tally_core::{
    computation::SignedMicro,
    receipt::{Adjustment, Answer, EmbeddingAnswer, Outcome, Preparation, SeedSource, Statement},
};

use super::{Claim, join};
use crate::time::UnixTime;

pub(super) fn of(statement: &Statement) -> Vec<Claim> {
    let mut claims = Claims(Vec::new());
    claims.add("time", UnixTime::from_ms(statement.time_ms).to_string());
    claims.add("kind", statement.kind.to_string());
    claims.add("software", statement.software.clone());
    match &statement.outcome {
        Outcome::Answer(answer) => claims.answer(answer),
        Outcome::Embedding(embedding) => claims.embedding(embedding),
        Outcome::Refusal(refusal) => claims.add("refused", refusal.code.clone()),
    }
    if let Some(price) = &statement.price {
        claims.add("price", format!("{} · 10⁻⁹ {}", price.amount, price.asset));
    }
    for (name, digest) in [
        ("attribution", statement.attribution),
        ("trace root", statement.trace_root),
        ("keyset", statement.keyset),
    ] {
        if let Some(digest) = digest {
            claims.add(name, digest.to_string());
        }
    }
    claims.0
}

struct Claims(Vec<Claim>);

impl Claims {
    fn add(&mut self, name: &'static str, value: String) {
        self.0.push(Claim { name, value });
    }

    fn answer(&mut self, answer: &Answer) {
        let computation = &answer.computation;
        self.add("model root", computation.model_root.to_string());
        self.add("arithmetic", computation.arithmetic.clone());
        self.add("input tokens", computation.input_count.to_string());
        self.add("output tokens", computation.output_count.to_string());
        self.add("finish", computation.finish.to_string());
        let parameters = &computation.parameters;
        self.add("max tokens", parameters.max_tokens.to_string());
        self.add("temperature", parameters.temperature.to_string());
        self.add("top k", parameters.top_k.to_string());
        self.add("top p", parameters.top_p.to_string());
        self.add("stop tokens", join(&parameters.stop_tokens));
        self.add("choice", parameters.choice.to_string());
        for (name, penalty) in [
            ("presence penalty", parameters.presence_penalty),
            ("frequency penalty", parameters.frequency_penalty),
        ] {
            if penalty != SignedMicro::ZERO {
                self.add(name, penalty.to_string());
            }
        }
        let source = match answer.seed_source {
            SeedSource::Client => "the client's",
            SeedSource::Derived => "derived from nonce and input",
            SeedSource::Issuer => "the issuer's",
        };
        self.add("seed", source.into());
        self.preparation(&answer.preparation);
    }

    fn embedding(&mut self, embedding: &EmbeddingAnswer) {
        let computation = &embedding.computation;
        self.add("model root", computation.model_root.to_string());
        self.add("arithmetic", computation.arithmetic.clone());
        self.add("input tokens", computation.input_count.to_string());
        self.add("vectors", computation.vector_count.to_string());
        self.preparation(&embedding.preparation);
    }

    fn preparation(&mut self, preparation: &Preparation) {
        self.add("tokenizer", preparation.tokenizer.to_string());
        if let Some(template) = preparation.template {
            self.add("chat template", template.to_string());
        }
        for adjustment in &preparation.adjustments {
            let (name, text) = match adjustment {
                Adjustment::Added(text) => ("added", text),
                Adjustment::Dropped(text) => ("dropped", text),
                Adjustment::Rewrote(text) => ("rewrote", text),
            };
            self.add(name, text.clone());
        }
    }
}
