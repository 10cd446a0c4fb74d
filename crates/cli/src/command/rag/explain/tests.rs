//! Likelihoods that share what they computed, beside those computed anew and one token at a time.

use std::sync::OnceLock;

use tally_engine::Kernels;

use super::*;
use crate::{models, rag::Quoted};

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE
        .get_or_init(|| Engine::new(models::load_default().unwrap(), Kernels::detect(), 1).unwrap())
}

fn prompt(texts: &[&str]) -> Prompt {
    let quoted = texts.iter().map(|text| Quoted {
        document: Digest::of_content(text.as_bytes()),
        start: 0,
        end: u32::try_from(text.len()).unwrap(),
        name: "same.txt".into(),
        text: (*text).to_owned(),
    });
    Prompt { passages: quoted.collect(), question: "What is a lock?".into() }
}

/// A sum in which every token's context is computed from nothing.
fn naive(input: &[TokenId], output: &[TokenId]) -> i64 {
    let bits = engine().model().configuration().logit_bits;
    let each = output.iter().enumerate().map(|(at, token)| {
        let text = [input, &output[..at]].concat();
        let (mut sequence, mut logits) = (engine().sequence(), vec![]);
        engine().prefill(&mut sequence, &text, 7, &mut logits).unwrap();
        logprobs(&logits[0], bits, *token, 0).unwrap().log_probability.millionths()
    });
    each.sum()
}

#[test]
fn a_likelihood_does_not_depend_on_what_was_computed_before() {
    let language = Language::of(engine().model()).unwrap();
    let prompt = prompt(&["A lock keeps others out.", "A table has rows.", "A view is a query."]);
    let output = language.tokenizer().encode(" A lock keeps").unwrap();
    assert!(output.len() > 2);
    let mut likelihood = Likelihood::new(engine());
    for subset in subsets(3) {
        let documents = prompt.documents();
        let part = |it: &Quoted| documents.iter().position(|found| *found == it.document).unwrap();
        let rest = prompt.only(&|it| subset.contains(u32::try_from(part(it)).unwrap()));
        let input = rest.tokens(&language).unwrap();
        let found = likelihood.of(&input, &output).unwrap();
        assert_eq!(found, naive(&input, &output), "{subset:?}");
        assert!(found < 0);
    }
    let input = prompt.tokens(&language).unwrap();
    let one = likelihood.of(&input, &output[..1]).unwrap();
    assert_eq!(one, naive(&input, &output[..1]));
    assert!(likelihood.of(&[], &output).is_err());
}

#[test]
fn documents_that_say_the_same_beside_each_other_get_the_same() {
    let language = Language::of(engine().model()).unwrap();
    let mut prompt = prompt(&["A lock keeps others out.", "A lock keeps others out.", "Rows."]);
    // Two documents, one passage each, the same words under the same name.
    prompt.passages[1].document = Digest::of_content(b"another document");
    let output = language.tokenizer().encode(" A lock").unwrap();
    let mut likelihood = Likelihood::new(engine());
    let documents = prompt.documents();
    let values: Result<Values> = Values::of(3, &mut |subset| {
        let part = |it: &Quoted| documents.iter().position(|found| *found == it.document).unwrap();
        let rest = prompt.only(&|it| subset.contains(u32::try_from(part(it)).unwrap()));
        likelihood.of(&rest.tokens(&language)?, &output)
    });
    let values = values.unwrap();
    let shapley = values.shapley().unwrap();
    assert_eq!(shapley[0], shapley[1]);
    assert_ne!(shapley[0], shapley[2]);
    let sum: i128 = shapley.iter().map(|share| share.numerator).sum();
    assert_eq!(sum, 6 * (i128::from(values.whole()) - i128::from(values.none())));
}

#[test]
fn millionths_have_a_sign_and_six_places() {
    assert_eq!(signed(0), "+0.000000");
    assert_eq!(signed(-1), "-0.000001");
    assert_eq!(signed(12_345_678), "+12.345678");
    assert_eq!(signed(-2_000_000), "-2.000000");
}
