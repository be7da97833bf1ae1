//! Tenants with a schema or a database of their own: each tries its neighbour's ground.
//!
//! Tenants stand in a ring and try one neighbour each, by statements that touch no row: whether the
//! server lets them through is all there is to learn. A sample of them is set against each other
//! whole, with rows that are made up, which finds what was carried elsewhere. What another than the
//! neighbour could do is for the static rules.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::door::Doors;
use super::duel::Duel;
use super::enter::reproduction;
use super::inventory;
use super::mark::Mark;
use super::plant::{Plot, Side};
use super::session::{Answer, Session};
use super::shape::Shape;
use crate::audit::{Pairs, Survey};
use crate::error::Error;
use crate::model::catalog::{Oid, Privilege, Relation, RelationKind};
use crate::model::ident::Ident;
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::pg::audit::Manner;
use crate::sql;
use crate::sql::{Literal, Sql};

/// Probes every tenant's own ground in this database, as the tenant before it.
///
/// # Errors
///
/// When the cluster cannot be reached.
pub(super) async fn probe(doors: &Doors<'_>, manner: &Manner) -> Result<Vec<Probe>, Error> {
    let survey = doors.survey;
    let mut inside: BTreeMap<Oid, Vec<&Relation>> = BTreeMap::new();
    for relation in survey.catalog.relations.values() {
        if relation.kind != RelationKind::Sequence {
            inside.entry(relation.schema).or_default().push(relation);
        }
    }
    let mut probes = Vec::new();
    for isolation in [Isolation::Schema, Isolation::Database] {
        let mut open: Option<(Ident, Session)> = None;
        let pairs = pairs(survey, isolation, manner);
        let all = pairs.len();
        for (number, (acting, target)) in pairs.into_iter().enumerate() {
            doors.tell((number + 1, all), &acting.id, &target.id);
            for role in survey.estate.roles_of(acting) {
                let raid = Raid { survey, acting, target, role };
                if isolation == Isolation::Database
                    && let Some(probe) = raid.connect(doors).await?
                {
                    let closed = matches!(probe.outcome, Outcome::Refused);
                    probes.push(probe);
                    if closed {
                        continue;
                    }
                }
                // One login that becomes every tenant's role serves all of them.
                let fits = match &open {
                    Some((_, session)) => raid.becomes(session).await?,
                    None => false,
                };
                if !fits {
                    if let Some((_, session)) = open.take() {
                        session.end().await?;
                    }
                    match doors.open(&[role]).await? {
                        Ok(session) => open = Some((role.clone(), session)),
                        Err(why) => {
                            probes.extend(raid.silent(&inside, &why));
                            continue;
                        }
                    }
                }
                if let Some((_, session)) = &open {
                    raid.schemas(session, &inside, &mut probes).await?;
                }
            }
        }
        if let Some((_, session)) = open.take() {
            session.end().await?;
        }
    }
    // A pair costs tens of milliseconds: a ring is set against each other in part.
    let sample = if manner.pairs == Pairs::Ring { WHOLE } else { usize::MAX };
    let mut pairs = pairs(survey, Isolation::Schema, manner);
    pairs.truncate(sample);
    let all = pairs.len();
    for (number, (acting, target)) in pairs.into_iter().enumerate() {
        doors.tell((number + 1, all), &acting.id, &target.id);
        for role in survey.estate.roles_of(acting) {
            probes.extend(whole(doors, manner.truncate, (acting, target), role).await?);
        }
    }
    Ok(probes)
}

/// So many pairs of a ring are set against each other whole.
const WHOLE: usize = 8;

/// Who tries whom. Tenants that act through one role cannot be told apart by trying.
fn pairs<'a>(
    survey: &Survey<'a>,
    isolation: Isolation,
    manner: &Manner,
) -> Vec<(&'a Tenant, &'a Tenant)> {
    let all: Vec<&Tenant> = survey
        .estate
        .of(isolation)
        .filter(|tenant| tenant.placement.cluster == survey.catalog.cluster)
        .collect();
    let ids: Vec<&TenantId> = all.iter().map(|tenant| &tenant.id).collect();
    manner
        .pairs
        .choose(&ids, |tenant| manner.asked.contains(tenant))
        .map(|(acting, target)| (all[acting], all[target]))
        .filter(|(acting, target)| {
            acting.roles != target.roles && target.placement.database == survey.catalog.database
        })
        .collect()
}

