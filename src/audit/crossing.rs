//! Privileges of one tenant's role on another tenant's ground: a schema, or a whole database.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Fix, Severity};
use super::rules::Rule;
use super::survey::{Subject, Survey, Territory};
use crate::model::catalog::{Grant, Oid, PUBLIC, Privilege, Privileges};
use crate::model::tenant::Isolation;
use crate::sql;
use crate::sql::Sql;

/// Finds every grant and every ownership on a tenant's ground that another tenant's role can use.
///
/// Starts from grants, not from pairs of tenants: the work grows with the grants there are. What a
/// role reaches by being a member of the ground's own tenant is another rule's finding.
pub(super) fn crossings(survey: &Survey<'_>, rule: &Rule, isolation: Isolation) -> Vec<Finding> {
    let mut found = Vec::new();
    let grounds: BTreeMap<Oid, &Territory<'_>> = survey
        .territories
        .iter()
        .filter(|(_, ground)| ground.tenants.iter().all(|tenant| tenant.isolation == isolation))
        .map(|(schema, ground)| (*schema, ground))
        .collect();
    let mut sites = BTreeMap::new();
    for (schema, ground) in &grounds {
        let Some(facts) = survey.catalog.schemas.get(schema) else { continue };
        let site = Site { schema: *schema, ground, own: own_roles(survey, ground) };
        let grants = by_grantee(&facts.grants, facts.owner);
        for (grantee, held) in grants {
            let Some(hit) = site.foreign(survey, grantee, false) else { continue };
            // To name what is in a schema is little; to make objects there is to lay traps.
            let grave = if held.has(Privilege::Create) { Severity::High } else { Severity::Medium };
            let revoke = survey
                .ident(grantee)
                .filter(|_| grantee != facts.owner)
                .map(|role| sql!("REVOKE ALL ON SCHEMA {} FROM {}", facts.name, role));
            let object = survey.object("schema", &facts.name);
            found.push(site.finding(rule, object, &hit, held, revoke).severity(grave));
        }
        sites.insert(*schema, site);
    }
    for relation in survey.catalog.relations.values() {
        let Some(site) = sites.get(&relation.schema) else { continue };
        for (grantee, held) in by_grantee(&relation.grants, relation.owner) {
            let Some(hit) = site.foreign(survey, grantee, true) else { continue };
            let revoke = survey
                .ident(grantee)
                .filter(|_| grantee != relation.owner)
                .map(|role| sql!("REVOKE ALL ON {} FROM {}", relation.name, role));
            let grave = if hit.enters { rule.severity } else { Severity::Low };
            let finding = site.finding(rule, survey.relation(relation), &hit, held, revoke);
            found.push(finding.severity(grave));
        }
    }
    found
}

/// A tenant's schema, with the roles that are at home there.
struct Site<'s, 'a> {
    schema: Oid,
    ground: &'s Territory<'a>,
    own: BTreeSet<Oid>,
}

/// Who from elsewhere can use a grantee's privileges.
struct Hit<'s, 'a> {
    subject: &'s Subject<'a>,
    more: usize,
    enters: bool,
}

impl<'s, 'a> Site<'s, 'a> {
    fn foreign(&self, survey: &'s Survey<'a>, grantee: Oid, inside: bool) -> Option<Hit<'s, 'a>> {
        // PUBLIC and memberships between tenants have rules of their own.
        if grantee == PUBLIC || self.own.contains(&grantee) {
            return None;
        }
        // What a login may become, it becomes by design; what it inherits is its own.
        let inherits = |subject: &Subject<'_>| {
            subject.login && subject.closure.get(&grantee).is_some_and(|path| path.inherited)
        };
        let foreigners = survey.users_of(grantee).filter(|subject| {
            (!subject.tenants.is_empty() || inherits(subject))
                && self.ground.tenants.iter().all(|own| !subject.acts_for(&own.id))
        });
        let mut hit: Option<Hit<'_, '_>> = None;
        for subject in foreigners {
            let enters = !inside || survey.enters(subject, self.schema);
            match &mut hit {
                None => hit = Some(Hit { subject, more: 0, enters }),
                Some(hit) if enters && !hit.enters => {
                    *hit = Hit { subject, more: hit.more + 1, enters };
                }
                Some(hit) => hit.more += 1,
            }
        }
        hit
    }

    fn finding(
        &self,
        rule: &Rule,
        object: super::finding::Object,
        hit: &Hit<'_, '_>,
        held: Privileges,
        revoke: Option<Sql>,
    ) -> Finding {
        let own = &self.ground.tenants[0].id;
        let who = match hit.subject.tenants.first() {
            Some(tenant) => format!("role {} of tenant {}", hit.subject.name, tenant.id),
            None => format!("login {}", hit.subject.name),
        };
        let more = match hit.more {
            0 => String::new(),
            more => format!(" and {more} more roles"),
        };
        let latent = if hit.enters { "" } else { ", once it may use the schema" };
        let message =
            format!("{who}{more} can use {} of tenant {own}{latent}: {held}", object.name);
        let fix = revoke.map_or_else(
            || Fix::Advice(format!("give {} to the owner of tenant {own}", object.name)),
            |revoke| Fix::Sql(vec![revoke]),
        );
        let tenants = self.ground.tenants.iter().chain(hit.subject.tenants.iter().take(1));
        Finding::new(rule.id, rule.severity, object, message, fix)
            .role(hit.subject.name)
            .operation(held)
            .tenants(tenants.map(|tenant| &tenant.id))
    }
}

/// The owner and the application's roles of a ground's tenants.
fn own_roles(survey: &Survey<'_>, ground: &Territory<'_>) -> BTreeSet<Oid> {
    let mut own: BTreeSet<Oid> = survey
        .subjects
        .iter()
        .filter(|subject| ground.tenants.iter().any(|tenant| subject.acts_for(&tenant.id)))
        .map(|subject| subject.role)
        .collect();
    own.extend(ground.tenants.iter().filter_map(|tenant| survey.number(&tenant.owner)));
    own
}

/// Everything that each grantee holds, columns included; the owner holds all.
fn by_grantee(grants: &[Grant], owner: Oid) -> BTreeMap<Oid, Privileges> {
    let mut held: BTreeMap<Oid, Privileges> = BTreeMap::new();
    for grant in grants {
        let sum = held.entry(grant.grantee).or_default();
        *sum = sum.or(grant.privileges);
    }
    let sum = held.entry(owner).or_default();
    if sum.is_empty() {
        *sum = Privileges::ROWS;
    }
    held
}
