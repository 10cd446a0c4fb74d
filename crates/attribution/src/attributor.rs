//! From an output to its attribution section: what a node does for every answer.

use std::collections::BTreeMap;

use tally_core::{
    Digest,
    attribution::{
        AllocationError, Bound, CONTRIBUTIONS_MAX, Context, Owner, Role, SHARDS_MAX, SPANS_MAX,
        Section, Shard, Span, SplitPolicy,
    },
    contribution::ContributionKind,
    receipt::SignedStatement,
    trace::OUTPUT_BYTES_MAX,
};
use thiserror::Error;

use crate::{
    dataset::documents_root,
    index::{Index, Shards},
    ownership::Ownership,
    registry::{Registered, Registry},
    section::SectionDraft,
};

#[cfg(test)]
mod tests;

/// Why answers cannot be attributed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// There are more indices than an answer is traced in.
    #[error("there are {found} indices, the limit is {SHARDS_MAX}; merge some")]
    Shards {
        /// How many.
        found: usize,
    },
    /// An index holds documents of a dataset that is not registered.
    #[error("index {root} holds documents of contribution {manifest}, which is not registered")]
    Unregistered {
        /// The index.
        root: Digest,
        /// The dataset's manifest.
        manifest: Digest,
    },
    /// Indices do not stand in the order in which their datasets were registered.
    #[error(
        "index {root} holds contribution {manifest}, which was registered before one of an earlier index"
    )]
    Order {
        /// The index.
        root: Digest,
        /// The dataset's manifest.
        manifest: Digest,
    },
    /// An index has other documents of a dataset than those that were registered.
    #[error(
        "an index has documents with root {found} for contribution {manifest}, which names others"
    )]
    Documents {
        /// The dataset's manifest.
        manifest: Digest,
        /// The root of the documents that the index has.
        found: Digest,
    },
    /// The split cannot be computed.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
}

/// What a node knows of those behind its answers.
#[derive(Debug)]
pub struct Attributor {
    policy: SplitPolicy,
    registry: Registry,
    indices: Vec<Index>,
    /// Of each index, the manifests of those who are named as its builders.
    builders: Vec<Vec<Digest>>,
}

/// What one answer is, as far as attribution needs it.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The receipt's id.
    pub receipt_id: &'a [u8; 16],
    /// The key id that signs the statement.
    pub signer: &'a Digest,
    /// SHA-256 of the encoded computation map.
    pub computation: &'a Digest,
    /// The model's root.
    pub model_root: &'a Digest,
    /// The chat template's digest, if it has one.
    pub template: Option<&'a Digest>,
    /// The statement's software claim.
    pub software: &'a str,
    /// How many tokens went in.
    pub input_count: u32,
    /// How many came out.
    pub output_count: u32,
    /// The bytes that the output tokens spell.
    pub output: &'a [u8],
    /// Registered documents that were put into the input.
    pub context: &'a [Retrieved],
}

/// A part of a registered document that was put into an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retrieved {
    /// The dataset's manifest.
    pub dataset: Digest,
    /// SHA-256 of the whole document.
    pub document: Digest,
    /// Its first byte within the document.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
}

impl Attributor {
    /// Takes what a node knows; the indices stand in the order of registration.
    ///
    /// # Errors
    /// If an index is of what is not registered or of other documents, or out of order.
    pub fn new(
        policy: SplitPolicy,
        registry: Registry,
        indices: Vec<Index>,
    ) -> Result<Self, AttributeError> {
        if indices.len() as u64 > SHARDS_MAX {
            return Err(AttributeError::Shards { found: indices.len() });
        }
        let mut last = None;
        for index in &indices {
            let root = index.root();
            let mut documents = documents_of(index);
            for manifest in &index.shard().contributions {
                let manifest = *manifest;
                let Some(registered) = registry.get(&manifest) else {
                    return Err(AttributeError::Unregistered { root, manifest });
                };
                if last.is_some_and(|last| registered.log_index <= last) {
                    return Err(AttributeError::Order { root, manifest });
                }
                last = Some(registered.log_index);
                let found = documents_root(documents.next().unwrap_or_default());
                if found != registered.contribution.subject {
                    return Err(AttributeError::Documents { manifest, found });
                }
            }
        }
        let builders = builders_of(&registry, &indices);
        Ok(Self { policy, registry, indices, builders })
    }

    /// The split policy.
    #[must_use]
    pub const fn policy(&self) -> &SplitPolicy {
        &self.policy
    }

    /// What is registered.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The indices that outputs are traced in.
    #[must_use]
    pub fn indices(&self) -> &[Index] {
        &self.indices
    }

    /// Whom an output's bytes belong to.
    #[must_use]
    pub fn trace(&self, output: &[u8]) -> Ownership {
        Ownership::of(output, self.policy.window.into(), &Shards(&self.indices))
    }

    /// Makes the section of one answer.
    ///
    /// An output that is too long to be traced, or that repeats the texts of more contributions or in
    /// more pieces than a section can name, is traced in no index, which the section says.
    ///
    /// # Errors
    /// If the split cannot be computed.
    pub fn attribute(&self, answered: &Answered<'_>) -> Result<Section, AttributeError> {
        if !self.indices.is_empty()
            && answered.output.len() as u64 <= u64::from(OUTPUT_BYTES_MAX)
            && let Some(section) = self.section(answered, &self.indices)?
        {
            return Ok(section);
        }
        match self.section(answered, &[])? {
            Some(section) => Ok(section),
            None => self.nobody(answered),
        }
    }

