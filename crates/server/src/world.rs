//! What the server has of the world outside: a clock and randomness, so that tests can own both.

use std::fmt;

/// Clock and randomness.
pub trait World: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Fills a buffer with randomness fit for keys.
    fn random(&self, bytes: &mut [u8]);
}
