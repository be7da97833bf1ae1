//! What `move` did, and where moves are.

use std::time::Duration;

use crate::model::ident::Ident;
use crate::model::moving::{Method, Move, Phase};
use crate::model::tenant::Tenant;
use crate::plan::moving::estimate::Load;

/// What a move will cost, said before it begins.
#[derive(Clone, Debug)]
pub struct Announced {
    /// How rows get to the new place.
    pub method: Method,
    /// What is moved.
    pub load: Load,
    /// How long the tenant will be unable to write, about.
    pub estimate: Duration,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovedHow {
    /// It would be moved.
    Planned,
    /// It lives in its new place; the old one is kept.
    Moved,
    /// Its old place would be removed.
    ToBeFinished,
    /// Its old place is gone.
    Finished,
    /// It lives in its old place, and the new one is gone.
    Aborted,
    /// There was nothing to do.
    Unchanged,
}

impl MovedHow {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Moved => "moved",
            Self::ToBeFinished => "to-be-finished",
            Self::Finished => "finished",
            Self::Aborted => "aborted",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One tenant's move.
#[derive(Debug)]
pub struct Moved {
    /// The tenant as the registry knows it now.
    pub tenant: Tenant,
    /// The move; none when there is none.
    pub moved: Option<Move>,
    /// What came of it.
    pub how: MovedHow,
    /// What it would cost.
    pub announced: Option<Announced>,
    /// The pool's login in the new place, which becomes the tenant's roles.
    pub login: Option<Ident>,
    /// The steps that were carried out, in words.
    pub steps: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Moved {
    fn bare(tenant: Tenant, how: MovedHow) -> Self {
        Self {
            tenant,
            moved: None,
            how,
            announced: None,
            login: None,
            steps: Vec::new(),
            notes: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// There is nothing to do.
    pub fn nothing(tenant: Tenant, took: Duration) -> Self {
        Self { took, ..Self::bare(tenant, MovedHow::Unchanged) }
    }

    /// What would be done.
    pub fn planned(tenant: Tenant, moved: Move, announced: Announced, took: Duration) -> Self {
        Self {
            moved: Some(moved),
            notes: announced.notes.clone(),
            announced: Some(announced),
            took,
            ..Self::bare(tenant, MovedHow::Planned)
        }
    }

    /// What `move finish` asks about.
    pub fn to_be_finished(tenant: Tenant, moved: Move) -> Self {
        Self { moved: Some(moved), ..Self::bare(tenant, MovedHow::ToBeFinished) }
    }

    /// What is to be typed next.
    pub fn next(&self) -> Vec<String> {
        let id = &self.tenant.id;
        match self.moved.as_ref().map(|moved| moved.phase) {
            Some(Phase::Kept) if self.how != MovedHow::Planned => {
                vec![format!("tenantctl move finish {id}"), format!("tenantctl move abort {id}")]
            }
            _ => Vec::new(),
        }
    }
}

/// Where moves are.
#[derive(Debug)]
pub struct Moves {
    /// Newest first.
    pub moves: Vec<Move>,
}
