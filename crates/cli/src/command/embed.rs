//! `tally embed`: the vector that a sentence encoder makes of a text, in integers.

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tally_engine::{Embedding, Engine, encoder::EMBEDDING_BITS, tokenizer::Tokenizer};

use super::{Verdict, ask};
use crate::{args, context::Context, models};

/// Most texts of one call.
const TEXTS_MAX: usize = 64;
/// What a cosine is printed in.
const TEN_THOUSANDTHS: i128 = 10_000;

pub(crate) fn run(args: &args::Embed, context: &Context) -> Result<Verdict> {
    if args.texts.len() > TEXTS_MAX {
        bail!("{} texts, at most {TEXTS_MAX} are embedded in one call", args.texts.len());
    }
    let home = context.existing_home()?;
    let model = models::load(&home, &args.model)?;
    if model.configuration().pooling.is_none() {
        bail!(
            "model `{}` continues texts and makes no vectors of them\n\nhint: import a sentence \
             encoder, such as all-MiniLM-L6-v2, by `tally model import FOLDER`",
            args.model
        );
    }
    let (root, limit) = (model.root(), model.context_len());
    let tokenizer = Tokenizer::parse(model.tokenizer())?;
    let engine = Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?;
    let mut embeddings = vec![];
    for text in &args.texts {
        let tokens = tokenizer.encode_sentence(text, usize::MAX)?;
        let embedded = engine.embed(&[&tokens]).with_context(|| {
            format!("text {}: {} tokens of at most {limit}", embeddings.len() + 1, tokens.len())
        })?;
        embeddings.extend(embedded);
    }
    let values: Vec<&[i32]> = embeddings.iter().map(|each| each.values.as_slice()).collect();
    let output = context.output;
    output.json(&json!({
        "model": root.to_string(),
        "fraction_bits": EMBEDDING_BITS,
        "embeddings": values,
    }))?;
    for (text, embedding) in args.texts.iter().zip(&embeddings) {
        output.line(text)?;
        let first: Vec<String> = embedding.values.iter().take(6).map(i32::to_string).collect();
        let count = embedding.values.len();
        output.line(&format!(
            "  {} … ({count} integers, each · 2^-{EMBEDDING_BITS})",
            first.join(" ")
        ))?;
    }
    for (index, later) in embeddings.iter().enumerate().skip(1) {
        let cosines = embeddings[..index].iter().map(|earlier| cosine(earlier, later));
        let cosines: Vec<String> = cosines.collect();
        output.line(&format!(
            "cosine of text {} with those before: {}",
            index + 1,
            cosines.join(" ")
        ))?;
    }
    Ok(Verdict::Satisfied)
}

/// The cosine of two vectors to four decimal places, computed in integers.
fn cosine(a: &Embedding, b: &Embedding) -> String {
    let dot = |a: &Embedding, b: &Embedding| -> i128 {
        a.values.iter().zip(&b.values).map(|(a, b)| i128::from(*a) * i128::from(*b)).sum()
    };
    // Each length is below 2^31 · 2^7 and above zero unless a vector is zero.
    let lengths = [a, b].map(|each| dot(each, each).unsigned_abs().isqrt().max(1).cast_signed());
    let scaled = 2 * TEN_THOUSANDTHS * dot(a, b) / (lengths[0] * lengths[1]);
    let rounded = (scaled + scaled.signum()) / 2;
    let sign = if rounded < 0 { "-" } else { "" };
    let (whole, part) = (rounded.abs() / TEN_THOUSANDTHS, rounded.abs() % TEN_THOUSANDTHS);
    format!("{sign}{whole}.{part:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_is_rounded_to_four_places() {
        let of = |values: &[i32]| Embedding { values: values.to_vec() };
        assert_eq!(cosine(&of(&[3 << 20, 4 << 20]), &of(&[6 << 20, 8 << 20])), "1.0000");
        assert_eq!(cosine(&of(&[5, 0]), &of(&[0, 7])), "0.0000");
        assert_eq!(cosine(&of(&[1 << 20, 0]), &of(&[-1 << 20, 1 << 20])), "-0.7071");
        assert_eq!(cosine(&of(&[0, 0]), &of(&[1, 1])), "0.0000");
    }
}
