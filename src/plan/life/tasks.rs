//! The tasks that carry a tenant from one state to the next.
//!
//! Closing begins in the registry, with what is to be opened again, and opening ends there: stopped
//! anywhere, a tenant is never open and called closed, and never forgets what it had.

use std::time::Duration;

use super::{Step, Wish, close, reopen, whose};
use crate::model::life::{Doors, Household, Life, OpenDoors};
use crate::model::tenant::State;
use crate::plan::task::{Act, Entry, Grace, Place, Task};

/// The tasks that follow from a wish; empty when nothing is to be done. `grace` is asked of a tenant
/// that is deleted.
pub fn tasks(
    wish: Wish,
    step: Step,
    house: &Household,
    life: &Life,
    facts: &OpenDoors,
    grace: Duration,
) -> Vec<Task> {
    let Step::To(state) = step else {
        return Vec::new();
    };
    match wish {
        Wish::Suspend => {
            shut(house, life, facts, &Entry { grace: Grace::None, ..Entry::of(life, state) })
        }
        Wish::Delete => {
            let before = match life.state {
                State::Deleting => life.before,
                before => Some(before),
            };
            let entry = Entry { before, grace: Grace::FromNow(grace), ..Entry::of(life, state) };
            shut(house, life, facts, &entry)
        }
        Wish::Resume | Wish::Undelete => {
            let opens = state != State::Suspended;
            let before = life.closed.clone().unwrap_or_default();
            let mut tasks = if opens { reopen(house, &before, facts) } else { Vec::new() };
            let closed = if opens { None } else { Some(before) };
            let entry = Entry { state, before: None, closed, grace: Grace::None };
            tasks.push(enter(life, entry));
            tasks
        }
        Wish::Purge | Wish::Erase | Wish::EraseRows | Wish::Hold | Wish::Rename | Wish::Move => {
            Vec::new()
        }
    }
}

fn shut(house: &Household, life: &Life, facts: &OpenDoors, entry: &Entry) -> Vec<Task> {
    let doors = close(house, facts);
    let closed = Some(together(life.closed.as_ref(), &facts.doors));
    let entry = Entry { closed, ..entry.clone() };
    let stands = life.state == entry.state
        && life.closed == entry.closed
        && !matches!(entry.grace, Grace::FromNow(_));
    if stands && doors.is_empty() {
        return Vec::new();
    }
    let mut tasks = vec![enter(life, entry)];
    let shuts = !doors.is_empty() || life.closed.is_none();
    tasks.extend(doors);
    let whose = whose(house);
    // Roles that serve everybody have everybody's sessions.
    if shuts && (!whose.roles.is_empty() || whose.database.is_some()) {
        let act = Act::EndSessions(whose);
        let what = format!("end the sessions of tenant {}", house.tenant.id);
        tasks.push(Task { place: Place::Server, what, act });
    }
    tasks
}

/// What was open before, and what somebody has opened since.
fn together(before: Option<&Doors>, now: &Doors) -> Doors {
    let Some(before) = before else {
        return now.clone();
    };
    let mut doors = before.clone();
    let new = |known: bool| !known;
    doors.logins.extend(now.logins.iter().filter(|one| new(before.logins.contains(one))).cloned());
    doors.usage.extend(now.usage.iter().filter(|one| new(before.usage.contains(one))).cloned());
    doors
        .connect
        .extend(now.connect.iter().filter(|one| new(before.connect.contains(one))).cloned());
    doors.rows |= now.rows;
    doors
}

