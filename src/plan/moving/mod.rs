//! What is still to be done of a move: its recorded phase and what stands in both places, and the
//! steps that are left. Pure: a run that was killed anywhere is planned again from what it left.

pub mod estimate;
pub mod mapping;
#[cfg(test)]
mod properties;

use crate::error::{Code, Error};
use crate::model::moving::{Method, Phase};
use crate::model::tenant::TenantId;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The tenant lives in the new place; the old one is kept, closed.
    Move,
    /// The old place is gone.
    Finish,
    /// The tenant lives in the old place as before; the new one is gone.
    Abort,
}

/// What is known of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the registry records.
    pub phase: Phase,
    /// How rows get to the new place.
    pub method: Method,
    /// The new place is as `create` would have made it, at the right version.
    pub target_made: bool,
    /// Nobody can write the tenant's rows in the new place.
    pub target_closed: bool,
    /// The new place holds a complete copy (recorded).
    pub loaded: bool,
    /// The server keeps its log of the tenant's changes for us.
    pub feed: bool,
    /// Nobody can write the tenant's rows in the old place.
    pub frozen: bool,
    /// Both places were compared, and are the same (recorded).
    pub compared: bool,
    /// Nobody can read the tenant's rows in the old place.
    pub sealed: bool,
}

/// One step of a move. Each may be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Make the new place, by the plan of `create`.
    Provision,
    /// Close the new place to writers.
    CloseTarget,
    /// Have the server keep its log of the tenant's changes.
    OpenFeed,
    /// Copy everything, in place of whatever is there.
    Load,
    /// Apply changes until few are left.
    Follow,
    /// Close the old place to writers, and wait for those who write.
    Freeze,
    /// Apply the last changes.
    Drain,
    /// Compare every table in both places.
    Compare,
    /// The registry says the new place.
    Switch,
    /// Open the new place to writers.
    OpenTarget,
    /// Close the old place to readers.
    SealSource,
    /// Let the server forget its log.
    CloseFeed,
    /// From here on there is no way back.
    BeginFinish,
    /// Remove what the tenant has in the old place.
    RemoveSource,
    /// From here on there is no way but back; the registry says the old place.
    BeginAbort,
    /// Refuse to lose what was written in the new place.
    CheckUntouched,
    /// Open the old place to readers.
    UnsealSource,
    /// Open the old place to writers.
    OpenSource,
    /// Remove what the tenant has in the new place.
    RemoveTarget,
    /// Record the end.
    Conclude,
}

impl Step {
    /// A few words for people: what happens.
    pub fn words(self) -> &'static str {
        match self {
            Self::Provision => "make the new place",
            Self::CloseTarget => "close the new place to writers",
            Self::OpenFeed => "keep the log of changes",
            Self::Load => "copy",
            Self::Follow => "apply what changed meanwhile",
            Self::Freeze => "close the old place to writers",
            Self::Drain => "apply the last changes",
            Self::Compare => "compare every table",
            Self::Switch => "switch to the new place",
            Self::OpenTarget => "open the new place",
            Self::SealSource => "close the old place to readers",
            Self::CloseFeed => "forget the log of changes",
            Self::BeginFinish => "begin to finish",
            Self::RemoveSource => "remove the old place",
            Self::BeginAbort => "go back to the old place",
            Self::CheckUntouched => "look for rows that would be lost",
            Self::UnsealSource => "open the old place to readers",
            Self::OpenSource => "open the old place to writers",
            Self::RemoveTarget => "remove the new place",
            Self::Conclude => "record the end",
        }
    }
}

