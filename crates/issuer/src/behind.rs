//! Who is behind an answer: the attribution section that its receipt commits to.

use tally_attribution::attributor::{Answered, Attributor, Retrieved};
use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::{Field, Opening, ReceiptSecret},
    receipt::{Openings, Outcome, Price, Statement},
};

use crate::IssuerError;

/// What an answer's attribution needs besides its statement.
#[derive(Clone, Copy, Debug)]
pub struct Behind<'a> {
    /// What the node knows of contributors.
    pub attributor: &'a Attributor,
    /// The key id that signs the statement.
    pub signer: &'a Digest,
    /// The bytes that the output tokens spell; none of an embedding.
    pub output: &'a [u8],
    /// Registered documents that were put into the input.
    pub context: &'a [Retrieved],
}

/// States who is behind an answer: its price, a commitment to its section, and the opening.
pub(crate) fn attribute(
    statement: &mut Statement,
    openings: &mut Openings,
    secret: &ReceiptSecret,
    behind: &Behind<'_>,
) -> Result<(), IssuerError> {
    let (computation, model_root, input_count, output_count) = match &statement.outcome {
        Outcome::Answer(answer) => {
            let claims = &answer.computation;
            (claims.encode(), claims.model_root, claims.input_count, claims.output_count)
        }
        Outcome::Embedding(embedding) => {
            let claims = &embedding.computation;
            (claims.encode(), claims.model_root, claims.input_count, 0)
        }
        // Nothing was computed, so there is nothing to divide.
        Outcome::Refusal(_) => return Ok(()),
    };
    let template = statement.outcome.preparation().and_then(|it| it.template);
    let section = behind.attributor.attribute(&Answered {
        receipt_id: &statement.id,
        signer: behind.signer,
        computation: &Digest::of_content(&computation),
        model_root: &model_root,
        template: template.as_ref(),
        software: &statement.software,
        input_count,
        output_count,
        output: behind.output,
        context: behind.context,
    })?;
    let asset = behind.attributor.policy().asset.clone();
    statement.price = (section.amount > 0).then_some(Price { asset, amount: section.amount });
    let (salt, value) = (secret.salt(Field::Attribution), section.encode());
    statement.attribution = Some(salt.commit(&value));
    openings.insert(Field::Attribution, Opening { salt, value });
    Ok(())
}
