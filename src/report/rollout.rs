//! What `migrate plan` answers.

use std::path::PathBuf;

use super::{Failure, Verdict};
use crate::error::Code;
use crate::model::tenant::{Isolation, TenantId};
use crate::plan::locks::{Hazard, Impact};
use crate::plan::rollout::Rollout;

/// What `migrate up` would do, and what that means for those who work at the same time.
#[derive(Debug)]
pub struct RolloutPlan {
    /// The plan itself: what can be kept and held against the fleet.
    pub rollout: Rollout,
    /// The files that somebody still needs, with their statements.
    pub files: Vec<PlannedSql>,
    /// Tenants for whom nothing is planned, and why.
    pub left: Vec<(TenantId, Failure)>,
    /// The file that the plan was written to.
    pub written: Option<PathBuf>,
}

/// One file with its statements.
#[derive(Debug)]
pub struct PlannedSql {
    /// Whose file it is: models may share a set.
    pub isolations: Vec<Isolation>,
    /// Its version.
    pub version: i64,
    /// What its name says.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// refinery's checksum.
    pub checksum: String,
    /// Whether its statements run one by one, outside of a transaction.
    pub outside: bool,
    /// How many schemas still need it.
    pub schemas: usize,
    /// Its statements.
    pub statements: Vec<Impact>,
}

impl PlannedSql {
    /// What a person should know before the file is applied, each once.
    pub fn hazards(&self) -> Vec<Hazard> {
        let mut hazards: Vec<Hazard> =
            self.statements.iter().flat_map(|one| one.hazards.iter().copied()).collect();
        hazards.extend(self.outside.then_some(Hazard::OutsideTransaction));
        hazards.sort_unstable();
        hazards.dedup();
        hazards
    }
}

impl RolloutPlan {
    pub(super) fn verdict(&self) -> Verdict {
        let failed: Vec<Code> = self
            .left
            .iter()
            .map(|(_, failure)| failure.code)
            .filter(|code| *code != Code::Refused)
            .collect();
        match failed.first() {
            None => Verdict::Done,
            Some(_) if failed.len() < self.rollout.targets.len() => Verdict::Partial,
            Some(first) => {
                Verdict::Failed(failed.iter().all(|code| code == first).then_some(*first))
            }
        }
    }
}
