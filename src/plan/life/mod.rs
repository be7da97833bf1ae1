//! Which step of a tenant's life may follow which: one table, and what to type instead.

mod doors;
mod emptying;
mod renaming;
mod tasks;

pub use doors::{OPEN_POLICY, close, close_table, reopen, whose};
pub use emptying::{
    conceal, crosses, crossing, empty_at_once, empty_slice, fate, goes_at_once, hush, reveal,
    unhush,
};
pub use renaming::{Renaming, Standing, renamed};
pub use tasks::tasks;

use crate::error::{Code, Error};
use crate::model::life::Life;
use crate::model::moving::Phase;
use crate::model::tenant::{State, TenantId};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `suspend`.
    Suspend,
    /// `resume`.
    Resume,
    /// `delete`.
    Delete,
    /// `undelete`.
    Undelete,
    /// `purge`.
    Purge,
    /// `hold set` and `hold clear`.
    Hold,
    /// `rename`.
    Rename,
    /// The beginning of `move`.
    Move,
    /// `erase` of all that it is.
    Erase,
    /// `erase` of some of its rows.
    EraseRows,
}

impl Wish {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Suspend,
        Self::Resume,
        Self::Delete,
        Self::Undelete,
        Self::Purge,
        Self::Hold,
        Self::Rename,
        Self::Move,
        Self::Erase,
        Self::EraseRows,
    ];

    /// The command, as a sentence about a tenant begins.
    pub fn word(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Purge => "purge",
            Self::Hold => "hold",
            Self::Rename => "rename",
            Self::Move => "move",
            Self::Erase => "erase",
            Self::EraseRows => "erase rows of",
        }
    }

    /// Whether the other place of an open move would be forgotten, or keep what is to go.
    fn needs_one_place(self) -> bool {
        match self {
            Self::Suspend
            | Self::Delete
            | Self::Purge
            | Self::Rename
            | Self::Erase
            | Self::EraseRows => true,
            Self::Resume | Self::Undelete | Self::Hold | Self::Move => false,
        }
    }

    /// Whether a hold forbids it.
    fn is_final(self) -> bool {
        matches!(self, Self::Purge | Self::Erase | Self::EraseRows)
    }
}

/// What follows from a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It becomes this. Where that is what it is, what was begun is finished.
    To(State),
    /// It is so already: nothing to do.
    Already,
}

