//! What `migrate verify` answers: who is not what the others of the same version are.

use std::time::Duration;

use super::{Failure, Verdict};
use crate::model::structure::{Fingerprint, Flaw};
use crate::model::tenant::{Placement, TenantId};
use crate::plan::drift::{Claim, Difference};

/// The schemas of a selection, compared with the fleet's.
#[derive(Debug)]
pub struct Compared {
    /// One row for each version of each isolation model.
    pub groups: Vec<ComparedGroup>,
    /// Schemas that differ; those that differ in the same way together.
    pub deviants: Vec<Deviant>,
    /// What is there and does not do its work, whether or not all have it.
    pub flaws: Vec<Flawed>,
    /// Schemas that could not be read.
    pub unread: Vec<Unread>,
    /// How many of the selected schemas were compared.
    pub compared: usize,
    /// How many selected tenants were passed over because they are still being made.
    pub half_made: usize,
    /// Whether the migration files were asked as well.
    pub asked_files: bool,
    /// How long it took.
    pub took: Duration,
}

/// Schemas of the fleet that claim the same version.
#[derive(Debug)]
pub struct ComparedGroup {
    /// What they claim.
    pub claim: Claim,
    /// How many there are in the fleet.
    pub schemas: usize,
    /// How many of them look alike, and are the norm.
    pub alike: usize,
    /// What those look like.
    pub fingerprint: Fingerprint,
    /// Whether as many look different in one way.
    pub tied: bool,
    /// What the migration files say, where they were asked.
    pub files: Option<FromFiles>,
}

/// What the migration files make of a version, and who is like it.
#[derive(Debug)]
pub enum FromFiles {
    /// They were applied.
    Made {
        /// How many schemas of the fleet are as the files make them.
        alike: usize,
        /// What they made or changed outside of the schema, with its own schema.
        outside: Vec<String>,
    },
    /// They could not be applied, and why.
    NotMade(Failure),
}

/// What a schema is compared with.
#[derive(Clone, Debug)]
pub enum Norm {
    /// What the migration files make.
    Files,
    /// A schema that is as the others should be.
    Schema(Subject),
}

/// Schemas that differ from the norm of their version in the same way.
#[derive(Debug)]
pub struct Deviant {
    /// Which ones.
    pub schemas: Vec<Subject>,
    /// What they claim.
    pub claim: Claim,
    /// What they look like.
    pub fingerprint: Fingerprint,
    /// How these should be.
    pub against: Norm,
    /// How they differ from it.
    pub differences: Vec<Difference>,
}

/// A schema, by those who live in it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its tenants: one, or all that share its tables.
    pub tenants: Vec<TenantId>,
    /// Where it is.
    pub placement: Placement,
}

/// One flaw, and everybody who has it.
#[derive(Debug)]
pub struct Flawed {
    /// What it is.
    pub flaw: Flaw,
    /// Who has it.
    pub schemas: Vec<Subject>,
}

/// A schema that could not be read, and why.
#[derive(Debug)]
pub struct Unread {
    /// Which one.
    pub schema: Subject,
    /// Why.
    pub failure: Failure,
}

impl Compared {
    /// How many of the selected schemas deviate.
    pub fn deviating(&self) -> usize {
        self.deviants.iter().map(|deviant| deviant.schemas.len()).sum()
    }

    /// How many kinds of fault there are: what is wrong whatever the others look like.
    pub fn faults(&self) -> usize {
        self.flaws.iter().filter(|one| one.flaw.is_fault()).count()
    }

    /// How many versions were to be compared with their files and could not be.
    pub fn not_made(&self) -> usize {
        let not_made = |group: &&ComparedGroup| matches!(group.files, Some(FromFiles::NotMade(_)));
        self.groups.iter().filter(not_made).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        if !self.unread.is_empty() {
            let all = self.groups.is_empty();
            let mut codes = self.unread.iter().map(|unread| unread.failure.code);
            let first = codes.next();
            let shared = first.filter(|first| codes.all(|code| code == *first));
            return if all { Verdict::Failed(shared) } else { Verdict::Partial };
        }
        if !self.deviants.is_empty() || self.faults() > 0 {
            return Verdict::No;
        }
        if self.not_made() > 0 { Verdict::Partial } else { Verdict::Done }
    }
}
