//! Steps that are carried out together, in one line.

use super::Step;
use super::change::Change;
use crate::model::count;

/// What a transaction does, for people: its weightiest objects by name, the rest counted.
pub fn summary(steps: &[Step]) -> String {
    if let [only] = steps {
        return only.change.describe();
    }
    let mut parts: Vec<String> = Vec::new();
    let mut counted: Vec<(&'static str, usize)> = Vec::new();
    for step in steps {
        match &step.change {
            Change::CreateSchema { name, .. } => parts.push(format!("schema {name}")),
            change => {
                let noun = noun(change);
                match counted.iter_mut().find(|(known, _)| *known == noun) {
                    Some((_, number)) => *number += 1,
                    None => counted.push((noun, 1)),
                }
            }
        }
    }
    parts.extend(counted.into_iter().map(|(noun, number)| count(number, noun)));
    parts.join(", ")
}

/// What a change adds, so that several of a kind can be counted.
fn noun(change: &Change) -> &'static str {
    match change {
        Change::Record(_) | Change::NoteCredentials(_) => "registry row",
        Change::CreateRole { .. } | Change::CreateLogin { .. } => "role",
        Change::GrantRole { .. } => "membership",
        Change::AllowLogin(_)
        | Change::StopInheriting(_)
        | Change::LimitConnections { .. }
        | Change::LetInherit(_)
        | Change::SetPassword { .. }
        | Change::IssuePassword { .. }
        | Change::EndPassword { .. } => "role change",
        Change::SetForRole { .. }
        | Change::MirrorSetting { .. }
        | Change::ResetForRole { .. }
        | Change::SetForDatabase { .. }
        | Change::ResetForDatabase { .. } => "setting",
        Change::DropInvalidDatabase(_)
        | Change::CreateDatabase { .. }
        | Change::DropTemplate(_)
        | Change::LendDatabase { .. }
        | Change::SealTemplate { .. }
        | Change::AdoptCopy { .. } => "database",
        Change::CreateSchema { .. } => "schema",
        Change::CloseDatabase(_)
        | Change::CloseSchema(_)
        | Change::CloseFunctions(_)
        | Change::CloseHistory { .. } => "revoke",
        Change::GrantConnect { .. }
        | Change::GrantUsage { .. }
        | Change::GrantByDefault { .. }
        | Change::GrantTable { .. }
        | Change::GrantSequence { .. }
        | Change::GrantHelper { .. }
        | Change::GrantFunction { .. } => "grant",
        Change::CreateHistory(_) => "history table",
        Change::CreateHelper { .. } => "helper function",
        Change::Migrate { .. } => "migration run",
        Change::GuardTable { .. } | Change::EnforcePolicies(_) => "guarded table",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::ident::Ident;
    use crate::plan::{Reach, Site};

    fn step(change: Change) -> Step {
        Step { reach: Reach::Tenant, site: Site::Server, change }
    }

    fn role(name: &str) -> Change {
        Change::CreateRole { name: Ident::new(name).unwrap(), login: false }
    }

    #[test]
    fn one_step_speaks_for_itself_and_several_are_counted() {
        assert_eq!(summary(&[step(role("a"))]), "create role a (NOLOGIN)");
        let (schema, owner) = (Ident::new("s").unwrap(), Ident::new("o").unwrap());
        let steps = [
            step(role("a")),
            step(role("b")),
            step(Change::CloseSchema(schema.clone())),
            step(Change::CreateSchema { name: schema, owner }),
        ];
        assert_eq!(summary(&steps), "schema s, 2 roles, 1 revoke");
    }
}
