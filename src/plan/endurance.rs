//! How much a run endures: what is tried again, after how long, and when enough has failed.

use std::time::Duration;

use super::waves::Share;

/// How often a target is tried, the first time included.
pub const ATTEMPTS: u32 = 5;

/// Whether a failure says that another session was in the way and nothing was done, so that the
/// same may work a moment later: a lock that was not given in time, a deadlock, a transaction that
/// could not be serialised, an object in use. Nothing else is ever tried again.
pub fn is_passing(sqlstate: &str) -> bool {
    matches!(sqlstate, "55P03" | "40P01" | "40001" | "55006")
}

/// Whether a server gives no session now and may give one in a moment: it is full, or starting.
pub fn is_unready(sqlstate: &str) -> bool {
    matches!(sqlstate, "53300" | "57P03")
}

/// How long to leave a target alone after so many attempts: doubling from a quarter of a second to
/// eight seconds, with up to as much again at the whim of `chance`, so that two who met do not meet
/// again.
pub fn pause(attempts: u32, chance: u32) -> Duration {
    let base = 250_u64 << attempts.saturating_sub(1).min(5);
    Duration::from_millis(base + u64::from(chance) % base)
}

/// Whether so many failures of so many targets are more than a run endures.
pub fn is_too_much(failed: usize, targets: usize, allowed: Option<Share>) -> bool {
    allowed.is_some_and(|allowed| match allowed {
        Share::Number(number) => failed > number,
        // More than P of a hundred have failed; a part of somebody is nobody here.
        Share::Percent(percent) => failed * 100 > targets * usize::from(percent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        assert_eq!(pause(1, 0), Duration::from_millis(250));
        assert_eq!(pause(1, 249), Duration::from_millis(499));
        assert_eq!(pause(4, 0), Duration::from_secs(2));
        assert_eq!(pause(60, 0), Duration::from_secs(8));
    }

    #[test]
    fn a_budget_is_spent_by_the_failure_after_the_last_one_allowed() {
        assert!(!is_too_much(2, 10, Some(Share::Number(2))));
        assert!(is_too_much(3, 10, Some(Share::Number(2))));
        assert!(!is_too_much(5, 100, Some(Share::Percent(5))));
        assert!(is_too_much(6, 100, Some(Share::Percent(5))));
        assert!(is_too_much(1, 10, Some(Share::Percent(5))));
        assert!(!is_too_much(10, 10, None));
    }

    #[test]
    fn only_what_leaves_nothing_behind_is_tried_again() {
        assert!(is_passing("55P03") && is_passing("40P01"));
        assert!(!is_passing("57014") && !is_passing("23505") && !is_passing("53200"));
    }
}
