//! Which runs of the ledger may be forgotten.

use std::time::Duration;

use uuid::Uuid;

/// What is known of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its id.
    pub id: Uuid,
    /// Whether its process lives.
    pub goes_on: bool,
    /// Since it ended; since the last sign of one that was killed.
    pub quiet: Duration,
    /// How many tenants of the fleet it was the last to try.
    pub last_of: usize,
}

/// How long runs are remembered. What is not given decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that were quiet for longer may go.
    pub older_than: Option<Duration>,
    /// The newest stay, so many.
    pub keep: Option<usize>,
}

/// Why a run stays that is old enough to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It goes on.
    GoesOn,
    /// So many tenants were last tried by it: why they failed is known from nowhere else.
    LastTry(usize),
}

impl Stay {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::GoesOn => "going-on",
            Self::LastTry(_) => "last-try",
        }
    }
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may be forgotten.
    Goes,
    /// It would be, and stays.
    Stays(Stay),
    /// It is too new to be forgotten.
    IsNew,
}

/// What becomes of each of these runs, which come newest first and are all there are.
///
/// A run goes only where everything that was given lets it go. Without anything none does.
pub fn decide(runs: &[Remembered], retention: Retention) -> Vec<Fate> {
    let fate = |(at, run): (usize, &Remembered)| {
        let asked = retention != Retention::default();
        let old = retention.older_than.is_none_or(|age| run.quiet > age);
        let beyond = retention.keep.is_none_or(|keep| at >= keep);
        match run.last_of {
            _ if !(asked && old && beyond) => Fate::IsNew,
            _ if run.goes_on => Fate::Stays(Stay::GoesOn),
            0 => Fate::Goes,
            tenants => Fate::Stays(Stay::LastTry(tenants)),
        }
    };
    runs.iter().enumerate().map(fate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_hours(24);

    fn run(days: u32, goes_on: bool, last_of: usize) -> Remembered {
        Remembered { id: Uuid::nil(), goes_on, quiet: DAY * days, last_of }
    }

    #[test]
    fn old_runs_go_unless_somebody_needs_them() {
        let runs = [run(1, false, 5), run(40, false, 0), run(41, true, 0), run(42, false, 2)];
        let month = Retention { older_than: Some(DAY * 30), keep: None };
        assert_eq!(
            decide(&runs, month),
            [Fate::IsNew, Fate::Goes, Fate::Stays(Stay::GoesOn), Fate::Stays(Stay::LastTry(2))]
        );
        let both = Retention { keep: Some(2), ..month };
        assert_eq!(decide(&runs, both)[..2], [Fate::IsNew, Fate::IsNew]);
        let newest = Retention { older_than: None, keep: Some(1) };
        assert_eq!(decide(&runs, newest)[..2], [Fate::IsNew, Fate::Goes]);
        assert_eq!(decide(&runs, Retention::default()), [Fate::IsNew; 4]);
    }

    proptest! {
        #[test]
        fn none_goes_that_is_new_goes_on_or_is_needed(
            runs in proptest::collection::vec((0_u32..9, any::<bool>(), 0_usize..3), 0..12),
            days in proptest::option::of(0_u32..9), keep in proptest::option::of(0_usize..9),
        ) {
            let runs: Vec<_> = runs.into_iter().map(|(days, on, of)| run(days, on, of)).collect();
            let fates = decide(&runs, Retention { older_than: days.map(|days| DAY * days), keep });
            for (at, (run, fate)) in runs.iter().zip(&fates).enumerate() {
                let may = (days.is_some() || keep.is_some())
                    && days.is_none_or(|days| run.quiet > DAY * days)
                    && keep.is_none_or(|keep| at >= keep);
                prop_assert_eq!(*fate == Fate::Goes, may && !run.goes_on && run.last_of == 0);
                prop_assert_eq!(*fate == Fate::IsNew, !may);
            }
        }
    }
}
