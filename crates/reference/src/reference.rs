//! A model of any architecture, computed in floats.

use ndarray::{Array2, Axis};

use tally_engine::source::{Source, SourceConfig};

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::ReferenceError;

/// Most positions whose logits are in memory at once.
const POSITIONS_MAX: usize = 64;

/// A source's model in binary32: products and residuals in binary32, statistics in binary64.
#[derive(Debug)]
pub struct Reference {
    body: Body,
    context_len: usize,
    vocabulary_size: u32,
}

#[derive(Debug)]
enum Body {
    Decoder(Box<Decoder>),
    Encoder(Box<Encoder>),
}

impl Reference {
    /// Loads every tensor of a source: four bytes for each weight.
    ///
    /// # Errors
    /// A tensor that is missing, of another size, or unreadable.
    pub fn new(source: &Source) -> Result<Self, ReferenceError> {
        let (config, weights): (&SourceConfig, _) = (&source.config, &source.weights);
        let body = match &config.pooling {
            Some(pooling) => Body::Encoder(Box::new(Encoder::load(config, weights, *pooling)?)),
            None => Body::Decoder(Box::new(Decoder::load(config, weights)?)),
        };
        let (context_len, vocabulary_size) = (config.context_len as usize, config.vocabulary_size);
        Ok(Self { body, context_len, vocabulary_size })
    }

    /// Gives the logits after each token of a text, in order, to `on_logits` with its position.
    ///
    /// # Errors
    /// An encoder, no token, more than the context has, or one that the vocabulary lacks.
    pub fn logits(
        &self,
        tokens: &[u32],
        on_logits: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), ReferenceError> {
        let decoder = self.decoder(tokens)?;
        let mut last = None;
        decoder.run(tokens, |layer, hidden| {
            if layer + 1 == decoder.layer_count() {
                last = Some(hidden.clone());
            }
        });
        let positions: Vec<usize> = (0..tokens.len()).collect();
        if let Some(hidden) = last {
            heads(decoder, &hidden, &positions, on_logits);
        }
        Ok(())
    }

    /// Gives what the final norm and head make of the residual stream after every layer to
    /// `on_logits`, with the index of the layer and the position.
    ///
    /// # Errors
    /// As [`logits`](Self::logits), and a position that the text lacks.
    pub fn lens(
        &self,
        tokens: &[u32],
        positions: &[usize],
        on_logits: &mut dyn FnMut(usize, usize, &[f32]),
    ) -> Result<(), ReferenceError> {
        let decoder = self.decoder(tokens)?;
        if let Some(found) = positions.iter().find(|position| **position >= tokens.len()) {
            return Err(ReferenceError::Position { limit: tokens.len(), found: *found });
        }
        decoder.run(tokens, |layer, hidden| {
            heads(decoder, hidden, positions, &mut |position, logits| {
                on_logits(layer, position, logits);
            });
        });
        Ok(())
    }

    /// A text's pooled embedding, of length one where the model asks for that.
    ///
    /// # Errors
    /// A decoder, no token, more than the context has, or one that the vocabulary lacks.
    pub fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, ReferenceError> {
        self.appraise(tokens)?;
        match &self.body {
            Body::Encoder(encoder) => Ok(encoder.embed(tokens)),
            Body::Decoder(_) => {
                Err(ReferenceError::Kind { expected: "an encoder", found: "a decoder" })
            }
        }
    }

    fn decoder(&self, tokens: &[u32]) -> Result<&Decoder, ReferenceError> {
        self.appraise(tokens)?;
        match &self.body {
            Body::Decoder(decoder) => Ok(decoder),
            Body::Encoder(_) => {
                Err(ReferenceError::Kind { expected: "a decoder", found: "an encoder" })
            }
        }
    }

    fn appraise(&self, tokens: &[u32]) -> Result<(), ReferenceError> {
        let (limit, found) = (self.context_len, tokens.len());
        if found == 0 {
            return Err(ReferenceError::Empty);
        }
        if found > limit {
            return Err(ReferenceError::TooLong { limit, found });
        }
        let limit = self.vocabulary_size;
        match tokens.iter().find(|token| **token >= limit) {
            Some(found) => Err(ReferenceError::Token { limit, found: *found }),
            None => Ok(()),
        }
    }
}

/// The logits of some positions of (tokens, width).
fn heads(
    decoder: &Decoder,
    hidden: &Array2<f32>,
    positions: &[usize],
    on_logits: &mut dyn FnMut(usize, &[f32]),
) {
    for block in positions.chunks(POSITIONS_MAX) {
        let logits = decoder.head(hidden.select(Axis(0), block));
        for (row, position) in logits.rows().into_iter().zip(block) {
            on_logits(*position, &row.to_vec());
        }
    }
}
