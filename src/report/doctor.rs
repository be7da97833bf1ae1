//! What is well and what is not, before it is needed.

use super::Verdict;

/// Every check that was made.
#[derive(Debug, Default)]
pub struct Doctor {
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug)]
pub struct Check {
    /// What it is about: a cluster, the registry, the migrations.
    pub subject: String,
    /// What was checked.
    pub name: &'static str,
    /// What came of it.
    pub health: Health,
    /// What was seen.
    pub detail: String,
    /// What to do, when something is to be done.
    pub hint: Option<String>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Well.
    Ok,
    /// Works, and will not always.
    Warning,
    /// Does not work.
    Failed,
}

impl Health {
    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Doctor {
    /// Adds a check.
    pub fn push(
        &mut self,
        subject: &str,
        name: &'static str,
        health: Health,
        detail: impl Into<String>,
    ) {
        let check =
            Check { subject: subject.to_owned(), name, health, detail: detail.into(), hint: None };
        self.checks.push(check);
    }

    /// Adds what to do to the last check.
    pub fn hint(&mut self, hint: impl Into<String>) {
        if let Some(check) = self.checks.last_mut() {
            check.hint = Some(hint.into());
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.checks.iter().any(|check| check.health == Health::Failed) {
            Verdict::No
        } else {
            Verdict::Done
        }
    }
}