/// Decides what follows from a wish.
///
/// # Errors
///
/// [`Code::Refused`] with the reason, and with what to type first.
pub fn step(id: &TenantId, life: &Life, wish: Wish) -> Result<Step, Error> {
    let refuse = |why: &str, hint: Option<String>| {
        let what = format!("{} tenant {id}: {why}", wish.word());
        let error = Error::new(Code::Refused, what);
        Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    };
    let first = |words: &str| Some(format!("first: tenantctl {words}"));
    if wish.needs_one_place()
        && let Some(phase) = life.moved
    {
        let (why, end) = open_move(id, phase);
        return refuse(why, first(&end));
    }
    match (wish, life.state) {
        (Wish::Resume, State::Active)
        | (Wish::Undelete, State::Provisioning | State::Active | State::Suspended)
        | (Wish::Purge | Wish::Erase, State::Purged) => Ok(Step::Already),

        (Wish::Purge, State::Provisioning | State::Active | State::Suspended) => refuse(
            &format!("it is {}, and was not deleted", life.state),
            first(&format!("delete {id} --grace 30d")),
        ),
        (wish, state) if wish.is_final() && !life.holds.is_empty() && state != State::Purged => {
            let reasons: Vec<&str> = life.holds.iter().map(|hold| hold.reason.as_str()).collect();
            let clear = format!("when nothing holds it any more: tenantctl hold clear {id}");
            refuse(&format!("it is held: {}", reasons.join("; ")), Some(clear))
        }

        (Wish::Suspend, State::Active | State::Suspended) => Ok(Step::To(State::Suspended)),
        (Wish::Resume, State::Suspended) => Ok(Step::To(State::Active)),
        (
            Wish::Delete,
            State::Provisioning | State::Active | State::Suspended | State::Deleting,
        ) => Ok(Step::To(State::Deleting)),
        (Wish::Undelete, State::Deleting) => Ok(Step::To(life.before.unwrap_or(State::Active))),
        (Wish::Rename | Wish::EraseRows, State::Active | State::Suspended) => {
            Ok(Step::To(life.state))
        }
        (Wish::Move, State::Active) => Ok(Step::To(State::Moving)),
        (Wish::Hold, state) if state != State::Purged => Ok(Step::To(state)),

        (Wish::Purge, State::Deleting) if !life.expired => {
            let until = life.delete_after.as_deref().unwrap_or("its end");
            let end = format!("end it now with: tenantctl delete {id} --grace 0s");
            refuse(&format!("its grace lasts until {until}"), Some(end))
        }
        (Wish::Purge, State::Deleting | State::Deleted)
        | (
            Wish::Erase,
            State::Provisioning
            | State::Active
            | State::Suspended
            | State::Deleting
            | State::Deleted,
        ) => Ok(Step::To(State::Deleted)),

        (Wish::Hold, _) => refuse("it is purged, and nothing is left to keep", None),
        (_, State::Purged) => refuse("it is purged, and its id stays its own", None),
        (_, State::Moving) => refuse("it is being moved", first(&format!("move status {id}"))),
        (_, State::Deleted) => refuse(
            "its data are being removed, and there is no way back",
            Some(format!("finish it with: tenantctl purge {id}")),
        ),
        (_, State::Provisioning) => refuse("it is only half made", first(&format!("create {id}"))),
        (_, State::Deleting) => refuse("it was deleted", first(&format!("undelete {id}"))),
        (_, State::Suspended) => refuse("it is suspended", first(&format!("resume {id}"))),
    }
}

