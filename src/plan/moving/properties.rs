//! What every plan of a move promises, wherever the one before was stopped.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Goal, Standing, Step, steps};
use crate::model::moving::{Method, Phase};
use crate::model::tenant::TenantId;

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// The two places and the registry: what steps do to them, and what can be seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct World {
    now: Standing,
    /// The new place holds the tenant's rows.
    target_filled: bool,
    source_gone: bool,
    target_gone: bool,
}

impl World {
    fn begun(method: Method) -> Self {
        Self {
            now: Standing {
                phase: Phase::Moving,
                method,
                target_made: false,
                target_closed: false,
                loaded: false,
                feed: false,
                frozen: false,
                compared: false,
                sealed: false,
            },
            target_filled: false,
            source_gone: false,
            target_gone: true,
        }
    }

    fn source_is_writable(&self) -> bool {
        !self.source_gone && !self.now.frozen && !self.now.sealed
    }

    fn target_is_writable(&self) -> bool {
        !self.target_gone && self.target_filled && !self.now.target_closed
    }

    fn apply(&mut self, step: Step) {
        let now = &mut self.now;
        match step {
            Step::Provision => {
                now.target_made = true;
                self.target_gone = false;
            }
            Step::CloseTarget => {
                assert!(!self.target_gone, "a place is made before it is closed");
                now.target_closed = true;
            }
            Step::OpenFeed => {
                assert!(!now.frozen, "changes are kept before the last of them");
                now.feed = true;
                now.loaded = false;
            }
            Step::Load => {
                assert!(now.target_closed && !self.target_gone);
                assert!(now.frozen || now.feed, "nothing is written unseen while it is copied");
                self.target_filled = true;
                now.loaded = true;
            }
            Step::Follow | Step::Drain => assert!(now.feed && now.loaded),
            Step::Freeze => now.frozen = true,
            Step::Compare => {
                assert!(now.frozen && now.loaded && now.target_closed);
                now.compared = true;
            }
            Step::Switch => {
                assert!(now.frozen && now.compared && now.target_closed);
                now.phase = Phase::Kept;
            }
            Step::OpenTarget => {
                assert!(now.phase == Phase::Kept && now.frozen);
                now.target_closed = false;
            }
            Step::SealSource => now.sealed = true,
            Step::CloseFeed => now.feed = false,
            Step::BeginFinish => {
                assert!(!now.target_closed, "the tenant lives before its old place goes");
                now.phase = Phase::Finishing;
            }
            Step::RemoveSource => {
                assert_eq!(now.phase, Phase::Finishing);
                self.source_gone = true;
            }
            Step::CheckUntouched => assert!(now.target_closed),
            Step::BeginAbort => {
                assert!(self.target_gone || !self.target_filled || now.target_closed);
                now.phase = Phase::Aborting;
            }
            Step::UnsealSource => now.sealed = false,
            Step::OpenSource => now.frozen = false,
            Step::RemoveTarget => {
                assert_eq!(now.phase, Phase::Aborting);
                self.target_gone = true;
                self.target_filled = false;
                now.target_made = false;
                now.target_closed = false;
            }
            Step::Conclude => {
                now.phase =
                    if now.phase == Phase::Finishing { Phase::Done } else { Phase::Aborted };
            }
        }
        assert!(
            !(self.source_is_writable() && self.target_is_writable()),
            "two writable copies after {step:?}: {self:?}"
        );
    }

    /// What a failure between freezing and switching does, so that the tenant can write again.
    fn thaw(&mut self) {
        if self.now.phase == Phase::Moving && self.now.frozen {
            self.now.frozen = false;
            self.now.compared = false;
            if self.now.method == Method::Freeze {
                self.now.loaded = false;
            }
        }
    }

    fn run(&mut self, goal: Goal, stop_after: usize) {
        for step in steps(&tenant(), goal, &self.now).unwrap().into_iter().take(stop_after) {
            self.apply(step);
        }
    }
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Replication), Just(Method::Freeze)]
}

/// Runs that were killed after so many steps, some of them followed by a thaw.
fn killed() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((0..14_usize, any::<bool>()), 0..5)
}

proptest! {
    #[test]
    fn a_move_that_is_killed_anywhere_arrives(method in method(), killed in killed()) {
        let mut world = World::begun(method);
        for (after, thaw) in killed {
            world.run(Goal::Move, after);
            if thaw {
                world.thaw();
            }
        }
        world.run(Goal::Move, usize::MAX);
        prop_assert_eq!(world.now.phase, Phase::Kept);
        prop_assert!(world.target_is_writable() && !world.source_is_writable());
        prop_assert!(world.now.sealed && !world.now.feed);
        prop_assert!(steps(&tenant(), Goal::Move, &world.now).unwrap().is_empty());
    }

    #[test]
    fn an_abort_brings_back_the_source_from_anywhere(
        method in method(), killed in killed(), aborts in proptest::collection::vec(0..8_usize, 0..3),
    ) {
        let mut world = World::begun(method);
        for (after, thaw) in killed {
            world.run(Goal::Move, after);
            if thaw {
                world.thaw();
            }
        }
        for after in aborts {
            world.run(Goal::Abort, after);
        }
        world.run(Goal::Abort, usize::MAX);
        prop_assert_eq!(world.now.phase, Phase::Aborted);
        prop_assert!(world.source_is_writable() && world.target_gone && !world.now.feed);
    }

    #[test]
    fn a_finish_that_is_killed_anywhere_ends(
        method in method(), kills in proptest::collection::vec(0..6_usize, 0..3),
    ) {
        let mut world = World::begun(method);
        world.run(Goal::Move, usize::MAX);
        for after in kills {
            world.run(Goal::Finish, after);
        }
        world.run(Goal::Finish, usize::MAX);
        prop_assert_eq!(world.now.phase, Phase::Done);
        prop_assert!(world.source_gone && world.target_is_writable());
    }
}

#[test]
fn what_has_gone_too_far_is_refused() {
    let mut world = World::begun(Method::Freeze);
    assert!(steps(&tenant(), Goal::Finish, &world.now).is_err());
    world.now.phase = Phase::Finishing;
    assert!(steps(&tenant(), Goal::Abort, &world.now).is_err());
    world.now.phase = Phase::Aborting;
    assert!(steps(&tenant(), Goal::Move, &world.now).is_err());
    assert!(steps(&tenant(), Goal::Finish, &world.now).is_err());
}
