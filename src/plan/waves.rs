//! In which order a fleet is migrated: a few tenants first, the rest when these are well.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::error::{Code, Error};

/// Who is in a wave, of those that no wave before it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wave {
    /// Everybody who fits a selector: `wave=canary`.
    Fitting(String),
    /// The next so many, in the order of their ids: `10`.
    Next(Share),
    /// So many picked evenly over the fleet, the same ones every time: `sample:10`.
    Sample(Share),
    /// Everybody who is left: `rest`.
    Rest,
}

/// How many: a number, or a part of all targets of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Number(usize),
    /// So many of a hundred, rounded up.
    Percent(u8),
}

impl Share {
    /// How many of `all` that is. A part of somebody is somebody: one percent of three is one.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Number(number) => number.min(all),
            Self::Percent(percent) => (all * usize::from(percent)).div_ceil(100),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = Error;

    /// Reads `10` or `10%`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || {
            Error::new(Code::Usage, format!("{text:?} is neither a number nor a percentage"))
                .hint("write 10, or 10% of the run's targets")
        };
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse::<u8>() {
                Ok(percent) if (1..=100).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(refused()),
            },
            None => match text.parse::<usize>() {
                Ok(number) if number > 0 => Ok(Self::Number(number)),
                _ => Err(refused()),
            },
        }
    }
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fitting(selector) => f.write_str(selector),
            Self::Next(share) => share.fmt(f),
            Self::Sample(share) => write!(f, "sample:{share}"),
            Self::Rest => f.write_str("rest"),
        }
    }
}

impl FromStr for Wave {
    type Err = Error;

    /// Reads `wave=canary`, `10`, `25%`, `sample:10`, `sample:5%` or `rest`.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "rest" {
            return Ok(Self::Rest);
        }
        if let Some(share) = text.strip_prefix("sample:") {
            return share.parse().map(Self::Sample);
        }
        if text.contains('=') {
            return Ok(Self::Fitting(text.to_owned()));
        }
        text.parse().map(Self::Next).map_err(|_| {
            Error::new(Code::Usage, format!("{text:?} is not a wave")).hint(
                "write a selector (wave=canary), a number (10), a percentage (25%), sample:10, \
                 sample:5% or rest",
            )
        })
    }
}

/// Divides targets into waves, each target into the first that takes it; who is left is the last
/// wave. Waves that nobody is in are left out. `names` are the targets in their order; `fits` says
/// whether a target fits the selector of a wave.
///
/// Returns the name of each wave with the places of its targets.
pub fn divide(
    waves: &[Wave],
    names: &[String],
    fits: impl Fn(usize, &str) -> bool,
) -> Vec<(String, Vec<usize>)> {
    let mut left: Vec<usize> = (0..names.len()).collect();
    let mut divided = Vec::new();
    for wave in waves {
        let taken: Vec<usize> = match wave {
            Wave::Fitting(selector) => {
                left.iter().copied().filter(|at| fits(*at, selector)).collect()
            }
            Wave::Next(share) => left.iter().copied().take(share.of(names.len())).collect(),
            Wave::Sample(share) => sample(&left, names, share.of(names.len())),
            Wave::Rest => left.clone(),
        };
        left.retain(|at| !taken.contains(at));
        if !taken.is_empty() {
            divided.push((wave.to_string(), taken));
        }
    }
    if !left.is_empty() {
        divided.push((Wave::Rest.to_string(), left));
    }
    divided
}

/// Picks by a hash of the name: evenly, and the same ones in every run.
fn sample(left: &[usize], names: &[String], number: usize) -> Vec<usize> {
    let mut hashed: Vec<([u8; 32], usize)> =
        left.iter().map(|at| (Sha256::digest(names[*at].as_bytes()).into(), *at)).collect();
    hashed.sort_unstable();
    let mut picked: Vec<usize> = hashed.into_iter().take(number).map(|(_, at)| at).collect();
    picked.sort_unstable();
    picked
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn waves(text: &str) -> Vec<Wave> {
        text.split(' ').map(|wave| wave.parse().unwrap()).collect()
    }

    fn names(number: usize) -> Vec<String> {
        (0..number).map(|at| format!("t{at:03}")).collect()
    }

    #[test]
    fn every_form_is_read_and_written_alike() {
        for text in ["wave=canary", "tier!=pro", "10", "25%", "sample:10", "sample:5%", "rest"] {
            assert_eq!(text.parse::<Wave>().unwrap().to_string(), text);
        }
        for text in ["", "0", "0%", "101%", "sample:", "-1", "some"] {
            assert_eq!(text.parse::<Wave>().unwrap_err().code, Code::Usage, "{text}");
        }
    }

    #[test]
    fn a_target_is_in_the_first_wave_that_takes_it() {
        let divided = divide(&waves("w=c 2 50%"), &names(8), |at, _| at == 3);
        assert_eq!(
            divided,
            [
                ("w=c".to_owned(), vec![3]),
                ("2".to_owned(), vec![0, 1]),
                ("50%".to_owned(), vec![2, 4, 5, 6]),
                ("rest".to_owned(), vec![7]),
            ]
        );
    }

    #[test]
    fn without_waves_all_go_together() {
        assert_eq!(divide(&[], &names(2), |_, _| false), [("rest".to_owned(), vec![0, 1])]);
        assert!(divide(&[], &[], |_, _| false).is_empty());
    }

    proptest! {
        #[test]
        fn waves_divide_the_fleet_without_rest_or_overlap(
            number in 0_usize..60,
            specs in proptest::collection::vec(prop_oneof![
                (1_usize..40).prop_map(|n| Wave::Next(Share::Number(n))),
                (1_u8..=100).prop_map(|n| Wave::Sample(Share::Percent(n))),
                Just(Wave::Rest),
                Just(Wave::Fitting("x=y".to_owned())),
            ], 0..5),
        ) {
            let names = names(number);
            let divided = divide(&specs, &names, |at, _| at % 3 == 0);
            let mut all: Vec<usize> = divided.iter().flat_map(|(_, of)| of.clone()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..number).collect::<Vec<_>>());
            prop_assert!(divided.iter().all(|(_, of)| !of.is_empty()));
            prop_assert_eq!(divide(&specs, &names, |at, _| at % 3 == 0), divided);
        }
    }
}
