//! The view of a receipt for people, as text. It is never what is signed or hashed.

use tally_core::{
    attribution::Section,
    cbor::Cbor as _,
    commitment::Field,
    computation::{Controls, tokens_from_bytes},
    receipt::{
        Answer, Bundle, EmbeddingAnswer, Evidence, EvidenceKind, Outcome, ProtectedHeader,
        Statement,
    },
    tlog_proof::TlogProof,
};

use tally_server::view::{adjustment_text, seed_source_text, time_text};

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

    /// Whether the statement commits to a value of the field.
    pub(crate) const fn commits_to(&self, field: Field) -> bool {
        match (&self.statement.outcome, field) {
            (_, Field::Request) => true,
            (_, Field::Attribution) => self.statement.attribution.is_some(),
            (Outcome::Refusal(_), _) => false,
            (Outcome::Embedding(_), field) => !matches!(field, Field::Seed | Field::Controls),
            (Outcome::Answer(answer), Field::Controls) => answer.computation.controls.is_some(),
            (Outcome::Answer(_), _) => true,
        }
    }

    /// The text view, as lines.
    pub(crate) fn to_lines(&self) -> Vec<String> {
        let statement = &self.statement;
        let mut lines = vec![
            format!("Receipt {}", self.bundle.statement.digest()),
            row("id", hex::encode(statement.id)),
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
        for field in Field::ALL.into_iter().filter(|field| self.commits_to(*field)) {
            let shown =
                self.opened(field).map_or("hidden".into(), |value| opened_text(field, value));
            lines.push(row(&field.to_string(), shown));
        }
        lines
    }
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
        Field::Seed => hex::encode(value),
        Field::Controls => {
            Controls::parse(value).map_or("unreadable".into(), |controls| controls_text(&controls))
        }
        Field::Attribution => {
            Section::parse(value).map_or("unreadable".into(), |section| attribution_text(&section))
        }
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

/// Who is behind an output, in words.
fn attribution_text(section: &Section) -> String {
    let free = usize::try_from(section.residual.size_bytes).unwrap_or(usize::MAX);
    let owned = section.output.len().saturating_sub(free);
    format!(
        "{owned} of {} bytes repeat registered texts; {} contributions, {} transfers",
        section.output.len(),
        section.contributions.len(),
        section.transfers.len(),
    )
}

/// What steered the output, in words.
fn controls_text(controls: &Controls) -> String {
    let mut parts = vec![];
    if !controls.stop.is_empty() {
        parts.push(format!("stops at {:?}", controls.stop));
    }
    if !controls.bias.is_empty() {
        parts.push(format!("biases of {} tokens", controls.bias.len()));
    }
    if let Some(grammar) = &controls.grammar {
        let (kind, engine) = (grammar.kind, &grammar.engine);
        parts.push(format!("a grammar of {} bytes ({kind}, {engine})", grammar.text.len()));
    }
    parts.join("; ")
}

fn row(name: &str, value: impl std::fmt::Display) -> String {
    format!("  {name:<16} {}", quoted(&value.to_string()))
}
