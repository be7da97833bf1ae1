//! The steps that make a second login, change over to it, and take a password away.

use std::collections::BTreeMap;

use super::{Changeover, Login, Pair, Which};
use crate::error::{Code, Error};
use crate::model::credential::{LoginFacts, Logins, Validity};
use crate::model::desired::Credential;
use crate::model::ident::Ident;
use crate::model::tenant::TenantId;
use crate::plan::{Change, Plan, Reach, Site};

/// The setting by which a second login becomes its role.
const ROLE: &str = "role";

/// Makes the login that is next what it must be before it has a password; nothing when it is.
///
/// The second login is a member of its role and becomes it: `current_user` is the same whichever
/// of the two has logged in. Settings and limits apply as a session begins, so it has the role's.
///
/// # Errors
///
/// [`Code::OwnershipConflict`] when a role of that name is somebody else's; [`Code::Refused`] when
/// it may do too much; [`Code::NotFound`] when there is no role to log in as.
pub fn prepare(
    tenant: &TenantId,
    reach: Reach,
    pair: &Pair,
    next: Which,
    logins: &Logins,
) -> Result<Plan, Error> {
    let mut plan = Plan::new(tenant.clone(), logins.server.clone());
    let role = pair.role();
    let Some(facts) = &pair.first.facts else {
        return Err(Error::new(Code::NotFound, format!("there is no role {role}"))
            .hint(format!("put it right with: tenantctl create {tenant}")));
    };
    let next = pair.get(next);
    if let Some(found) = &next.facts
        && !found.dangerous.is_empty()
    {
        return Err(Error::new(
            Code::Refused,
            format!("role {} is {}: a login must not be", next.name, found.dangerous.join(", ")),
        )
        .hint("take these attributes away"));
    }
    if next.name == *role {
        return Ok(plan);
    }
    let mut push = |change| plan.push(reach, Site::Server, change);
    let member = logins.members.get(&(role.clone(), next.name.clone()));
    match &next.facts {
        None => push(Change::CreateLogin { name: next.name.clone(), role: role.clone() }),
        // A role of that name that is no login of this one was not made by us.
        Some(_) if next.issued.is_none() && member.is_none() => {
            return Err(Error::new(
                Code::OwnershipConflict,
                format!("role {} exists already, and is no login of {role}", next.name),
            )
            .hint(format!("drop or rename role {} if it is a leftover", next.name)));
        }
        Some(found) => {
            if !found.login {
                push(Change::AllowLogin(next.name.clone()));
            }
            if !found.inherit {
                push(Change::LetInherit(next.name.clone()));
            }
        }
    }
    let inherits = |facts: &crate::model::observed::MembershipFacts| {
        facts.set && (facts.inherit || !logins.server.membership_options())
    };
    if !member.is_some_and(inherits) {
        let change =
            Change::GrantRole { role: role.clone(), member: next.name.clone(), inherit: true };
        push(change);
    }
    // Sessions of a role are ended by whoever may become it.
    let reached = next.facts.as_ref().is_some_and(|facts| facts.operator.set);
    if !logins.server.superuser
        && !reached
        && let Ok(operator) = Ident::new(logins.server.operator.clone())
    {
        let change =
            Change::GrantRole { role: next.name.clone(), member: operator, inherit: false };
        push(change);
    }
    mirror(facts, next, role, &mut push);
    Ok(plan)
}

/// Gives a login the limits and settings of its role, and takes those away that the role has not.
fn mirror(facts: &LoginFacts, next: &Login, role: &Ident, push: &mut impl FnMut(Change)) {
    let none = LoginFacts { connection_limit: -1, ..LoginFacts::default() };
    let has = next.facts.as_ref().unwrap_or(&none);
    if has.connection_limit != facts.connection_limit {
        let change =
            Change::LimitConnections { role: next.name.clone(), limit: facts.connection_limit };
        push(change);
    }
    let mut wanted = facts.settings.clone();
    wanted.entry(None).or_default().insert(ROLE.to_owned(), role.as_str().to_owned());
    let nothing = BTreeMap::new();
    for (database, settings) in &wanted {
        let current = has.settings.get(database).unwrap_or(&nothing);
        for (setting, value) in settings {
            if current.get(setting) != Some(value) {
                let (login, setting) = (next.name.clone(), setting.clone());
                let (database, value) = (database.clone(), value.clone());
                push(Change::MirrorSetting { login, database, setting, value });
            }
        }
    }
    for (database, settings) in &has.settings {
        let wanted = wanted.get(database).unwrap_or(&nothing);
        for setting in settings.keys().filter(|setting| !wanted.contains_key(*setting)) {
            push(Change::ResetForRole {
                role: next.name.clone(),
                database: database.clone(),
                setting: setting.clone(),
            });
        }
    }
}

/// Gives the server new passwords, and the old ones their end, in one transaction.
pub fn activate(
    tenant: &TenantId,
    reach: Reach,
    turns: &[(Changeover, Credential)],
    logins: &Logins,
) -> Plan {
    let mut plan = Plan::new(tenant.clone(), logins.server.clone());
    for (turn, credential) in turns {
        plan.push(
            reach,
            Site::Server,
            Change::IssuePassword {
                login: turn.login.clone(),
                credential: credential.clone(),
                until: turn.until,
            },
        );
        if let Some((login, until)) = &turn.replaces {
            let change = Change::EndPassword { login: login.clone(), until: *until };
            plan.push(reach, Site::Server, change);
        }
    }
    plan
}

/// Takes passwords away; those that are gone are left out.
pub fn revoke(tenant: &TenantId, reach: Reach, ended: &[&Login], logins: &Logins) -> Plan {
    let mut plan = Plan::new(tenant.clone(), logins.server.clone());
    for login in ended {
        if login.validity().is_some_and(|validity| validity != Validity::Ended) {
            let change = Change::EndPassword { login: login.name.clone(), until: Validity::Ended };
            plan.push(reach, Site::Server, change);
        }
    }
    plan
}