fn enter(life: &Life, entry: Entry) -> Task {
    let what = match (life.state == entry.state, entry.grace) {
        (_, Grace::FromNow(_)) => format!("record it as {}, until its grace is over", entry.state),
        (false, _) => format!("record it as {}", entry.state),
        (true, _) => "record what is to be opened again".to_owned(),
    };
    Task { place: Place::Registry, what, act: Act::Enter(Box::new(entry)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::ident::Ident;
    use crate::model::tenant::Isolation;
    use crate::plan::life::step;
    use crate::plan::properties::desired;

    const DAY: Duration = Duration::from_hours(24);

    fn house() -> Household {
        let desired = desired(Isolation::Schema, "acme");
        Household {
            own_roles: desired.tenant.roles.clone(),
            second_logins: Vec::new(),
            owner_is_its_own: true,
            sharing: None,
            tenant: desired.tenant,
        }
    }

    fn open() -> OpenDoors {
        let logins = vec![Ident::new("app_tenant_acme").unwrap()];
        OpenDoors { doors: Doors { logins, ..Doors::default() }, ..OpenDoors::default() }
    }

    fn planned(wish: Wish, life: &Life, facts: &OpenDoors) -> Vec<Task> {
        let house = house();
        let step = step(&house.tenant.id, life, wish).unwrap();
        tasks(wish, step, &house, life, facts, DAY)
    }

    fn entries(tasks: &[Task]) -> Vec<(usize, &Entry)> {
        tasks
            .iter()
            .enumerate()
            .filter_map(|(at, task)| match &task.act {
                Act::Enter(entry) => Some((at, entry.as_ref())),
                _ => None,
            })
            .collect()
    }

    /// The life after the registry's part of the tasks was done, and nothing else.
    fn entered(life: &Life, tasks: &[Task]) -> Life {
        entries(tasks).into_iter().fold(life.clone(), |life, (_, entry)| Life {
            state: entry.state,
            before: entry.before,
            closed: entry.closed.clone(),
            ..life
        })
    }

    #[test]
    fn closing_is_recorded_first_and_opening_last() {
        let life = Life::new(State::Active);
        for wish in [Wish::Suspend, Wish::Delete] {
            let tasks = planned(wish, &life, &open());
            assert_eq!(entries(&tasks)[0].0, 0);
            assert!(matches!(tasks.last().unwrap().act, Act::EndSessions(_)));
            // Killed behind the record, the next one shuts what is open and forgets nothing.
            let killed = entered(&life, &tasks);
            let again = planned(wish, &killed, &open());
            assert_eq!(entered(&killed, &again).closed, Some(open().doors));
            assert!(again.len() >= 2, "{again:?}");
            // Half of it shut, what was open is still known.
            let half = planned(wish, &killed, &OpenDoors::default());
            assert_eq!(entered(&killed, &half).closed, Some(open().doors));
        }
        let suspended = entered(&life, &planned(Wish::Suspend, &life, &open()));
        assert!(planned(Wish::Suspend, &suspended, &OpenDoors::default()).is_empty());
        let back = planned(Wish::Resume, &suspended, &OpenDoors::default());
        assert_eq!(entries(&back)[0].0, back.len() - 1);
        assert_eq!(back.len(), 2);
        assert_eq!(entered(&suspended, &back), life);
    }

    #[test]
    fn a_suspended_tenant_that_is_deleted_comes_back_suspended_and_then_whole() {
        let active = Life::new(State::Active);
        let suspended = entered(&active, &planned(Wish::Suspend, &active, &open()));
        let deleting =
            entered(&suspended, &planned(Wish::Delete, &suspended, &OpenDoors::default()));
        assert_eq!((deleting.state, deleting.before), (State::Deleting, Some(State::Suspended)));
        let back = planned(Wish::Undelete, &deleting, &OpenDoors::default());
        assert_eq!(back.len(), 1, "no door is opened: {back:?}");
        let suspended = entered(&deleting, &back);
        assert_eq!((suspended.state, suspended.before), (State::Suspended, None));
        let resumed =
            entered(&suspended, &planned(Wish::Resume, &suspended, &OpenDoors::default()));
        assert_eq!(resumed, active);
    }

    #[test]
    fn deleting_again_gives_another_grace_and_keeps_the_rest() {
        let active = Life::new(State::Active);
        let deleting = entered(&active, &planned(Wish::Delete, &active, &open()));
        let again = planned(Wish::Delete, &deleting, &OpenDoors::default());
        assert_eq!(entries(&again)[0].1.grace, Grace::FromNow(DAY));
        assert_eq!(entered(&deleting, &again), deleting);
        assert_eq!(again.len(), 1);
    }
}
