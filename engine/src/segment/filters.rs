//! How good the filters are made, so that all runs together cost a lookup of an absent key a tenth of a wasted read.
//!
//! A lookup asks one filter of each run. Nobody knows how many runs there will be beside a new one, only how many there
//! are now, and that the later ones will be made knowing of more. So with `n` runs at its making a run's filter lets
//! `0.1 / (4 max(n, 32))` of the absent keys pass. However many are added one by one, up to some 640, the shares come to
//! at most `0.1 / 4 (1 + ln(640 / 32))`: a tenth. From there on it is for merges to make them fewer.
//!
//! What holds most of the data would pay most for that, and there is little of it: a run of many of all keys, which
//! only a merge makes, may let more pass, in proportion.

/// What all runs together may cost a lookup, in wasted reads.
const WASTE: f64 = 0.1;
/// Fewer runs than this are taken for as many.
const RUNS_MIN: u64 = 32;

/// The share of absent keys that the filter of a run may let pass, where there are so many `runs` with it.
pub(crate) fn share_of_one(runs: usize) -> f64 {
    WASTE / (4 * (runs as u64).max(RUNS_MIN)) as f64
}

/// The same for a run that a merge makes, and which has so many of `all` keys.
pub(crate) fn share_of_merged(runs: usize, keys: u64, all: u64) -> f64 {
    let part = keys as f64 / all.max(1) as f64;
    (WASTE / 16.0 * part.min(1.0)).max(share_of_one(runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_stay_within_the_waste() {
        let sum: f64 = (1..640).map(share_of_one).sum();
        assert!(sum <= WASTE, "{sum}");
        // One run of nearly everything, and others beside it.
        let sum = share_of_merged(1, 1000, 1000) + (2..400).map(share_of_one).sum::<f64>();
        assert!(sum <= WASTE + 0.001, "{sum}");
        // A ladder, as merges of equals leave it.
        let (mut sum, mut all) = (0.0, 0);
        for (runs, keys) in (0..12).map(|step| (step + 1, 1 << step)) {
            all += keys;
            sum += share_of_merged(runs, keys, all);
        }
        assert!(sum <= WASTE, "{sum}");
    }
}
