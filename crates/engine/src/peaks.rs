//! The largest magnitudes that a computation reached beside the bounds that refuse them.

use crate::error::Operation;

/// How near an operation came to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// The operation.
    pub operation: Operation,
    /// The layer in which its largest magnitude arose.
    pub layer: u32,
    /// The magnitude above which it is refused.
    pub bound: u64,
    /// The largest magnitude.
    pub peak: u64,
}

/// The largest magnitude of each operation that was computed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peaks([Option<Headroom>; Operation::ALL.len()]);

impl Peaks {
    pub(crate) fn note(&mut self, operation: Operation, layer: u32, bound: u64, peak: u64) {
        self.raise(Headroom { operation, layer, bound, peak });
    }

    /// Takes over what is larger in another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().flatten().for_each(|headroom| self.raise(*headroom));
    }

    /// What was computed, in the order of the operations.
    pub(crate) fn list(&self) -> Vec<Headroom> {
        self.0.iter().flatten().copied().collect()
    }

    fn raise(&mut self, new: Headroom) {
        let place = &mut self.0[new.operation as usize];
        if place.is_none_or(|old| new.peak > old.peak) {
            *place = Some(new);
        }
    }
}