/// Sets two tenants against each other, with rows that are made up.
async fn whole(
    doors: &Doors<'_>,
    truncate: bool,
    (acting, target): (&Tenant, &Tenant),
    role: &Ident,
) -> Result<Vec<Probe>, Error> {
    let survey = doors.survey;
    let here = acting.placement.database == survey.catalog.database;
    if !here {
        return Ok(Vec::new());
    }
    let session = match doors.open(&[role, target.role()]).await? {
        Ok(session) => session,
        Err(why) => {
            log::debug!("{} and {} are not set against each other: {why}", acting.id, target.id);
            return Ok(Vec::new());
        }
    };
    let side = |tenant, role| Side { tenant, role, tenancy: None, mark: Mark::new() };
    let (acting, target) = (side(acting, role), side(target, target.role()));
    let home: BTreeSet<Oid> = survey
        .territories
        .iter()
        .filter(|(_, ground)| ground.tenants.iter().any(|one| one.id == target.tenant.id))
        .map(|(schema, _)| *schema)
        .collect();
    let theirs =
        inventory::relations(&session, &target.enter(&session.who)).await?.unwrap_or_default();
    let inserts: BTreeSet<Oid> =
        theirs.iter().filter(|one| one.inserts).map(|one| one.oid).collect();
    // The target writes on its own ground, and on common ground that it may write to.
    let wanted: BTreeSet<Oid> = theirs
        .iter()
        .filter(|one| one.kind.is_table() && one.inserts)
        .filter(|one| {
            survey.catalog.relations.get(&one.oid).is_some_and(|facts| {
                facts.parent.is_none_or(|parent| !inserts.contains(&parent))
                    && !Survey::is_history(facts)
                    && (home.contains(&facts.schema)
                        || !survey.territories.contains_key(&facts.schema))
            })
        })
        .map(|one| one.oid)
        .collect();
    let reached =
        inventory::relations(&session, &acting.enter(&session.who)).await?.unwrap_or_default();
    let mut around = wanted.clone();
    around.extend(theirs.iter().filter(|one| one.kind.is_table()).map(|one| one.oid));
    let shapes = Shape::read(&session, &around).await?;
    let theirs = Plot::plan(&session, &target, &shapes, &wanted, &BTreeMap::new()).await?;
    let mut duel = Duel {
        survey,
        session,
        isolation: Isolation::Schema,
        mine: Plot::none(&acting),
        acting,
        target,
        nobody: Uuid::new_v4(),
        shapes,
        theirs,
        reached,
        controlled: BTreeSet::new(),
        probes: Vec::new(),
    };
    duel.control().await?;
    duel.read(&Context::Role).await?;
    duel.influence().await?;
    duel.look_in_store().await?;
    duel.pry().await?;
    duel.call().await?;
    duel.write(truncate).await?;
    let Duel { mut probes, session, .. } = duel;
    session.end().await?;
    // That rows of common ground were not seen says nothing: nobody said whose they are.
    probes.retain(|probe| probe.crossed() || probe.silent().is_none());
    Ok(probes)
}

struct Raid<'s, 'a> {
    survey: &'s Survey<'a>,
    acting: &'a Tenant,
    target: &'a Tenant,
    role: &'a Ident,
}

impl Raid<'_, '_> {
    /// Whether an open session can be the acting role.
    async fn becomes(&self, session: &Session) -> Result<bool, Error> {
        if session.who.login == *self.role {
            return Ok(true);
        }
        let script = [sql!("SET LOCAL ROLE {}", self.role)];
        Ok(session.who.is_application()
            && matches!(session.attempt(&script).await?, Answer::Done(_)))
    }

    /// Logs in to the target's database; none when that cannot be tried.
    async fn connect(&self, doors: &Doors<'_>) -> Result<Option<Probe>, Error> {
        let database = &self.target.placement.database;
        let Some(admitted) = doors.admits(database, self.role).await? else { return Ok(None) };
        let outcome = if admitted { Outcome::Allowed } else { Outcome::Refused };
        let mut probe =
            self.probe(("database", database.to_string()), Attempt::Connect, outcome, &[]);
        if admitted {
            probe.reproduce = format!("-- as {}:\n\\connect {database}", self.role);
        }
        Ok(Some(probe))
    }