/// The steps that are left, in order.
///
/// Stopping after any of them leaves a tenant that is writable in one place, or for the moment in
/// none, and never in two; the next plan goes on from there.
///
/// # Errors
///
/// [`Code::Refused`] when the move has gone too far in another direction, or not far enough.
pub fn steps(tenant: &TenantId, goal: Goal, now: &Standing) -> Result<Vec<Step>, Error> {
    match (goal, now.phase) {
        (Goal::Move, Phase::Moving) => Ok(there(now)),
        (Goal::Move, Phase::Kept) => Ok(settle(now)),
        (Goal::Move, Phase::Done | Phase::Aborted)
        | (Goal::Finish, Phase::Done)
        | (Goal::Abort, Phase::Aborted) => Ok(Vec::new()),
        (Goal::Finish, Phase::Kept) => {
            let mut steps = settle(now);
            steps.extend([Step::BeginFinish, Step::RemoveSource, Step::Conclude]);
            Ok(steps)
        }
        (Goal::Finish, Phase::Finishing) => Ok(vec![Step::RemoveSource, Step::Conclude]),
        (Goal::Abort, Phase::Moving | Phase::Aborting | Phase::Kept) => Ok(back(now)),
        (Goal::Move, Phase::Finishing) | (Goal::Abort, Phase::Finishing | Phase::Done) => {
            Err(refused(tenant, "its old place is being removed, or gone")
                .hint(format!("complete that with: tenantctl move finish {tenant}")))
        }
        (Goal::Move, Phase::Aborting) | (Goal::Finish, Phase::Aborting | Phase::Aborted) => {
            Err(refused(tenant, "its move is being aborted")
                .hint(format!("complete that with: tenantctl move abort {tenant}")))
        }
        (Goal::Finish, Phase::Moving) => {
            Err(refused(tenant, "it has not arrived: its old place is the one it lives in")
                .hint(format!("see how far it is with: tenantctl move status {tenant}")))
        }
    }
}

fn refused(tenant: &TenantId, why: &str) -> Error {
    Error::new(Code::Refused, format!("move tenant {tenant}: {why}"))
}

fn there(now: &Standing) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut when = |condition: bool, step| {
        if condition {
            steps.push(step);
        }
    };
    when(!now.target_made, Step::Provision);
    when(!now.target_made || !now.target_closed, Step::CloseTarget);
    match now.method {
        Method::Replication => {
            let copied = now.feed && now.loaded;
            when(!now.feed, Step::OpenFeed);
            when(!copied, Step::Load);
            when(!now.frozen, Step::Follow);
            when(!now.frozen, Step::Freeze);
            when(!(now.frozen && now.compared), Step::Drain);
        }
        Method::Freeze => {
            when(!now.frozen, Step::Freeze);
            when(!(now.frozen && now.loaded), Step::Load);
        }
    }
    when(!(now.frozen && now.compared), Step::Compare);
    steps.push(Step::Switch);
    steps.push(Step::OpenTarget);
    steps.extend(after(now));
    steps
}

/// What is left once the registry says the new place.
fn settle(now: &Standing) -> Vec<Step> {
    let mut steps = Vec::new();
    if now.target_closed {
        steps.push(Step::OpenTarget);
    }
    steps.extend(after(now));
    steps
}

fn after(now: &Standing) -> Vec<Step> {
    let mut steps = Vec::new();
    if !now.sealed {
        steps.push(Step::SealSource);
    }
    if now.method == Method::Replication && (now.feed || now.phase == Phase::Moving) {
        steps.push(Step::CloseFeed);
    }
    steps
}

fn back(now: &Standing) -> Vec<Step> {
    let mut steps = Vec::new();
    if now.phase == Phase::Kept {
        // What would be lost is looked for while nobody can write any more of it.
        steps.extend([Step::CloseTarget, Step::CheckUntouched]);
    }
    if now.phase != Phase::Aborting {
        steps.push(Step::BeginAbort);
    }
    if now.sealed {
        steps.push(Step::UnsealSource);
    }
    if now.frozen {
        steps.push(Step::OpenSource);
    }
    if now.feed {
        steps.push(Step::CloseFeed);
    }
    steps.extend([Step::RemoveTarget, Step::Conclude]);
    steps
}
