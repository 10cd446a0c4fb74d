//! Shapley values beside a naive enumeration of all orders, and the axioms that single them out.

use std::convert::Infallible;

use tally_core::philox::SamplerKey;

use super::*;

fn values(parts: u32, value: impl Fn(Subset) -> i64) -> Values {
    let found: Result<_, Infallible> = Values::of(parts, &mut |subset| Ok(value(subset)));
    found.unwrap_or_else(|never| match never {})
}

/// A value of each set that nothing but a seed explains.
fn random(seed: u8) -> impl Fn(Subset) -> i64 {
    let key = SamplerKey::from_seed(&[seed; 32]);
    move |subset: Subset| {
        let position = u32::try_from(subset.0 >> 56).unwrap();
        i64::from(key.word(position, 0, 0)) - (1 << 31)
    }
}

/// All orders of the numbers below `count`.
fn orders(count: u32) -> Vec<Vec<u32>> {
    if count == 0 {
        return vec![vec![]];
    }
    let shorter = orders(count - 1);
    let longer = shorter.iter().flat_map(|order| {
        (0..=order.len()).map(move |at| {
            let mut longer = order.clone();
            longer.insert(at, count - 1);
            longer
        })
    });
    longer.collect()
}

/// Adds the parts in every order and sums what each adds when its turn comes.
fn naive(parts: u32, value: &dyn Fn(Subset) -> i64) -> Vec<i128> {
    let mut sums = vec![0_i128; parts as usize];
    for order in orders(parts) {
        let mut set = Subset::NONE;
        for part in order {
            let with = Subset(set.0 | bit(part));
            sums[part as usize] += i128::from(value(with)) - i128::from(value(set));
            set = with;
        }
    }
    sums
}

#[test]
fn shapley_values_are_those_of_a_naive_enumeration_of_all_orders() {
    for parts in 0..=7 {
        for seed in 0..3 {
            let value = random(seed);
            let shapley = values(parts, &value).shapley().unwrap();
            let numerators: Vec<i128> = shapley.iter().map(|share| share.numerator).collect();
            assert_eq!(numerators, naive(parts, &value), "{parts} parts, seed {seed}");
            let count = orders(parts).len() as u64;
            assert!(shapley.iter().all(|share| share.denominator == count));
        }
    }
}

#[test]
fn they_sum_to_the_whole_less_nothing_exactly() {
    for parts in 1..=SHAPLEY_PARTS_MAX {
        let values = values(parts, random(9));
        let shapley = values.shapley().unwrap();
        let sum: i128 = shapley.iter().map(|share| share.numerator).sum();
        let difference = i128::from(values.whole()) - i128::from(values.none());
        assert_eq!(sum, difference * i128::from(shapley[0].denominator));
    }
}

#[test]
fn parts_that_can_be_exchanged_get_the_same_and_a_dummy_gets_what_it_adds() {
    let of = random(3);
    // Part 3 never changes anything, part 2 always adds 5, parts 0 and 1 count alike.
    let value = |subset: Subset| {
        let alike = u32::from(subset.contains(0)) + u32::from(subset.contains(1));
        let rest = Subset(u64::from(alike) << 56);
        of(rest) + 5 * i64::from(subset.contains(2))
    };
    let found = values(4, value);
    let shapley = found.shapley().unwrap();
    assert_eq!(shapley[0], shapley[1]);
    assert_ne!(shapley[0].numerator, 0);
    assert_eq!(shapley[2].numerator, 5 * 24);
    assert_eq!(shapley[3].numerator, 0);
    let without = found.leave_one_out();
    assert_eq!((without[2], without[3]), (5, 0));
    assert_eq!(without[0], without[1]);
}

#[test]
fn values_add_up_where_the_valued_does() {
    let (a, b) = (random(1), random(2));
    let shares = |value: &dyn Fn(Subset) -> i64| values(5, value).shapley().unwrap();
    let both = shares(&|subset| a(subset) + b(subset));
    for ((a, b), both) in shares(&a).iter().zip(shares(&b)).zip(both) {
        assert_eq!(a.numerator + b.numerator, both.numerator);
    }
}

#[test]
fn beyond_the_limit_only_single_removals_are_valued() {
    for parts in [SHAPLEY_PARTS_MAX + 1, 33, PARTS_MAX - 1, PARTS_MAX] {
        let mut seen = vec![];
        let found: Result<_, Infallible> = Values::of(parts, &mut |subset| {
            seen.push(subset);
            Ok(i64::from(subset.count() * subset.count()))
        });
        let found = found.unwrap_or_else(|never| match never {});
        assert_eq!(seen.len(), parts as usize + 2);
        assert!(seen.is_sorted());
        assert_eq!(found.shapley(), None);
        assert_eq!(found.leave_one_out(), vec![i128::from(2 * parts - 1); parts as usize]);
    }
    assert_eq!(subsets(PARTS_MAX + 1).len(), PARTS_MAX as usize + 2);
    assert_eq!(subsets(0), [Subset::NONE]);
    assert_eq!(subsets(8).len(), 256);
}

#[test]
fn neighbouring_sets_begin_alike() {
    let shown = |subset: Subset| -> String {
        (0..3).map(|part| if subset.contains(part) { 'x' } else { '-' }).collect()
    };
    let all: Vec<String> = subsets(3).into_iter().map(shown).collect();
    assert_eq!(all, ["---", "--x", "-x-", "-xx", "x--", "x-x", "xx-", "xxx"]);
    assert_eq!(shown(Subset::whole(2)), "xx-");
}

#[test]
fn a_fraction_is_rounded_to_the_nearest_with_halves_upwards() {
    let rounded = |numerator| Fraction { numerator, denominator: 6 }.rounded();
    assert_eq!([-10, -9, -3, -2, 0, 2, 3, 8, 9].map(rounded), [-2, -1, 0, 0, 0, 0, 1, 1, 2]);
}