    fn silent(&self, inside: &BTreeMap<Oid, Vec<&Relation>>, why: &str) -> Vec<Probe> {
        self.grounds()
            .filter_map(|schema| inside.get(&schema)?.first())
            .map(|first| {
                let object = (first.kind.word(), first.name.to_string());
                self.probe(object, Attempt::Read, Outcome::NotProbed(why.to_owned()), &[])
            })
            .collect()
    }

    fn grounds(&self) -> impl Iterator<Item = Oid> {
        self.survey
            .territories
            .iter()
            .filter(|(_, ground)| ground.tenants.iter().any(|tenant| tenant.id == self.target.id))
            .map(|(schema, _)| *schema)
    }

    async fn schemas(
        &self,
        session: &Session,
        inside: &BTreeMap<Oid, Vec<&Relation>>,
        probes: &mut Vec<Probe>,
    ) -> Result<(), Error> {
        for schema in self.grounds() {
            let (Some(relations), Some(facts)) =
                (inside.get(&schema), self.survey.catalog.schemas.get(&schema))
            else {
                continue;
            };
            let mut script = session.who.enter(self.role, None);
            script.push(sql!(
                "SELECT count(*) FROM pg_catalog.pg_namespace AS n WHERE n.nspname = {} \
                 AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')",
                Literal(facts.name.as_str())
            ));
            let enters = session.attempt(&script).await?.number() != Some(0);
            // A closed schema closes all that is in it: one statement shows it.
            let tried = if enters { relations } else { &relations[..1] };
            for relation in tried {
                for attempt in [
                    Attempt::Read,
                    Attempt::Insert,
                    Attempt::Update,
                    Attempt::Delete,
                    Attempt::Truncate,
                ] {
                    if let Some(statement) = harmless(relation, attempt) {
                        let (outcome, script) = self.attempt(session, statement, attempt).await?;
                        let object = (relation.kind.word(), relation.name.to_string());
                        probes.push(self.probe(object, attempt, outcome, &script));
                    }
                }
            }
        }
        Ok(())
    }

    async fn attempt(
        &self,
        session: &Session,
        statement: Sql,
        attempt: Attempt,
    ) -> Result<(Outcome, Vec<Sql>), Error> {
        let mut script = session.who.enter(self.role, None);
        script.push(statement);
        let outcome = match session.attempt(&script).await? {
            answer @ Answer::Done(_) if attempt == Attempt::Truncate => match answer.number() {
                Some(1..) => Outcome::Allowed,
                _ => Outcome::Refused,
            },
            Answer::Done(_) => Outcome::Allowed,
            Answer::Refused { .. } => Outcome::Refused,
            Answer::Failed { sqlstate, message, .. } => Outcome::Failed { sqlstate, message },
        };
        Ok((outcome, script))
    }

    fn probe(
        &self,
        (kind, object): (&'static str, String),
        attempt: Attempt,
        outcome: Outcome,
        script: &[Sql],
    ) -> Probe {
        let mut probe = Probe {
            isolation: self.target.isolation,
            acting: self.acting.id.clone(),
            target: self.target.id.clone(),
            role: self.role.clone(),
            kind,
            object,
            attempt,
            context: Context::Role,
            method: Method::Statement,
            outcome,
            reproduce: String::new(),
        };
        if probe.crossed() {
            probe.reproduce = reproduction(script);
        }
        probe
    }
}

/// A statement that needs the privilege and touches no row; only reading is tried on views.
fn harmless(relation: &Relation, attempt: Attempt) -> Option<Sql> {
    let name = &relation.name;
    match attempt {
        Attempt::Read => Some(sql!("SELECT FROM {} WHERE false", name)),
        _ if !relation.kind.is_table() => None,
        Attempt::Insert => Some(sql!("INSERT INTO {} SELECT WHERE false", name)),
        Attempt::Update => relation
            .first_column
            .as_ref()
            .map(|column| sql!("UPDATE {} SET {} = DEFAULT WHERE false", name, column)),
        Attempt::Delete => Some(sql!("DELETE FROM {} WHERE false", name)),
        // There is no such form of TRUNCATE, and it locks a table against everybody.
        Attempt::Truncate => {
            let granted =
                relation.grants.iter().any(|grant| grant.privileges.has(Privilege::Truncate));
            let text = name.to_string();
            granted.then(|| {
                sql!("SELECT CASE WHEN pg_catalog.has_table_privilege({}, 'TRUNCATE') THEN 1 ELSE 0 END", Literal(&text))
            })
        }
        _ => None,
    }
}
