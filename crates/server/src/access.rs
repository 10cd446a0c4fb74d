//! Who may use the node: API keys, known by their hashes alone, each with its own limits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::error::ApiError;

#[cfg(test)]
mod tests;

/// What every key begins with, so that people and scanners know one when they see it.
pub const KEY_PREFIX: &str = "tally-";
/// Most keys of a node.
pub const KEYS_MAX: usize = 4096;
const MINUTE_MS: u64 = 60_000;

/// A key as it is kept: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Whose it is, for the operator.
    pub name: String,
    /// SHA-256 of the key. Keys are 32 random bytes, so nothing slower is needed.
    pub hash: [u8; 32],
    /// Most requests in a minute.
    pub requests_per_minute: u32,
    /// Most requests at a time.
    pub concurrent: u32,
}

/// Who is let in.
#[derive(Debug)]
pub enum Access {
    /// Whoever can reach the address.
    Anyone,
    /// Who has a key.
    Keys(Keys),
}

/// The keys of a node, with what they have used.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<AccessKey>,
    concurrent: Vec<Arc<Semaphore>>,
    /// By key: the minute, and the requests in it.
    minutes: Mutex<BTreeMap<usize, (u64, u32)>>,
}

/// A request that was let in; it counts until this is dropped.
#[derive(Debug)]
pub struct Entrance {
    prefix_scope: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Entrance {
    /// Requests of one key share what was computed of their beginnings, and with nobody else: how
    /// soon an answer begins would tell others what was asked.
    #[must_use]
    pub const fn prefix_scope(&self) -> u64 {
        self.prefix_scope
    }
}

/// A new key from 32 random bytes, and its hash.
#[must_use]
pub fn new_key(random: &[u8; 32]) -> (String, [u8; 32]) {
    let key = format!("{KEY_PREFIX}{}", hex::encode(random));
    let hash = Sha256::digest(key.as_bytes()).into();
    (key, hash)
}

impl Keys {
    /// Takes the keys.
    #[must_use]
    pub fn new(keys: Vec<AccessKey>) -> Self {
        let permits = |key: &AccessKey| Arc::new(Semaphore::new(key.concurrent as usize));
        let concurrent = keys.iter().map(permits).collect();
        Self { keys, concurrent, minutes: Mutex::default() }
    }

    /// Which key has this hash; every key is compared, in time that does not depend on them.
    fn find(&self, presented: &str) -> Option<usize> {
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = 0_u32;
        let mut is_found = Choice::from(0);
        for (index, key) in (0..).zip(&self.keys) {
            let is_this = key.hash.ct_eq(&hash);
            found.conditional_assign(&index, is_this);
            is_found |= is_this;
        }
        bool::from(is_found).then_some(found as usize)
    }
}

impl Access {
    /// That a request presents a key that is known, if any is wanted; nothing is counted.
    ///
    /// # Errors
    /// No key or a wrong one (401).
    pub fn require_key(&self, authorization: Option<&str>) -> Result<(), ApiError> {
        match self {
            Self::Anyone => Ok(()),
            Self::Keys(keys) => keys.presented(authorization).map(drop),
        }
    }

    /// Lets a request in.
    ///
    /// `authorization` is the header's value, `now_ms` the clock.
    ///
    /// # Errors
    /// No key or a wrong one (401), and a key whose limits are used up (429).
    pub fn enter(&self, authorization: Option<&str>, now_ms: u64) -> Result<Entrance, ApiError> {
        let Self::Keys(keys) = self else {
            return Ok(Entrance { prefix_scope: 0, _permit: None });
        };
        let index = keys.presented(authorization)?;
        let limit = keys.keys[index].concurrent;
        let permit = Arc::clone(&keys.concurrent[index]).try_acquire_owned().map_err(|_| {
            let text = format!("this API key may have {limit} requests at a time");
            ApiError::of_status(429, "rate_limit_exceeded", text)
        })?;
        keys.count(index, now_ms)?;
        Ok(Entrance { prefix_scope: index as u64 + 1, _permit: Some(permit) })
    }
}

impl Keys {
    /// Which key a request presents.
    fn presented(&self, authorization: Option<&str>) -> Result<usize, ApiError> {
        // RFC 9110: the name of a scheme is the same in any case.
        let presented = authorization.and_then(|value| value.split_once(' '));
        let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let Some((_, presented)) = presented else {
            let text = "this node wants an API key, in the header `Authorization: Bearer KEY`";
            return Err(ApiError::of_status(401, "missing_api_key", text));
        };
        self.find(presented.trim())
            .ok_or_else(|| ApiError::of_status(401, "invalid_api_key", "this API key is not known"))
    }

    fn count(&self, index: usize, now_ms: u64) -> Result<(), ApiError> {
        let minute = now_ms / MINUTE_MS;
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let used = minutes.entry(index).or_insert((minute, 0));
        if used.0 != minute {
            *used = (minute, 0);
        }
        let limit = self.keys[index].requests_per_minute;
        if used.1 >= limit {
            let text = format!("this API key may make {limit} requests in a minute");
            let error = ApiError::of_status(429, "rate_limit_exceeded", text);
            let rest_ms = MINUTE_MS - now_ms % MINUTE_MS;
            return Err(ApiError { retry_seconds: Some(rest_ms.div_ceil(1000)), ..error });
        }
        used.1 += 1;
        Ok(())
    }
}
