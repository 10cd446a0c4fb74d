//! Rotary positions: which angle each pair of channels turns by, with every scaling of it.

use std::f64::consts::TAU;

use ndarray::Array2;

use tally_engine::source::{Rotation, RotationScaling};

use crate::load::{binary64, decimal};

/// Radians per position of each pair of a head.
#[derive(Debug)]
pub(crate) struct Speeds(Vec<f64>);

impl Speeds {
    pub(crate) fn new(rotation: &Rotation, head_dim: usize) -> Self {
        let theta = decimal(rotation.theta);
        let speed = |pair: usize| theta.powf(-((2 * pair) as f64) / head_dim as f64);
        Self((0..head_dim / 2).map(|pair| scaled(speed(pair), pair, &rotation.scaling)).collect())
    }

    /// Turns every head of every row by its position; channel i turns with channel i + d/2.
    pub(crate) fn rotate(&self, rows: &mut Array2<f32>) {
        let half = self.0.len();
        for (position, mut row) in rows.rows_mut().into_iter().enumerate() {
            let turns = self.0.iter().map(|speed| (position as f64 * speed).sin_cos());
            for (pair, (sine, cosine)) in turns.enumerate() {
                for head in (0..row.len()).step_by(2 * half) {
                    let (a, b) = (row[head + pair], row[head + pair + half]);
                    let (wide_a, wide_b) = (f64::from(a), f64::from(b));
                    row[head + pair] = (wide_a * cosine - wide_b * sine) as f32;
                    row[head + pair + half] = (wide_b * cosine + wide_a * sine) as f32;
                }
            }
        }
    }
}

fn scaled(speed: f64, pair: usize, scaling: &RotationScaling) -> f64 {
    match scaling {
        RotationScaling::None => speed,
        RotationScaling::Linear { factor } => speed / decimal(*factor),
        RotationScaling::Factors(factors) => {
            speed / factors.get(pair).map_or(1.0, |factor| binary64(*factor))
        }
        RotationScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let (low, high) = (decimal(*low_freq_factor), decimal(*high_freq_factor));
            // How often the pair turns within the context that it was trained for.
            let turns = f64::from(*original_context) * speed / TAU;
            let slow = speed / decimal(*factor);
            let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - share) * slow + share * speed
        }
    }
}
