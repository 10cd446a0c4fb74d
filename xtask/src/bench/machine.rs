//! What the machine gives at best: bytes read from memory and byte products, per second.
#![expect(clippy::cast_precision_loss, reason = "rates are printed with a few digits")]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use tally_engine::Kernels;

/// Bytes that each thread reads: far more than any cache holds for itself.
const READ_BYTES: usize = 1 << 29;
/// Bytes of one independent sum.
const LANES: usize = 64;
const READS: usize = 5;
const MULTIPLYING: Duration = Duration::from_millis(300);

/// The best of several readings of memory by that many threads, in GB/s.
pub(crate) fn read_rate(threads: usize) -> f64 {
    let buffers: Vec<Vec<u64>> = (0..threads).map(|_| vec![1; READ_BYTES / 8]).collect();
    let rates = (0..READS).map(|_| {
        let started = Instant::now();
        thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(|| black_box(sum(buffer)));
            }
        });
        (threads * READ_BYTES) as f64 / started.elapsed().as_secs_f64() / 1e9
    });
    rates.fold(0.0, f64::max)
}

fn sum(buffer: &[u64]) -> u64 {
    let mut lanes = [0_u64; LANES / 8];
    for chunk in buffer.chunks_exact(LANES / 8) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane ^= value;
        }
    }
    lanes.iter().fold(0, |all, lane| all ^ lane)
}

/// Operations on bytes per second of that many threads in Gop/s; a product and its addition are two.
pub(crate) fn byte_rate(kernels: Kernels, threads: usize) -> f64 {
    let started = Instant::now();
    let products: u64 = thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut products = 0;
                    while started.elapsed() < MULTIPLYING {
                        products += kernels.multiply_bytes(1 << 16);
                    }
                    products
                })
            })
            .collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    2.0 * products as f64 / started.elapsed().as_secs_f64() / 1e9
}
