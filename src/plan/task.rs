//! A list of tasks that change what is there already: closing a tenant, opening it, giving it another
//! name. Whoever carries them out makes no choice.

use crate::model::ident::Ident;
use crate::model::life::{Doors, Life};
use crate::model::tenant::{Placement, State};
use crate::sql::Sql;

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it is done, and as whom.
    pub place: Place,
    /// What it does, in words.
    pub what: String,
    /// How.
    pub act: Act,
}

/// Where a task is done, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The registry's database.
    Registry,
    /// Any database of the tenant's cluster, as the operator.
    Server,
    /// A database of the tenant's cluster.
    Database {
        /// Its name.
        database: Ident,
        /// The role to become; the operator itself without one.
        role: Option<Ident>,
    },
}

impl Place {
    /// As a person reads it.
    pub fn told(&self, placement: &Placement) -> String {
        match self {
            Self::Registry => "registry".to_owned(),
            Self::Server => format!("cluster {}", placement.cluster),
            Self::Database { database, role: None } => format!("database {database}"),
            Self::Database { database, role: Some(role) } => {
                format!("database {database} as {role}")
            }
        }
    }
}

/// How a task is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Statements in one transaction.
    Together(Vec<Sql>),
    /// A statement that no transaction can hold.
    Alone(Sql),
    /// The registry's row moves on.
    Enter(Box<Entry>),
    /// Sessions are ended.
    EndSessions(Whose),
}

impl Act {
    /// The statements, for a person.
    pub fn statements(&self) -> Vec<Sql> {
        match self {
            Self::Together(statements) => statements.clone(),
            Self::Alone(statement) => vec![statement.clone()],
            Self::Enter(_) | Self::EndSessions(_) => Vec::new(),
        }
    }
}

/// What the registry keeps of a life from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub state: State,
    /// What it was before.
    pub before: Option<State>,
    /// The doors that are to be opened again.
    pub closed: Option<Doors>,
    /// The end of its grace.
    pub grace: Grace,
}

impl Entry {
    /// A state, with everything else as it is.
    pub fn of(life: &Life, state: State) -> Self {
        Self { state, before: life.before, closed: life.closed.clone(), grace: Grace::AsItIs }
    }
}

/// When a tenant's grace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// As it was.
    AsItIs,
    /// There is none.
    None,
    /// So long from now, by the server's clock.
    FromNow(std::time::Duration),
}

/// Whose sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Those of these roles, in any database,
    pub roles: Vec<Ident>,
    /// and all in this one.
    pub database: Option<Ident>,
}
