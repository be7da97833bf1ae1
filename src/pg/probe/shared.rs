//! Tenants that share tables, two at a time, as every role that the application uses on them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::canary;
use super::door::Doors;
use super::duel::Duel;
use super::inventory::{self, Reached};
use super::mark::Mark;
use super::plant::{Plot, Side};
use super::predicate;
use super::session::Session;
use super::shape::Shape;
use crate::audit::{Pairs, Survey};
use crate::error::Error;
use crate::model::catalog::{Oid, Privilege, Privileges};
use crate::model::ident::Ident;
use crate::model::layout::Tenancy;
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::pg::audit::Manner;
use crate::sql;
use crate::sql::Literal;

/// So many other roles that one can become are tried.
const FACES: usize = 6;

/// So many values of all other settings together are tried.
const SWITCHES: usize = 24;

/// Probes every table that tenants share.
///
/// # Errors
///
/// When the cluster cannot be reached.
pub(super) async fn probe(doors: &Doors<'_>, manner: &Manner) -> Result<Vec<Probe>, Error> {
    let survey = doors.survey;
    let Some(tenancy) = &survey.estate.tenancy else { return Ok(Vec::new()) };
    let here = |tenant: &&Tenant| {
        tenant.placement.database == survey.catalog.database
            && tenant.placement.cluster == survey.catalog.cluster
    };
    let tenants: Vec<&Tenant> = survey.estate.of(Isolation::Shared).filter(here).collect();
    let Some(first) = tenants.first() else { return Ok(Vec::new()) };
    let pairs = pairs(&tenants, manner);
    if tenants.len() < 2 {
        let why = "there is no second tenant to try it against";
        return Ok(survey
            .estate
            .roles_of(first)
            .flat_map(|role| silent(survey, (first, first), role, why))
            .collect());
    }
    let mut probes = Vec::new();
    // Rows are put there by a role of the target that may: one that only reads stands beside it.
    let writes = |role: &&Ident| {
        survey.subjects.iter().filter(|subject| subject.name == *role).any(|subject| {
            let adds = |table| survey.usable(subject, table).has(Privilege::Insert);
            survey.tables().any(|(_, table)| adds(table))
        })
    };
    let all = pairs.len();
    for (number, (acting, target)) in pairs.into_iter().enumerate() {
        doors.tell((number + 1, all), &acting.id, &target.id);
        let mut roles: Vec<(&Ident, &Ident)> = acting
            .roles
            .iter()
            .enumerate()
            .map(|(at, role)| {
                let same = target.roles.get(at);
                let writer = same.filter(writes).or_else(|| target.roles.iter().find(writes));
                (role, writer.or(same).unwrap_or_else(|| target.role()))
            })
            .collect();
        let readonly = survey.estate.roles_of(acting).skip(acting.roles.len());
        roles.extend(readonly.map(|role| (role, target.role())));
        for (role, home) in roles {
            let side =
                |tenant, role| Side { tenant, role, tenancy: Some(tenancy), mark: Mark::new() };
            let sides = (side(acting, role), side(target, home));
            // What does not depend on who the tenants are is tried once.
            let round = Round { doors, tenancy, truncate: manner.truncate, whole: number == 0 };
            probes.extend(round.run(sides).await?);
        }
    }
    Ok(probes)
}

/// Who tries whom.
///
/// Policies do not know who tenants are: where all act through the same roles, one pair of a ring
/// stands for all of them, and one whose keys are alike, which is what a pattern confuses.
fn pairs<'a>(tenants: &[&'a Tenant], manner: &Manner) -> Vec<(&'a Tenant, &'a Tenant)> {
    let ids: Vec<&TenantId> = tenants.iter().map(|tenant| &tenant.id).collect();
    let asked = |tenant: &TenantId| manner.asked.contains(tenant);
    let mut chosen: Vec<(&Tenant, &Tenant)> = manner
        .pairs
        .choose(&ids, asked)
        .map(|(acting, target)| (tenants[acting], tenants[target]))
        .collect();
    if manner.pairs == Pairs::Ring {
        if tenants.iter().all(|one| one.roles == tenants[0].roles) {
            chosen.truncate(1);
        }
        let alike = tenants.iter().find_map(|acting| {
            let longer = |target: &&&Tenant| {
                target.key.len() > acting.key.len() && target.key.starts_with(&acting.key)
            };
            Some((*acting, *tenants.iter().find(longer)?))
        });
        let alike = alike.filter(|(acting, target)| asked(&acting.id) || asked(&target.id));
        let known = |pair: &(&Tenant, &Tenant)| {
            chosen.iter().any(|(a, t)| a.id == pair.0.id && t.id == pair.1.id)
        };
        let alike = alike.filter(|pair| !known(pair));
        chosen.extend(alike);
    }
    chosen
}

