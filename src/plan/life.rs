//! Which step of a tenant's life may follow which: one table, and what to type instead.

use crate::error::{Code, Error};
use crate::model::life::Life;
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
    /// The end of `move`, whether it is finished or taken back.
    EndMove,
}

impl Wish {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Suspend,
        Self::Resume,
        Self::Delete,
        Self::Undelete,
        Self::Purge,
        Self::Hold,
        Self::Rename,
        Self::Move,
        Self::EndMove,
    ];

    /// The command as it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Purge => "purge",
            Self::Hold => "hold",
            Self::Rename => "rename",
            Self::Move | Self::EndMove => "move",
        }
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
    match (wish, life.state) {
        (Wish::Resume, State::Active)
        | (Wish::Undelete, State::Provisioning | State::Active | State::Suspended)
        | (Wish::Purge, State::Purged)
        | (Wish::EndMove, State::Active | State::Suspended) => Ok(Step::Already),

        (Wish::Suspend, State::Active | State::Suspended) => Ok(Step::To(State::Suspended)),
        (Wish::Resume, State::Suspended) => Ok(Step::To(State::Active)),
        (
            Wish::Delete,
            State::Provisioning | State::Active | State::Suspended | State::Deleting,
        ) => Ok(Step::To(State::Deleting)),
        (Wish::Undelete, State::Deleting) | (Wish::EndMove, State::Moving) => {
            Ok(Step::To(life.before.unwrap_or(State::Active)))
        }
        (Wish::Rename, State::Active | State::Suspended) => Ok(Step::To(life.state)),
        (Wish::Move, State::Active | State::Suspended | State::Moving) => {
            Ok(Step::To(State::Moving))
        }
        (Wish::Hold, state) if state != State::Purged => Ok(Step::To(state)),

        (Wish::Purge, State::Deleting | State::Deleted) if !life.holds.is_empty() => {
            let reasons: Vec<&str> = life.holds.iter().map(|hold| hold.reason.as_str()).collect();
            let clear = format!("when nothing holds it any more: tenantctl hold clear {id}");
            refuse(&format!("it is held: {}", reasons.join("; ")), Some(clear))
        }
        (Wish::Purge, State::Deleting) if !life.expired => {
            let until = life.delete_after.as_deref().unwrap_or("its end");
            let end = format!("end it now with: tenantctl delete {id} --grace 0s");
            refuse(&format!("its grace lasts until {until}"), Some(end))
        }
        (Wish::Purge, State::Deleting | State::Deleted) => Ok(Step::To(State::Deleted)),
        (Wish::Purge, State::Provisioning | State::Active | State::Suspended) => refuse(
            &format!("it is {}, and was not deleted", life.state),
            first(&format!("delete {id} --grace 30d")),
        ),

        (Wish::Hold, _) => refuse("it is purged, and nothing is left to keep", None),
        (_, State::Purged) => refuse("it is purged, and its id stays its own", None),
        (_, State::Moving) => refuse(
            "it is being moved",
            Some(format!("first: tenantctl move finish {id}, or tenantctl move abort {id}")),
        ),
        (_, State::Deleted) => refuse(
            "its data are being removed, and there is no way back",
            Some(format!("finish it with: tenantctl purge {id}")),
        ),
        (_, State::Provisioning) => refuse("it is only half made", first(&format!("create {id}"))),
        (_, State::Deleting) => refuse("it was deleted", first(&format!("undelete {id}"))),
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
        use Wish::{Delete, EndMove, Hold, Move, Purge, Rename, Resume, Suspend, Undelete};
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
            (Move, ["!", moving, moving, moving, "!", "!", "!"]),
            (EndMove, ["!", "=", "=", active, "!", "!", "!"]),
        ] {
            assert_eq!(row(wish), follows, "{wish:?}");
        }
        assert_eq!(Wish::ALL.len(), 9);
    }

    #[test]
    fn what_was_before_comes_back() {
        let id = TenantId::new("acme").unwrap();
        for before in [State::Provisioning, State::Active, State::Suspended] {
            for (wish, state) in [(Wish::Undelete, State::Deleting), (Wish::EndMove, State::Moving)]
            {
                let life = Life { before: Some(before), ..life(state) };
                assert_eq!(step(&id, &life, wish).unwrap(), Step::To(before));
            }
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
        for state in [State::Deleting, State::Deleted] {
            let held = Life { holds: vec![hold.clone()], ..life(state) };
            let error = step(&id, &held, Wish::Purge).unwrap_err();
            assert_eq!(error.message, "purge tenant acme: it is held: case 12");
            // It may be deleted and brought back meanwhile: nothing is lost by that.
            let hold = life(State::Deleting);
            assert!(step(&id, &hold, Wish::Delete).is_ok());
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