/// How an open move stands, and what ends it.
fn open_move(id: &TenantId, phase: Phase) -> (&'static str, String) {
    match phase {
        Phase::Moving => ("it is being moved", format!("move {id}, or tenantctl move abort {id}")),
        Phase::Kept => (
            "it has moved, and its old place is kept",
            format!("move finish {id}, or tenantctl move abort {id}"),
        ),
        Phase::Finishing => {
            ("the old place of its move is being removed", format!("move finish {id}"))
        }
        Phase::Aborting | Phase::Done | Phase::Aborted => {
            ("its move is being taken back", format!("move abort {id}"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::life::Hold;

    fn life(state: State) -> Life {
        Life { state, before: Some(State::Active), expired: true, ..Life::new(state) }
    }

    /// What follows from a wish in each state, in the order of a life: the state, `=` for nothing to
    /// do, `!` for a refusal.
    fn row(wish: Wish) -> Vec<String> {
        let id = TenantId::new("acme").unwrap();
        State::ALL
            .into_iter()
            .map(|state| match step(&id, &life(state), wish) {
                Ok(Step::To(state)) => state.word().to_owned(),
                Ok(Step::Already) => "=".to_owned(),
                Err(_) => "!".to_owned(),
            })
            .collect()
    }

    #[test]
    fn every_wish_in_every_state() {
        use Wish::{
            Delete, Erase, EraseRows, Hold, Move, Purge, Rename, Resume, Suspend, Undelete,
        };
        let (active, suspended, moving) = ("active", "suspended", "moving");
        let (provisioning, deleting, deleted) = ("provisioning", "deleting", "deleted");
        for (wish, follows) in [
            // provisioning, active, suspended, moving, deleting, deleted, purged
            (Suspend, ["!", suspended, suspended, "!", "!", "!", "!"]),
            (Resume, ["!", "=", active, "!", "!", "!", "!"]),
            (Delete, [deleting, deleting, deleting, "!", deleting, "!", "!"]),
            (Undelete, ["=", "=", "=", "!", active, "!", "!"]),
            (Purge, ["!", "!", "!", "!", deleted, deleted, "="]),
            (Hold, [provisioning, active, suspended, moving, deleting, deleted, "!"]),
            (Rename, ["!", active, suspended, "!", "!", "!", "!"]),
            (Move, ["!", moving, "!", "!", "!", "!", "!"]),
            (Erase, [deleted, deleted, deleted, "!", deleted, deleted, "="]),
            (EraseRows, ["!", active, suspended, "!", "!", "!", "!"]),
        ] {
            assert_eq!(row(wish), follows, "{wish:?}");
        }
        assert_eq!(Wish::ALL.len(), 10);
    }

    #[test]
    fn what_was_before_comes_back() {
        let id = TenantId::new("acme").unwrap();
        for before in [State::Provisioning, State::Active, State::Suspended] {
            let life = Life { before: Some(before), ..life(State::Deleting) };
            assert_eq!(step(&id, &life, Wish::Undelete).unwrap(), Step::To(before));
        }
    }

    #[test]
    fn grace_and_holds_keep_from_purging() {
        let id = TenantId::new("acme").unwrap();
        let in_grace = Life {
            expired: false,
            delete_after: Some("2031-01-02T03:04:05Z".to_owned()),
            ..life(State::Deleting)
        };
        let error = step(&id, &in_grace, Wish::Purge).unwrap_err();
        assert_eq!(error.message, "purge tenant acme: its grace lasts until 2031-01-02T03:04:05Z");
        let hold = Hold { reason: "case 12".to_owned(), by: "me".to_owned(), since: String::new() };
        let held = |state| Life { holds: vec![hold.clone()], ..life(state) };
        for state in [State::Deleting, State::Deleted] {
            let error = step(&id, &held(state), Wish::Purge).unwrap_err();
            assert_eq!(error.message, "purge tenant acme: it is held: case 12");
        }
        for state in State::ALL.into_iter().filter(|state| *state != State::Purged) {
            assert!(step(&id, &held(state), Wish::Erase).is_err(), "{state}");
            assert!(step(&id, &held(state), Wish::EraseRows).is_err(), "{state}");
        }
        // It may be deleted and brought back meanwhile: nothing is lost by that.
        assert!(step(&id, &held(State::Active), Wish::Delete).is_ok());
    }

    #[test]
    fn an_open_move_comes_to_its_end_first() {
        let id = TenantId::new("acme").unwrap();
        for (phase, state, end) in [
            (Phase::Moving, State::Moving, "move acme, or tenantctl move abort acme"),
            (Phase::Kept, State::Active, "move finish acme, or tenantctl move abort acme"),
            (Phase::Finishing, State::Active, "move finish acme"),
            (Phase::Aborting, State::Moving, "move abort acme"),
        ] {
            let life = Life { moved: Some(phase), ..life(state) };
            for wish in Wish::ALL.into_iter().filter(|wish| wish.needs_one_place()) {
                let error = step(&id, &life, wish).unwrap_err();
                assert_eq!(error.hints, [format!("first: tenantctl {end}")], "{wish:?} {phase}");
            }
            assert!(step(&id, &life, Wish::Hold).is_ok());
        }
    }

    #[test]
    fn every_refusal_says_why_and_most_what_to_type() {
        let id = TenantId::new("acme").unwrap();
        for wish in Wish::ALL {
            for state in State::ALL {
                if let Err(error) = step(&id, &life(state), wish) {
                    assert_eq!(error.code, Code::Refused);
                    let begins = format!("{} tenant acme: it", wish.word());
                    assert!(error.message.starts_with(&begins), "{}", error.message);
                    let typed = !error.hints.is_empty();
                    assert!(typed || state == State::Purged, "{wish:?} {state}: {error}");
                }
            }
        }
    }
}
