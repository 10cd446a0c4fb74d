//! What steers the draws of one output: how often each token stands in it, and the grammar that it
//! follows (`spec/arithmetic.md`, A-40).

use std::collections::BTreeMap;

use tally_core::computation::{Controls, TokenId};

use crate::grammar::Constraint;
use crate::language::{Language, LanguageError};
use crate::sampler::Adjustments;

/// The state between two draws of one output; without a grammar by default.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    counts: BTreeMap<TokenId, u32>,
    constraint: Option<Constraint>,
}

impl Steering {
    /// Before the first token; compiles the grammar, if there is one.
    pub(crate) fn new(language: &Language, controls: &Controls) -> Result<Self, LanguageError> {
        let constraint = controls.grammar.as_ref().map(|grammar| language.grammar(grammar));
        Ok(Self { counts: BTreeMap::new(), constraint: constraint.transpose()? })
    }

    /// What the next draw depends on; `controls` are those that [`Steering::new`] had.
    pub(crate) fn adjustments<'a>(
        &'a mut self,
        controls: &'a Controls,
    ) -> Result<Adjustments<'a>, LanguageError> {
        let allowed = self.constraint.as_mut().map(Constraint::allowed).transpose()?;
        Ok(Adjustments { counts: &self.counts, bias: &controls.bias, allowed })
    }

    /// Goes on by the token that was drawn.
    pub(crate) fn accept(&mut self, token: TokenId) -> Result<(), LanguageError> {
        let count = self.counts.entry(token).or_default();
        *count = count.saturating_add(1);
        match &mut self.constraint {
            Some(constraint) => Ok(constraint.accept(token)?),
            None => Ok(()),
        }
    }
}
