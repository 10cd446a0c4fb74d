//! How well a method's estimates foretold what retraining showed: the file that a measurement leaves.
//!
//! The measure is the linear datamodeling score (LDS): small models are trained on random halves of
//! the families; of each held-out text the scores of a half, added up, are compared with the loss of
//! its model by Spearman's rank correlation over the halves; the mean over the texts is the LDS.

use std::fmt;

use serde::{Deserialize, Serialize};
use tally_core::Digest;
use thiserror::Error;

use super::METHOD;

/// Fewest subsets and held-out texts from which an accuracy is taken.
const SUBSETS_MIN: u32 = 64;
/// Fewest held-out texts.
const QUERIES_MIN: u32 = 50;
/// A correlation of one, in the unit of [`Correlation`].
const ONE: i32 = 10_000;
const BYTES_MAX: usize = 1 << 16;

/// Why a measurement is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccuracyError {
    /// The file has more bytes than are read.
    #[error("the measurement has {found} bytes, the limit is {BYTES_MAX}")]
    Size {
        /// Its bytes.
        found: usize,
    },
    /// The file is not the JSON of its format.
    #[error("the measurement cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// It is of another method.
    #[error("the measurement is of method {found}, expected {METHOD}")]
    Method {
        /// The method found.
        found: String,
    },
    /// It is of too little to say anything.
    #[error("the measurement is of {found} {what}, expected at least {expected}")]
    Few {
        /// Of what.
        what: &'static str,
        /// How many are demanded.
        expected: u32,
        /// How many there are.
        found: u32,
    },
    /// A correlation or its interval is none.
    #[error("{name}: {found} is no correlation with an interval around it")]
    Correlation {
        /// What correlates.
        name: String,
        /// Its text.
        found: Correlation,
    },
    /// A digest is none.
    #[error("{what} is no digest: {found}")]
    Digest {
        /// Whose.
        what: &'static str,
        /// The text found.
        found: String,
    },
}

/// A mean rank correlation and its 95 % interval, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correlation {
    /// The mean over the held-out texts.
    pub mean: i32,
    /// Lower end of the interval.
    pub low: i32,
    /// Upper end of the interval.
    pub high: i32,
}

/// What else was measured on the same models, for comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// What gave the scores.
    pub name: String,
    /// How well they foretold the losses.
    pub lds: Correlation,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// The method by its name.
    pub method: String,
    /// On what it was measured, in words.
    pub measured_on: String,
    /// Root of the small model that learned from all families.
    pub model: String,
    /// Digest of the texts that stand for the families.
    pub sample: String,
    /// How many families.
    pub families: u32,
    /// How many halves of them were trained on.
    pub subsets: u32,
    /// How many held-out texts.
    pub queries: u32,
    /// The method's LDS.
    pub lds: Correlation,
    /// Others'.
    pub beside: Vec<Beside>,
}

impl Accuracy {
    /// Reads a measurement of this method.
    ///
    /// # Errors
    /// If it is not that, of too few subsets or texts, or its numbers cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, AccuracyError> {
        let found = bytes.len();
        if found > BYTES_MAX {
            return Err(AccuracyError::Size { found });
        }
        let it: Self = serde_json::from_slice(bytes)?;
        if it.method != METHOD {
            return Err(AccuracyError::Method { found: it.method });
        }
        for (what, found, expected) in
            [("subsets", it.subsets, SUBSETS_MIN), ("held-out texts", it.queries, QUERIES_MIN)]
        {
            if found < expected {
                return Err(AccuracyError::Few { what, expected, found });
            }
        }
        let beside = it.beside.iter().map(|it| (it.name.as_str(), it.lds));
        for (name, found) in [(METHOD, it.lds)].into_iter().chain(beside) {
            if !found.is_legal() {
                return Err(AccuracyError::Correlation { name: name.to_owned(), found });
            }
        }
        for (what, found) in [("the sample", &it.sample), ("the model", &it.model)] {
            if Digest::parse_hex(found).is_none() {
                return Err(AccuracyError::Digest { what, found: found.clone() });
            }
        }
        Ok(it)
    }
}

impl Correlation {
    fn is_legal(self) -> bool {
        (-ONE..=self.mean).contains(&self.low) && (self.mean..=ONE).contains(&self.high)
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [mean, low, high] = [self.mean, self.low, self.high].map(|number| {
            // Hundredths, rounded; enough for an interval of this kind.
            let hundredths = (number.unsigned_abs() + 50) / 100;
            let sign = if number < 0 && hundredths > 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", hundredths / 100, hundredths % 100)
        });
        write!(f, "{mean} ({low} to {high})")
    }
}