    /// The section with an output traced in some indices; nothing if too many are behind it.
    fn section(
        &self,
        answered: &Answered<'_>,
        indices: &[Index],
    ) -> Result<Option<Section>, AttributeError> {
        let traced = Ownership::of(answered.output, self.policy.window.into(), &Shards(indices));
        if traced.spans.len() as u64 > SPANS_MAX {
            return Ok(None);
        }
        let roles = self.roles(answered);
        let owner_of = |shard: u32, document: u32| -> Option<Digest> {
            let index = indices.get(shard as usize)?;
            let number = index.document(document)?.contribution;
            index.shard().contributions.get(number as usize).copied()
        };
        let owners = traced.spans.iter().filter_map(|span| span.owner);
        let owners: Vec<Digest> =
            owners.filter_map(|owner| owner_of(owner.shard, owner.document)).collect();
        let builders = &self.builders[..indices.len()];
        let named = roles.iter().map(|(_, it)| it.manifest).chain(owners);
        let named = named.chain(builders.iter().flatten().copied());
        let named = named.chain(answered.context.iter().map(|context| context.dataset));
        let all = self.registry.with_ancestors(named);
        if all.len() as u64 > CONTRIBUTIONS_MAX {
            return Ok(None);
        }
        let places: BTreeMap<Digest, u16> = all.iter().map(|it| it.manifest).zip(0..).collect();
        let place = |manifest: &Digest| places.get(manifest).copied();
        let spans = traced.spans.iter().map(|span| Span {
            end: span.end,
            owner: span.owner.and_then(|owner| {
                Some(Owner {
                    shard: u16::try_from(owner.shard).ok()?,
                    document: owner.document,
                    contribution: place(&owner_of(owner.shard, owner.document)?)?,
                })
            }),
        });
        let shard = |(index, builders): (&Index, &Vec<Digest>)| Shard {
            root: index.root(),
            built_by: builders.iter().filter_map(place).collect(),
        };
        let context = answered.context.iter().filter_map(|it| {
            let (document, start, end) = (it.document, it.start, it.end);
            Some(Context { contribution: place(&it.dataset)?, document, start, end })
        });
        let bound = roles.iter().filter_map(|(role, it)| {
            Some(Bound { role: *role, contribution: place(&it.manifest)? })
        });
        let draft = SectionDraft {
            policy: &self.policy,
            contributions: all.into_iter().map(pair).collect(),
            bound: bound.collect(),
            context: context.collect(),
            output: answered.output.to_vec(),
            shards: indices.iter().zip(builders).map(shard).collect(),
            spans: spans.collect(),
        };
        self.finish(draft, answered).map(Some)
    }

    /// A section that names nobody at all.
    fn nobody(&self, answered: &Answered<'_>) -> Result<Section, AttributeError> {
        let end = u32::try_from(answered.output.len()).unwrap_or(u32::MAX);
        let draft = SectionDraft {
            policy: &self.policy,
            contributions: vec![],
            bound: vec![],
            context: vec![],
            output: answered.output.to_vec(),
            shards: vec![],
            spans: (end > 0).then_some(Span { end, owner: None }).into_iter().collect(),
        };
        self.finish(draft, answered)
    }

    fn finish(
        &self,
        draft: SectionDraft<'_>,
        answered: &Answered<'_>,
    ) -> Result<Section, AttributeError> {
        let amount = self.policy.tariff.amount(answered.input_count, answered.output_count);
        Ok(draft.finish(answered.receipt_id, answered.computation, amount)?)
    }

    /// The first that were registered for what the statement names, in the order of roles.
    fn roles(&self, answered: &Answered<'_>) -> Vec<(Role, &Registered)> {
        let software = Digest::of_content(answered.software.as_bytes());
        let subjects = [
            (Role::Node, Some(answered.signer)),
            (Role::Weights, Some(answered.model_root)),
            (Role::Code, Some(&software)),
            (Role::Prompt, answered.template),
        ];
        let first = |(role, subject): (Role, Option<&Digest>)| {
            Some((role, self.registry.first(role.kind(), subject?)?))
        };
        subjects.into_iter().filter_map(first).collect()
    }
}

/// The digests of an index's documents, one list for each of its contributions.
fn documents_of(index: &Index) -> impl Iterator<Item = Vec<Digest>> {
    let mut documents = vec![vec![]; index.shard().contributions.len()];
    for document in index.documents() {
        if let Some(own) = documents.get_mut(document.contribution as usize) {
            own.push(document.digest);
        }
    }
    documents.into_iter()
}

/// Of each index the first who say that they built it, as far as they and all that they name as
/// parents have room.
///
/// Half of a section's places are for others, however many say that they built an index and however
/// long their lineages are: whoever registers an index must not keep answers from being traced.
fn builders_of(registry: &Registry, indices: &[Index]) -> Vec<Vec<Digest>> {
    let places_max = CONTRIBUTIONS_MAX / 2 / (indices.len() as u64).max(1);
    let builders_of = |index: &Index| {
        let mut builders: Vec<Digest> = vec![];
        let built = registry.of_subject(ContributionKind::Index, index.root());
        for (_, it) in (0..places_max).zip(built) {
            let named = builders.iter().copied().chain([it.manifest]);
            if registry.with_ancestors(named).len() as u64 <= places_max {
                builders.push(it.manifest);
            }
        }
        builders
    };
    indices.iter().map(builders_of).collect()
}

fn pair(registered: &Registered) -> (SignedStatement, tally_core::contribution::Contribution) {
    (registered.signed.clone(), registered.contribution.clone())
}

#[cfg(test)]
mod hostile;
