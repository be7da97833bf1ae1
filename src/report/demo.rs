//! What the demo did, scene by scene, and what is left of it.

use std::path::PathBuf;
use std::time::Duration;

use super::{Report, Verdict};
use crate::model::ident::Ident;
use crate::model::tenant::{Isolation, TenantId};

/// The whole demo.
#[derive(Debug)]
pub struct Demo {
    /// What happened, in order.
    pub scenes: Vec<Scene>,
    /// What became of the server.
    pub end: End,
    /// The program, when a shell would not find it under its name.
    pub program: Option<PathBuf>,
    /// How long it took, the server's start and end included.
    pub took: Duration,
}

/// Something that happened, told as soon as it did.
#[derive(Debug)]
pub enum Scene {
    /// What the following scenes are about.
    Chapter(&'static str),
    /// A server was started.
    Server {
        /// Its version.
        version: String,
        /// The directory of its socket, data and log.
        directory: PathBuf,
        /// How long that took.
        took: Duration,
    },
    /// A statement was run to prepare the server.
    Prepared {
        /// The statement.
        statement: String,
        /// What it is for.
        why: &'static str,
    },
    /// A migration file was written.
    File {
        /// Where, seen from the configuration file.
        path: PathBuf,
        /// What it makes.
        what: &'static str,
    },
    /// A command of tenantctl was run.
    Command {
        /// What a user would type.
        line: String,
        /// What it answered.
        answer: Report,
        /// The verdict that it must have.
        expected: Verdict,
    },
    /// An application tried something.
    Trial(Trial),
}

/// Something that an application tried.
#[derive(Debug)]
pub struct Trial {
    /// What it shows.
    pub claim: &'static str,
    /// Who tried it.
    pub role: Ident,
    /// The tenant that its transaction is for, in shared tables.
    pub tenant: Option<TenantId>,
    /// What was run; the answer is the last one's.
    pub statements: Vec<String>,
    /// What came of it, in the server's words.
    pub answer: String,
    /// The SQLSTATE of a refusal.
    pub sqlstate: Option<String>,
    /// Whether that is what isolation promises.
    pub held: bool,
}

/// What became of the server.
#[derive(Debug)]
pub enum End {
    /// It is stopped, and its directory is gone.
    Removed,
    /// It is stopped, and its directory could not be removed.
    Left(PathBuf),
    /// It runs on, as it was asked to.
    Kept(Kept),
}

/// A server that runs on, and how to use it.
#[derive(Debug)]
pub struct Kept {
    /// Where its files are; they go away when it is stopped.
    pub directory: PathBuf,
    /// The configuration file of the fleet.
    pub config: PathBuf,
    /// The process.
    pub pid: u32,
    /// The command that stops it.
    pub stop: String,
    /// The operator's connection string.
    pub operator: String,
    /// Each tenant's connection string, as its application.
    pub tenants: Vec<KeptTenant>,
}

/// How the application of one tenant connects.
#[derive(Debug)]
pub struct KeptTenant {
    /// The tenant.
    pub id: TenantId,
    /// Its model.
    pub isolation: Isolation,
    /// What names it in its transactions, in shared tables.
    pub key: String,
    /// The connection string.
    pub url: String,
}

impl Demo {
    /// What was tried.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        self.scenes.iter().filter_map(|scene| match scene {
            Scene::Trial(trial) => Some(trial),
            _ => None,
        })
    }

    /// A tenant that sees another is a "no", whatever else went well.
    pub(super) fn verdict(&self) -> Verdict {
        let as_expected = self.scenes.iter().all(|scene| match scene {
            Scene::Command { answer, expected, .. } => answer.verdict() == *expected,
            _ => true,
        });
        if as_expected && self.trials().all(|trial| trial.held) {
            Verdict::Done
        } else {
            Verdict::No
        }
    }
}