struct Round<'r, 'a> {
    doors: &'r Doors<'a>,
    tenancy: &'a Tenancy,
    truncate: bool,
    /// Whether everything is tried, or only what depends on who the tenants are.
    whole: bool,
}

impl<'a> Round<'_, 'a> {
    async fn run(&self, (acting, target): (Side<'a>, Side<'a>)) -> Result<Vec<Probe>, Error> {
        let survey = self.doors.survey;
        let mut roles = vec![acting.role];
        if target.role != acting.role {
            roles.push(target.role);
        }
        let session = match self.doors.open(&roles).await? {
            Ok(session) => session,
            Err(why) => {
                // Alone it can at least try what its policies admit.
                return match self.doors.open(&roles[..1]).await? {
                    Ok(session) if roles.len() > 1 => {
                        self.alone(session, acting, target, &why).await
                    }
                    Ok(session) => {
                        session.end().await?;
                        Ok(silent(survey, (acting.tenant, target.tenant), acting.role, &why))
                    }
                    Err(why) => {
                        Ok(silent(survey, (acting.tenant, target.tenant), acting.role, &why))
                    }
                };
            }
        };
        let mut duel = match self.duel(session, acting, target, &BTreeMap::new()).await? {
            Ok(duel) => duel,
            Err(probes) => return Ok(probes),
        };
        duel.control().await?;
        duel.read(&Context::Own).await?;
        duel.judge_policies(&Context::Own).await?;
        if self.whole {
            for context in [Context::Prepared, Context::Empty, Context::Malformed, Context::Alike] {
                if context != Context::Prepared || duel.acting.role == duel.target.role {
                    duel.read(&context).await?;
                }
            }
            duel.hold().await?;
            self.become_others(&mut duel).await?;
            self.switch(&mut duel).await?;
            duel.influence().await?;
            duel.judge_policies(&Context::Empty).await?;
            duel.look_in_store().await?;
            duel.pry().await?;
            duel.call().await?;
        }
        duel.write(self.truncate).await?;
        let Duel { mut probes, session, acting, target, shapes, mine, theirs, reached, .. } = duel;
        session.end().await?;
        probes.extend(self.by_owners(&acting, &target, &theirs).await?);
        if self.whole {
            // The state of a session in which nobody ever set the tenant ends with the first canary.
            let roles = [acting.role];
            match self.doors.open(&roles).await? {
                Ok(session) => {
                    let duel = Duel {
                        survey,
                        session,
                        isolation: Isolation::Shared,
                        acting,
                        target,
                        nobody: Uuid::new_v4(),
                        shapes,
                        mine,
                        theirs,
                        reached,
                        controlled: BTreeSet::new(),
                        probes: Vec::new(),
                    };
                    probes.extend(self.unset(duel).await?);
                }
                Err(why) => log::debug!("no fresh session: {why}"),
            }
        }
        Ok(probes)
    }

    /// Once more with rows that the tables' owners put there in the target's name, where the
    /// application may not: it may see them all the same, through views and functions.
    async fn by_owners(
        &self,
        acting: &Side<'a>,
        target: &Side<'a>,
        theirs: &Plot,
    ) -> Result<Vec<Probe>, Error> {
        let survey = self.doors.survey;
        let owners: BTreeMap<Oid, Ident> = survey
            .tables()
            .filter(|(oid, table)| {
                !theirs.planted().contains(oid) && table.parent.is_none() && !self.elsewhere(*oid)
            })
            .filter_map(|(oid, table)| Some((oid, survey.ident(table.owner)?.clone())))
            .collect();
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let mut roles = vec![acting.role];
        for role in std::iter::once(target.role).chain(owners.values()) {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        let session = match self.doors.open(&roles).await? {
            Ok(session) => session,
            Err(why) => {
                log::debug!("nobody puts rows where the application may not: {why}");
                return Ok(Vec::new());
            }
        };
        let again = |side: &Side<'a>| Side { mark: Mark::new(), ..*side };
        let Ok(mut duel) = self.duel(session, again(acting), again(target), &owners).await? else {
            return Ok(Vec::new());
        };
        if duel.theirs.planted().iter().any(|table| owners.contains_key(table)) {
            duel.control().await?;
            duel.read(&Context::Own).await?;
            if self.whole {
                duel.read(&Context::Empty).await?;
                self.become_others(&mut duel).await?;
                duel.influence().await?;
                duel.pry().await?;
                duel.call().await?;
            }
            duel.write(false).await?;
        }
        let Duel { mut probes, session, .. } = duel;
        session.end().await?;
        // What it could not try either was said before.
        probes.retain(|probe| probe.silent().is_none());
        Ok(probes)
    }

    /// Plans everything for a pair; the probes that say why not.
    async fn duel(
        &self,
        session: Session,
        acting: Side<'a>,
        target: Side<'a>,
        owners: &BTreeMap<Oid, Ident>,
    ) -> Result<Result<Duel<'a>, Vec<Probe>>, Error> {
        let survey = self.doors.survey;
        let enter = acting.enter(&session.who);
        let reached = match inventory::relations(&session, &enter).await? {
            Ok(reached) => reached,
            Err(why) => {
                session.end().await?;
                return Ok(Err(silent(survey, (acting.tenant, target.tenant), acting.role, &why)));
            }
        };
        let mut wanted = self.ground(&reached);
        wanted.extend(owners.keys());
        let mut around = wanted.clone();
        around.extend(
            survey
                .catalog
                .foreign_keys
                .iter()
                .filter(|key| wanted.contains(&key.child))
                .map(|key| key.parent),
        );
        around.extend(
            reached.iter().filter(|one| one.kind.is_view() && one.writes()).map(|one| one.oid),
        );
        let shapes = Shape::read(&session, &around).await?;
        let theirs = Plot::plan(&session, &target, &shapes, &wanted, owners).await?;
        let mine = Plot::plan(&session, &acting, &shapes, &wanted, owners).await?;
        Ok(Ok(Duel {
            survey,
            session,
            isolation: Isolation::Shared,
            acting,
            target,
            nobody: Uuid::new_v4(),
            shapes,
            mine,
            theirs,
            reached,
            controlled: BTreeSet::new(),
            probes: Vec::new(),
        }))
    }

    /// The tables in which tenants have rows: with the tenant column, or pointing at one that has.
    fn ground(&self, reached: &[Reached]) -> BTreeSet<Oid> {
        let survey = self.doors.survey;
        let tables = inventory::tables(reached);
        let mut ground: BTreeSet<Oid> =
            survey.tenant_tables.iter().copied().filter(|oid| tables.contains(oid)).collect();
        loop {
            let more: Vec<Oid> = survey
                .catalog
                .foreign_keys
                .iter()
                .filter(|key| ground.contains(&key.parent) && !ground.contains(&key.child))
                .map(|key| key.child)
                .filter(|child| tables.contains(child) && !self.elsewhere(*child))
                .collect();
            if more.is_empty() {
                return ground;
            }
            ground.extend(more);
        }
    }

    /// Whether a table lies on one tenant's own ground.
    fn elsewhere(&self, table: Oid) -> bool {
        let survey = self.doors.survey;
        survey
            .catalog
            .relations
            .get(&table)
            .is_some_and(|facts| survey.territories.contains_key(&facts.schema))
    }

    /// What the acting role sees once it has become another that it can.
    async fn become_others(&self, duel: &mut Duel<'a>) -> Result<(), Error> {
        let survey = self.doors.survey;
        let subject = survey.subjects.iter().find(|subject| subject.name == duel.acting.role);
        let faces: Vec<Ident> = subject
            .map(|subject| survey.faces(subject))
            .unwrap_or_default()
            .into_iter()
            .skip(1)
            .filter_map(|face| survey.ident(face).cloned())
            .filter(|face| !face.as_str().starts_with("pg_"))
            .take(FACES)
            .collect();
        for face in faces {
            duel.read(&Context::Became(face)).await?;
        }
        Ok(())
    }

    /// What the acting role sees once other settings that policies read are on.
    async fn switch(&self, duel: &mut Duel<'a>) -> Result<(), Error> {
        let catalog = self.doors.survey.catalog;
        let mut texts: Vec<&str> = Vec::new();
        for policy in &catalog.policies {
            texts.extend(policy.using.as_deref());
            texts.extend(policy.check.as_deref());
            texts.extend(
                policy
                    .functions
                    .iter()
                    .filter_map(|oid| Some(catalog.functions.get(oid)?.body.as_str())),
            );
        }
        let views = catalog.relations.values().filter_map(|relation| relation.view.as_ref());
        texts.extend(views.map(|view| view.definition.as_str()));
        let mut left = SWITCHES;
        for (setting, values) in predicate::switches(&texts, self.tenancy) {
            for value in values {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                let context = Context::Switched(setting.clone(), value);
                let before = duel.probes.len();
                duel.read(&context).await?;
                // What stays closed under a switch was closed before: one line for all is enough.
                let crossed = duel.probes[before..].iter().any(Probe::crossed);
                duel.probes.retain(|probe| probe.crossed() || probe.context != context);
                if crossed {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Without the other tenant's session: what policies admit, and what the target has already.
    async fn alone(
        &self,
        session: Session,
        acting: Side<'a>,
        target: Side<'a>,
        why: &str,
    ) -> Result<Vec<Probe>, Error> {
        let survey = self.doors.survey;
        let (tenant, other, role) = (acting.tenant, target.tenant, acting.role);
        let side = |side: Side<'a>| Side { role, ..side };
        // The target's rows are looked for; none is made, as nobody here is the target.
        let duel = self.duel(session, side(acting), side(target), &BTreeMap::new()).await?;
        let mut duel = match duel {
            Ok(duel) => duel,
            Err(probes) => return Ok(probes),
        };
        duel.theirs = Plot::none(&duel.target);
        duel.read(&Context::Own).await?;
        for context in [Context::Own, Context::Empty] {
            duel.judge_policies(&context).await?;
        }
        let Duel { mut probes, session, .. } = duel;
        session.end().await?;
        probes.retain(|probe| probe.silent().is_none());
        probes.extend(silent(survey, (tenant, other), role, why));
        Ok(probes)
    }

    /// Tries, in a session that never had a tenant, what can be tried there.
    async fn unset(&self, mut duel: Duel<'a>) -> Result<Vec<Probe>, Error> {
        let context = Context::Unset;
        let enter = duel.session.who.enter(duel.acting.role, None);
        let setting = Literal(self.tenancy.setting.as_str());
        let script =
            [enter.as_slice(), &[sql!("SELECT pg_catalog.current_setting({}, true)", setting)]]
                .concat();
        let answer = duel.session.attempt(&script).await?;
        let begins = answer.last().and_then(|done| done.rows.first()?.first()?.clone());
        duel.judge_policies(&context).await?;
        let tables: Vec<Reached> = duel
            .reached
            .iter()
            .filter(|one| one.kind.is_table() && duel.column(one.oid).is_some())
            .cloned()
            .collect();
        for table in tables {
            let Some(column) = duel.column(table.oid).map(|column| column.name.clone()) else {
                continue;
            };
            if table.shows(&column) {
                // Where roles tell tenants apart, it sees its own rows by right.
                let whose = match duel.column(table.oid) {
                    Some(column) if duel.acting.role != duel.target.role => {
                        sql!("= {}", canary::typed(column, &duel.target.tenant.key))
                    }
                    _ => sql!("IS NOT NULL"),
                };
                let look = sql!(
                    "SELECT count(*) FROM (SELECT FROM {} WHERE {} {} LIMIT 1) AS seen",
                    table.name,
                    column,
                    whose
                );
                let script = [enter.as_slice(), &[look]].concat();
                let outcome = duel.count(&script, true).await?;
                duel.note(&table, Attempt::Read, &context, outcome, &script);
            }
            if !table.inserts || !duel.theirs.own().contains(&table.oid) {
                continue;
            }
            let script = [enter.clone(), duel.theirs.bare(table.oid)].concat();
            let answer = duel.session.attempt(&script).await?;
            let stamps = duel
                .survey
                .catalog
                .triggers
                .iter()
                .any(|t| t.relation == table.oid && t.before_row);
            let outcome = match Duel::judge(&answer, true) {
                // What came before it may have broken as well.
                Outcome::Constraint(_) => continue,
                Outcome::Rows(1..) if stamps => continue,
                outcome => outcome,
            };
            let added = matches!(outcome, Outcome::Rows(1..));
            duel.note(&table, Attempt::Insert, &context, outcome, &script);
            if added && table.reads {
                let mut script = script;
                script.push(duel.look(&table, &duel.target));
                let outcome = duel.count(&script, true).await?;
                duel.note(&table, Attempt::Read, &context, outcome, &script);
            }
        }
        let Duel { mut probes, session, .. } = duel;
        session.end().await?;
        let Some(key) = begins.filter(|key| !key.is_empty()) else { return Ok(probes) };
        // A session that begins as somebody is never without a tenant. It is said once.
        probes.retain(Probe::crossed);
        probes.truncate(1);
        for probe in &mut probes {
            probe.kind = "setting";
            probe.object =
                format!("{} of {}, which begins as {key:?}", self.tenancy.setting, probe.role);
        }
        Ok(probes)
    }
}

/// Says of every table that a role uses why nothing was tried there.
fn silent(
    survey: &Survey<'_>,
    (acting, target): (&Tenant, &Tenant),
    role: &Ident,
    why: &str,
) -> Vec<Probe> {
    let subject = survey.subjects.iter().find(|subject| subject.name == role);
    survey
        .tables()
        .filter(|(_, table)| {
            let partition =
                table.parent.is_some_and(|parent| survey.tenant_tables.contains(&parent));
            !partition
                && subject
                    .is_some_and(|s| !survey.usable(s, table).and(Privileges::ROWS).is_empty())
        })
        .map(|(_, table)| Probe {
            isolation: Isolation::Shared,
            acting: acting.id.clone(),
            target: target.id.clone(),
            role: role.clone(),
            kind: table.kind.word(),
            object: table.name.to_string(),
            attempt: Attempt::Read,
            context: Context::Own,
            method: Method::Statement,
            outcome: Outcome::NotProbed(why.to_owned()),
            reproduce: String::new(),
        })
        .collect()
}
