//! The linear datamodeling score with its interval.
#![expect(clippy::cast_precision_loss, reason = "ranks and counts are small")]

use super::word;

/// Resamplings of texts and subsets for the interval.
const RESAMPLINGS: usize = 1_000;
/// Places in the order of the resamplings that bound 95 % of them.
const INTERVAL: [usize; 2] = [24, 975];

/// What scores came to.
pub(super) struct Measured {
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Of each text.
    pub(super) correlations: Vec<f64>,
}

/// Compares scores (texts, families) with losses (subsets, texts).
pub(super) fn measure(
    scores: &[Vec<f64>],
    subsets: &[Vec<usize>],
    losses: &[Vec<f64>],
) -> Measured {
    // (texts, subsets): what is foretold, the higher the likelier the text, and what came.
    let foretold: Vec<Vec<f64>> = scores
        .iter()
        .map(|scores| {
            subsets.iter().map(|it| it.iter().map(|family| scores[*family]).sum()).collect()
        })
        .collect();
    let came: Vec<Vec<f64>> =
        (0..scores.len()).map(|text| losses.iter().map(|losses| -losses[text]).collect()).collect();
    let of = |texts: &[usize], subsets: &[usize]| -> Vec<f64> {
        let pick = |numbers: &[f64]| subsets.iter().map(|at| numbers[*at]).collect::<Vec<f64>>();
        texts.iter().map(|text| spearman(&pick(&foretold[*text]), &pick(&came[*text]))).collect()
    };
    let all = |count: usize| (0..count).collect::<Vec<usize>>();
    let correlations = of(&all(scores.len()), &all(subsets.len()));
    let mut resampled: Vec<f64> = (0..RESAMPLINGS)
        .map(|round| {
            let texts = drawn(2 * round, scores.len());
            mean(&of(&texts, &drawn(2 * round + 1, subsets.len())))
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    let [low, high] = INTERVAL.map(|place| resampled[place]);
    let mean = mean(&correlations);
    Measured { mean, low: low.min(mean), high: high.max(mean), correlations }
}

/// Standard deviation of a text's losses over the subsets, in the mean over the texts.
pub(super) fn spread(losses: &[Vec<f64>]) -> f64 {
    let texts = losses.first().map_or(0, Vec::len);
    let deviation = |text: usize| {
        let numbers: Vec<f64> = losses.iter().map(|losses| losses[text]).collect();
        let centre = mean(&numbers);
        let squares: Vec<f64> = numbers.iter().map(|it| (it - centre).powi(2)).collect();
        mean(&squares).sqrt()
    };
    mean(&(0..texts).map(deviation).collect::<Vec<f64>>())
}

/// As many places as there are, drawn with replacement.
fn drawn(stream: usize, count: usize) -> Vec<usize> {
    let stream = u32::try_from(stream).unwrap_or(u32::MAX);
    (0..count).map(|index| word(stream, index) as usize % count).collect()
}

/// Spearman's rank correlation; zero where one side does not vary.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let [a, b] = [a, b].map(|numbers| {
        let ranks = ranks(numbers);
        let centre = mean(&ranks);
        ranks.into_iter().map(|rank| rank - centre).collect::<Vec<f64>>()
    });
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if lengths == 0.0 { 0.0 } else { dot(&a, &b) / lengths }
}

/// The rank of each number; equal ones have their mean rank.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    let (mut ranks, mut place) = (vec![0.0; numbers.len()], 0);
    for equal in order.chunk_by(|a, b| numbers[*a] == numbers[*b]) {
        for index in equal {
            ranks[*index] = place as f64 + (equal.len() - 1) as f64 / 2.0;
        }
        place += equal.len();
    }
    ranks
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_equal_numbers_are_their_mean() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
    }

    #[test]
    fn a_rank_correlation_is_known_at_its_ends_and_between() {
        assert!((spearman(&[1.0, 2.0, 9.0], &[-3.0, 0.0, 0.5]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 9.0], &[3.0, 0.0, -0.5]) + 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[2.0, 1.0, 4.0, 3.0]) - 0.6).abs() < 1e-12);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).abs() < 1e-12);
    }

    #[test]
    fn additive_losses_are_foretold_and_their_opposite_is_not() {
        let families = 20;
        let value = |text: usize, family: usize| f64::from(word(7, text * families + family)) / 4e9;
        let scores: Vec<Vec<f64>> =
            (0..30).map(|text| (0..families).map(|it| value(text, it)).collect()).collect();
        let subsets = super::super::halves(families, 40).split_off(1);
        let losses: Vec<Vec<f64>> = subsets
            .iter()
            .map(|it| {
                scores.iter().map(|text| -it.iter().map(|at| text[*at]).sum::<f64>()).collect()
            })
            .collect();
        let right = measure(&scores, &subsets, &losses);
        assert!((right.mean - 1.0).abs() < 1e-9 && right.low > 0.999);
        let wrong: Vec<Vec<f64>> =
            scores.iter().map(|text| text.iter().map(|it| -it).collect()).collect();
        assert!((measure(&wrong, &subsets, &losses).mean + 1.0).abs() < 1e-9);
        let others: Vec<Vec<f64>> = (0..30)
            .map(|text| (0..families).map(|it| f64::from(word(8, text * families + it))).collect())
            .collect();
        let random = measure(&others, &subsets, &losses);
        assert!(random.low < 0.0 && random.high > 0.0, "{} {}", random.low, random.high);
    }
}
