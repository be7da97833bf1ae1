//! Tenants with a schema or a database of their own: each tries its neighbour's tables.
//!
//! The statements touch no row (`WHERE false`): whether the server lets them through is all there is
//! to learn. Tenants stand in a ring and try one neighbour each, so that the work grows with their
//! number; what another than the neighbour could do is for the static rules.

use std::collections::BTreeMap;

use super::session::{Answer, Session, enter};
use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::{Oid, Relation, RelationKind};
use crate::model::ident::Ident;
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::{Isolation, Tenant};
use crate::sql;
use crate::sql::{Literal, Sql};

/// Probes every tenant's own ground in this database, as the tenant before it.
pub(super) async fn probe(session: &Session<'_>, survey: &Survey<'_>) -> Result<Vec<Probe>, Error> {
    let mut inside: BTreeMap<Oid, Vec<&Relation>> = BTreeMap::new();
    for relation in survey.catalog.relations.values() {
        if relation.kind != RelationKind::Sequence {
            inside.entry(relation.schema).or_default().push(relation);
        }
    }
    let mut probes = Vec::new();
    for isolation in [Isolation::Schema, Isolation::Database] {
        for (acting, target) in ring(survey, isolation) {
            for role in &acting.roles {
                let schemas = survey.territories.iter().filter(|(_, ground)| {
                    ground.tenants.iter().any(|tenant| tenant.id == target.id)
                });
                for (schema, _) in schemas {
                    let Some(relations) = inside.get(schema) else { continue };
                    let raid = Raid { session, survey, acting, target, role };
                    raid.schema(*schema, relations, &mut probes).await?;
                }
            }
        }
    }
    Ok(probes)
}

/// Who tries whom. Tenants that act through one role cannot be told apart by trying.
fn ring<'a>(survey: &Survey<'a>, isolation: Isolation) -> Vec<(&'a Tenant, &'a Tenant)> {
    let all: Vec<&Tenant> = survey
        .estate
        .of(isolation)
        .filter(|tenant| tenant.placement.cluster == survey.catalog.cluster)
        .collect();
    (0..all.len())
        .map(|at| (all[at], all[(at + 1) % all.len()]))
        .filter(|(acting, target)| {
            acting.id != target.id
                && acting.roles != target.roles
                && target.placement.database == survey.catalog.database
        })
        .collect()
}

struct Raid<'a, 'c> {
    session: &'a Session<'c>,
    survey: &'a Survey<'a>,
    acting: &'a Tenant,
    target: &'a Tenant,
    role: &'a Ident,
}

impl Raid<'_, '_> {
    async fn schema(
        &self,
        schema: Oid,
        relations: &[&Relation],
        probes: &mut Vec<Probe>,
    ) -> Result<(), Error> {
        let (Some(facts), Some(first)) =
            (self.survey.catalog.schemas.get(&schema), relations.first())
        else {
            return Ok(());
        };
        if let Some(why) = self.session.barred(self.role).await? {
            probes.push(self.probe(first, Attempt::Read, Outcome::NotProbed(why)));
            return Ok(());
        }
        let name = Literal(facts.name.as_str());
        let mut script = enter(self.role, None);
        script.push(sql!(
            "SELECT count(*) FROM pg_catalog.pg_namespace AS n WHERE n.nspname = {} \
             AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')",
            name
        ));
        let enters = self.session.attempt(&script).await?.number() != Some(0);
        // A closed schema closes all that is in it: one statement shows it.
        let tried = if enters { relations } else { &relations[..1] };
        for relation in tried {
            for attempt in [Attempt::Read, Attempt::Insert, Attempt::Update, Attempt::Delete] {
                if let Some(statement) = harmless(relation, attempt) {
                    let outcome = self.attempt(statement).await?;
                    probes.push(self.probe(relation, attempt, outcome));
                }
            }
        }
        Ok(())
    }

    async fn attempt(&self, statement: Sql) -> Result<Outcome, Error> {
        let mut script = enter(self.role, None);
        script.push(statement);
        Ok(match self.session.attempt(&script).await? {
            Answer::Done { .. } => Outcome::Allowed,
            Answer::Refused { .. } => Outcome::Refused,
            Answer::Failed { sqlstate, message, .. } => Outcome::Failed { sqlstate, message },
        })
    }

    fn probe(&self, relation: &Relation, attempt: Attempt, outcome: Outcome) -> Probe {
        Probe {
            isolation: self.target.isolation,
            acting: self.acting.id.clone(),
            target: self.target.id.clone(),
            role: self.role.clone(),
            relation: relation.name.clone(),
            attempt,
            context: Context::Role,
            method: Method::Statement,
            outcome,
        }
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
        Attempt::Control | Attempt::Move => None,
    }
}
