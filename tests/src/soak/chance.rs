//! Chance, all of it from one seed.
//!
//! Every actor has a source of its own, made of the seed and of its name: what it decides does not
//! depend on who was first. Only the order of events between actors differs from run to run.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// What one actor decides by.
#[derive(Debug)]
pub(super) struct Chance(Rng);

impl Chance {
    /// The source of `who`, which is the same for the same seed.
    pub(super) fn new(seed: u64, who: &str) -> Self {
        // FNV-1a: any mixing will do, as long as it stays what it is.
        let mut mixed = seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in who.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(Rng::with_seed(mixed))
    }

    /// True so often, from never (0) to always (1).
    pub(super) fn often(&mut self, part: f64) -> bool {
        self.0.f64() < part
    }

    /// A number of the range.
    pub(super) fn number(&mut self, range: Range<usize>) -> usize {
        self.0.usize(range)
    }

    /// A time of the range, in seconds.
    pub(super) fn time(&mut self, seconds: Range<f64>) -> Duration {
        let width = seconds.end - seconds.start;
        Duration::from_secs_f64(seconds.start + width * self.0.f64())
    }

    /// The time to the next of events that are so many seconds apart on average, and do not know of
    /// one another.
    pub(super) fn until_next(&mut self, mean: f64) -> Duration {
        // 1 - f64() is above zero.
        Duration::from_secs_f64(-mean * (1.0 - self.0.f64()).ln())
    }

    /// A size of the range, as likely between 100 and 1000 as between 1000 and 10,000.
    pub(super) fn size(&mut self, range: Range<usize>) -> usize {
        let (least, most) = ((range.start as f64).ln(), (range.end as f64).ln());
        // Positive, and below the end of the range.
        (least + (most - least) * self.0.f64()).exp() as usize
    }

    /// One of them.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.0.usize(..of.len())]
    }

    /// One of them, each as likely as its weight says.
    pub(super) fn weighed<T: Copy>(&mut self, of: &[(u32, T)]) -> T {
        let all: u32 = of.iter().map(|(weight, _)| weight).sum();
        let mut at = self.0.u32(..all);
        for (weight, value) in of {
            if at < *weight {
                return *value;
            }
            at -= weight;
        }
        unreachable!("a number below the sum of the weights is within one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_actor_decides_the_same_by_the_same_seed() {
        let first = |seed, who: &str| {
            let mut chance = Chance::new(seed, who);
            (0..8).map(|_| chance.number(0..1000)).collect::<Vec<_>>()
        };
        assert_eq!(first(7, "site 1"), first(7, "site 1"));
        assert_ne!(first(7, "site 1"), first(7, "site 2"));
        assert_ne!(first(7, "site 1"), first(8, "site 1"));
    }

    #[test]
    fn what_is_drawn_fills_its_range() {
        let mut chance = Chance::new(1, "test");
        let sizes: Vec<usize> = (0..1000).map(|_| chance.size(100..2_000_000)).collect();
        assert!(sizes.iter().all(|size| (100..2_000_000).contains(size)));
        assert!(sizes.iter().filter(|size| **size < 1000).count() > 100);
        assert!(sizes.iter().filter(|size| **size > 200_000).count() > 100);
        let weighed = (0..1000).filter(|_| chance.weighed(&[(1, false), (9, true)]));
        let often = weighed.count();
        assert!((850..950).contains(&often), "{often}");
        let mean = (0..1000).map(|_| chance.until_next(2.0).as_secs_f64());
        let mean = mean.sum::<f64>() / 1000.0;
        assert!((1.7..2.3).contains(&mean), "{mean}");
    }
}
