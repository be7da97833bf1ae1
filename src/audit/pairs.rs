//! Which tenants act against which: the choice of pairs that probes try.

use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;

use serde::Serialize;
use siphasher::sip::SipHasher13;

use crate::error::{Code, Error};
use crate::model::tenant::TenantId;

/// How many of all pairs are tried. The same tenants and the same seed give the same pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Pairs {
    /// Each tenant tries one other: as many pairs as tenants.
    #[default]
    Ring,
    /// Each tenant tries every other.
    All,
    /// So many, spread evenly: no tenant acts twice before each has acted once.
    Sample {
        /// How many pairs.
        number: usize,
        /// Another one gives other pairs.
        seed: u64,
    },
}

impl Pairs {
    /// The pairs to try, as places in the list: who acts, and against whom. Without an order of
    /// their own, ring and all stand in the order of the list. With somebody asked about, only
    /// pairs that one of them is part of.
    ///
    /// Costs as much as it returns, unless few of many are asked about.
    pub fn choose<'a>(
        self,
        tenants: &'a [&'a TenantId],
        asked: impl Fn(&TenantId) -> bool + 'a,
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        let count = tenants.len();
        let mut order: Vec<usize> = (0..count).collect();
        let (steps, number) = match self {
            Self::Ring => (1, count),
            Self::All => (count.saturating_sub(1), usize::MAX),
            Self::Sample { number, seed } => {
                order.sort_by_key(|at| (rank(seed, tenants[*at]), *at));
                (count.saturating_sub(1), number)
            }
        };
        // Each step pairs everybody with whoever stands so far behind: all pairs, none twice.
        (1..=steps.min(count.saturating_sub(1)))
            .flat_map(move |step| (0..count).map(move |at| (at, (at + step) % count)))
            .map(move |(acting, target)| (order[acting], order[target]))
            .filter(move |(acting, target)| asked(tenants[*acting]) || asked(tenants[*target]))
            .take(number)
    }

    /// How many pairs so many tenants make.
    pub fn possible(tenants: usize) -> usize {
        tenants * tenants.saturating_sub(1)
    }
}

/// A tenant's place in the order of a sample, which follows from its id and the seed alone.
fn rank(seed: u64, tenant: &TenantId) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0);
    hasher.write(tenant.as_str().as_bytes());
    hasher.finish()
}

/// As the command line takes it.
impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring => f.write_str("--pairs ring"),
            Self::All => f.write_str("--pairs all"),
            Self::Sample { number, seed } => write!(f, "--pairs sample:{number} --seed {seed}"),
        }
    }
}

/// Reads `ring`, `all`, `sample:8` or `sample 8`; the seed is 0.
impl FromStr for Pairs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || {
            Error::new(Code::Usage, format!("{text:?} is no choice of pairs"))
                .hint("use ring, all, or sample:8")
        };
        match text {
            "ring" => Ok(Self::Ring),
            "all" => Ok(Self::All),
            _ => {
                let number = text
                    .strip_prefix("sample")
                    .and_then(|rest| rest.strip_prefix([':', ' ']))
                    .and_then(|number| number.trim().parse().ok())
                    .filter(|number| *number > 0)
                    .ok_or_else(refused)?;
                Ok(Self::Sample { number, seed: 0 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn tenants(number: usize) -> Vec<TenantId> {
        (0..number).map(|at| TenantId::new(format!("t{at}")).unwrap()).collect()
    }

    fn chosen(pairs: Pairs, number: usize) -> Vec<(usize, usize)> {
        let tenants = tenants(number);
        let tenants: Vec<&TenantId> = tenants.iter().collect();
        pairs.choose(&tenants, |_| true).collect()
    }

    #[test]
    fn a_ring_is_each_against_the_next_and_all_is_everybody_against_everybody() {
        assert_eq!(chosen(Pairs::Ring, 3), [(0, 1), (1, 2), (2, 0)]);
        assert_eq!(chosen(Pairs::All, 3), [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0), (2, 1)]);
        for pairs in [Pairs::Ring, Pairs::All, Pairs::Sample { number: 9, seed: 1 }] {
            assert!(chosen(pairs, 0).is_empty() && chosen(pairs, 1).is_empty());
        }
    }

    #[test]
    fn a_seed_gives_the_same_pairs_again_and_another_gives_others() {
        let sample = |seed| chosen(Pairs::Sample { number: 20, seed }, 300);
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1), sample(2));
    }

    #[test]
    fn whoever_is_asked_about_is_part_of_every_pair() {
        let tenants = tenants(50);
        let names: Vec<&TenantId> = tenants.iter().collect();
        let asked = &tenants[7];
        let pairs = Pairs::Sample { number: 5, seed: 3 };
        let chosen: Vec<_> = pairs.choose(&names, |tenant| tenant == asked).collect();
        assert_eq!(chosen.len(), 5);
        assert!(chosen.iter().all(|(acting, target)| *acting == 7 || *target == 7));
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        for (text, pairs) in [
            ("ring", Pairs::Ring),
            ("all", Pairs::All),
            ("sample:8", Pairs::Sample { number: 8, seed: 0 }),
            ("sample 8", Pairs::Sample { number: 8, seed: 0 }),
        ] {
            assert_eq!(text.parse::<Pairs>().unwrap(), pairs);
        }
        for text in ["", "sample", "sample:0", "sample:x", "some"] {
            assert!(text.parse::<Pairs>().is_err(), "{text}");
        }
        let sample = Pairs::Sample { number: 8, seed: 4 };
        assert_eq!(sample.to_string(), "--pairs sample:8 --seed 4");
    }

    proptest! {
        #[test]
        fn no_pair_is_tried_twice_and_work_is_shared_evenly(
            count in 2_usize..40, number in 1_usize..2_000, seed: u64
        ) {
            let pairs = chosen(Pairs::Sample { number, seed }, count);
            prop_assert_eq!(pairs.len(), number.min(Pairs::possible(count)));
            let distinct: BTreeSet<_> = pairs.iter().collect();
            prop_assert_eq!(distinct.len(), pairs.len());
            let acts = |tenant| pairs.iter().filter(|(acting, _)| *acting == tenant).count();
            let counts: Vec<usize> = (0..count).map(acts).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            prop_assert!(pairs.iter().all(|(acting, target)| acting != target));
        }
    }
}
