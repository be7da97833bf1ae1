//! Two tenants of shared tables: one acts, and the other's rows must stay out of its reach.
//!
//! Writes never name rows. A WHERE or RETURNING would add the SELECT policies to the statement and
//! hide a hole in the others. To hit no live row of a sound table, they run in the context of a tenant
//! that does not exist: whatever they hit is somebody else's.

use super::SMALL;
use super::canary;
use super::predicate;
use super::rows::Rows;
use super::session::{Answer, Session, enter};
use super::trust;
use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::{Command, Oid, Policy, Privileges, Relation, RelationKind};
use crate::model::ident::Ident;
use crate::model::layout::Tenancy;
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::{Isolation, Tenant};
use crate::sql;
use crate::sql::{Literal, Sql};

/// Probes every table that tenants share, as every role that the application uses on it.
pub(super) async fn probe(session: &Session<'_>, survey: &Survey<'_>) -> Result<Vec<Probe>, Error> {
    let Some(tenancy) = &survey.estate.tenancy else { return Ok(Vec::new()) };
    let here = |tenant: &&Tenant| {
        tenant.placement.database == survey.catalog.database
            && tenant.placement.cluster == survey.catalog.cluster
    };
    let mut tenants = survey.estate.of(Isolation::Shared).filter(here);
    let Some(acting) = tenants.next() else { return Ok(Vec::new()) };
    let second = tenants.next();
    let target = second.unwrap_or(acting);
    let mut pairs: Vec<(&Ident, &Ident)> = acting
        .roles
        .iter()
        .enumerate()
        .map(|(at, role)| (role, target.roles.get(at).unwrap_or_else(|| target.role())))
        .collect();
    pairs.extend(survey.estate.readonly_roles.iter().map(|role| (role, target.role())));
    let mut duel = Duel {
        session,
        survey,
        tenancy,
        acting,
        target,
        role: acting.role(),
        home: target.role(),
        probes: Vec::new(),
    };
    if second.is_none() {
        for (role, _) in &pairs {
            duel.role = role;
            duel.skip("there is no second tenant to try it against");
        }
        return Ok(duel.probes);
    }
    // The state of a session in which nobody ever set the tenant ends with the first canary.
    for (role, home) in &pairs {
        (duel.role, duel.home) = (role, home);
        duel.unset().await?;
    }
    let mut rows = Rows::new(session, survey, tenancy);
    for (role, home) in &pairs {
        (duel.role, duel.home) = (role, home);
        duel.round(&mut rows).await?;
    }
    Ok(duel.probes)
}

struct Duel<'a, 'c> {
    session: &'a Session<'c>,
    survey: &'a Survey<'a>,
    tenancy: &'a Tenancy,
    acting: &'a Tenant,
    target: &'a Tenant,
    /// The role that acts.
    role: &'a Ident,
    /// The role under which the target's rows are made and looked for.
    home: &'a Ident,
    probes: Vec<Probe>,
}

impl<'a> Duel<'a, '_> {
    /// Tries, in a session that never had a tenant, what needs no row to be made.
    async fn unset(&mut self) -> Result<(), Error> {
        let setting = Literal(self.tenancy.setting.as_str());
        let fresh = sql!("SELECT pg_catalog.current_setting({}, true) IS NULL", setting);
        let fresh = self.session.attempt(&[fresh]).await?;
        let fresh = matches!(fresh, Answer::Done { first, .. } if first == [Some("t".to_owned())]);
        if self.session.barred(self.role).await?.is_some() {
            return Ok(());
        }
        if !fresh {
            let why = "the session had a tenant before, and only a fresh one never had".to_owned();
            if let Some((_, table)) = self.tables().first() {
                self.note(table, Attempt::Read, Context::Unset, Outcome::NotProbed(why));
            }
            return Ok(());
        }
        if trust::distrusted(self.session, self.survey, self.role).is_some() {
            return Ok(());
        }
        for (oid, table) in self.tables() {
            let look = sql!("SELECT count(*) FROM (SELECT FROM {} LIMIT 1) AS seen", table.name);
            self.observe(table, Attempt::Read, Context::Unset, None, look).await?;
            self.predicates((oid, table), Context::Unset).await?;
        }
        Ok(())
    }

    /// Makes both tenants a row in every table, and then tries everything.
    async fn round(&mut self, rows: &mut Rows<'_, '_>) -> Result<(), Error> {
        let tables = self.tables();
        for role in [self.role, self.home] {
            let why = match self.session.barred(role).await? {
                Some(why) => Some(why),
                None => trust::distrusted(self.session, self.survey, role),
            };
            if let Some(why) = why {
                self.skip(&why);
                return Ok(());
            }
        }
        let oids: Vec<Oid> = tables.iter().map(|(oid, _)| *oid).collect();
        let keys = &self.survey.catalog.foreign_keys;
        let edges: Vec<_> = keys.iter().map(|key| (key.child, key.parent)).collect();
        // What tables point at beyond the tenants' own is looked for as well.
        let outside =
            edges.iter().filter(|(child, parent)| oids.contains(child) && !oids.contains(parent));
        let mut order: Vec<Oid> = outside.map(|(_, parent)| *parent).collect();
        order.extend(canary::parents_first(&oids, &edges));
        for oid in order {
            for tenant in [self.target, self.acting] {
                rows.provide(oid, tenant).await?;
            }
        }
        for (oid, table) in tables {
            self.table(oid, table, rows).await?;
        }
        Ok(())
    }

    /// Says of every table that the role uses why nothing was tried there.
    fn skip(&mut self, why: &str) {
        for (_, table) in self.tables() {
            let outcome = Outcome::NotProbed(why.to_owned());
            self.note(table, Attempt::Read, Context::Own, outcome);
        }
    }

    async fn table(
        &mut self,
        oid: Oid,
        table: &Relation,
        rows: &mut Rows<'_, '_>,
    ) -> Result<(), Error> {
        self.predicates((oid, table), Context::Own).await?;
        let found = self.control(oid, table, rows.of(oid, self.target).map(|_| ())).await?;
        let insert = rows.addition((oid, table), self.target).await?;
        for context in [Context::Own, Context::Empty] {
            let key = self.key(context, table);
            self.plant(oid, table, context, insert.clone()).await?;
            if let Err(why) = &found {
                self.note(table, Attempt::Read, context, Outcome::NotProbed(why.clone()));
                continue;
            }
            let look = self.count(table, &self.target.key);
            self.observe(table, Attempt::Read, context, key, look).await?;
        }
        let why = match &found {
            Err(why) => Some(why.clone()),
            Ok(()) => self.too_big(oid, table),
        };
        for context in [Context::Stranger, Context::Empty] {
            let stranger = self.key(Context::Stranger, table);
            for attempt in [Attempt::Update, Attempt::Delete] {
                let (Some(column), Some(stranger)) =
                    (table.column(&self.tenancy.column), stranger.clone())
                else {
                    let why = "no key of a tenant that does not exist can be made up".to_owned();
                    self.note(table, attempt, context, Outcome::NotProbed(why));
                    continue;
                };
                if let Some(why) = &why {
                    self.note(table, attempt, context, Outcome::NotProbed(why.clone()));
                    continue;
                }
                // Set to the acting tenant's own key, a row that is seen is also a row that is stolen.
                let value = canary::typed(column, &stranger);
                let statement = match attempt {
                    Attempt::Delete => sql!("DELETE FROM {}", table.name),
                    _ => sql!("UPDATE {} SET {} = {}", table.name, column.name, value),
                };
                let key =
                    if context == Context::Empty { Some(String::new()) } else { Some(stranger) };
                self.blind(table, attempt, context, key, statement).await?;
            }
        }
        let why = match rows.of(oid, self.acting) {
            Ok(_) => self.too_big(oid, table),
            Err(why) => Some(why),
        };
        match (why, table.column(&self.tenancy.column)) {
            (None, Some(column)) => {
                let value = canary::typed(column, &self.target.key);
                let statement = sql!("UPDATE {} SET {} = {}", table.name, column.name, value);
                let key = Some(self.acting.key.clone());
                let outcome = self.write(key.as_deref(), statement).await?;
                self.note(table, Attempt::Move, Context::Own, outcome);
            }
            (why, _) => {
                let why = why.unwrap_or_else(|| "it has no tenant column".to_owned());
                self.note(table, Attempt::Move, Context::Own, Outcome::NotProbed(why));
            }
        }
        Ok(())
    }

    /// Whether the target sees a row of its own: without one, seeing nothing proves nothing.
    async fn control(
        &mut self,
        oid: Oid,
        table: &Relation,
        made: Result<(), String>,
    ) -> Result<Result<(), String>, Error> {
        let look = self.count(table, &self.target.key);
        let mut script = self.become_target();
        script.push(look);
        let answer = self.session.attempt(&script).await?;
        let seen = answer.number();
        Ok(match (seen, made) {
            (Some(1..), _) => {
                self.note(table, Attempt::Control, Context::Own, Outcome::Rows(seen.unwrap_or(0)));
                Ok(())
            }
            (Some(0), Ok(())) if predicate::asks_more(self.survey, oid, self.tenancy) => {
                Err("its policies ask for more than the tenant".to_owned())
            }
            (Some(0), Ok(())) => {
                self.note(table, Attempt::Control, Context::Own, Outcome::Rows(0));
                Err("the tenant does not see its own row".to_owned())
            }
            (None, Ok(())) if matches!(answer, Answer::Refused { .. }) => Ok(()),
            (_, Err(why)) => Err(why),
            _ => Err(answer.trouble().unwrap_or_else(|| "there is no row to look for".to_owned())),
        })
    }

    /// Adds a row in the target's name while acting as somebody else.
    async fn plant(
        &mut self,
        oid: Oid,
        table: &Relation,
        context: Context,
        statement: Sql,
    ) -> Result<(), Error> {
        let key = self.key(context, table);
        let mut outcome = self.write(key.as_deref(), statement.clone()).await?;
        let stamps = self.survey.catalog.triggers.iter().any(|t| t.relation == oid && t.before_row);
        if stamps && matches!(outcome, Outcome::Constraint(_)) {
            outcome = Outcome::NotProbed("a trigger may have changed the row's tenant".to_owned());
        } else if stamps && outcome == Outcome::Rows(1) {
            // A trigger may have put the acting tenant's key in: only the target can tell.
            let look = sql!(
                "SELECT count(*) FROM {} WHERE {} = {}",
                table.name,
                self.tenancy.column,
                self.typed(table, &self.target.key)
            );
            let mut before = self.become_target();
            before.push(look.clone());
            let before = self.session.attempt(&before).await?.number();
            let mut after = self.enter(key.as_deref());
            after.push(statement);
            after.push(sql!("SET LOCAL ROLE NONE"));
            after.extend(self.become_target());
            after.push(look);
            let after = self.session.attempt(&after).await?.number();
            outcome = match (before, after) {
                (Some(before), Some(after)) => Outcome::Rows(after.saturating_sub(before)),
                _ => Outcome::NotProbed("a trigger may have changed the row's tenant".to_owned()),
            };
        }
        self.note(table, Attempt::Insert, context, outcome);
        Ok(())
    }

    /// Runs a statement that names no row, and counts what it hit beyond the acting role's own.
    async fn blind(
        &mut self,
        table: &Relation,
        attempt: Attempt,
        context: Context,
        key: Option<String>,
        statement: Sql,
    ) -> Result<(), Error> {
        let mut outcome = self.write(key.as_deref(), statement).await?;
        if let Outcome::Rows(hit @ 1..) = outcome {
            // Where roles tell tenants apart, the acting role's own rows are hit by right.
            let mut own = self.enter(key.as_deref());
            own.push(sql!(
                "SELECT count(*) FROM {} WHERE {} = {}",
                table.name,
                self.tenancy.column,
                self.typed(table, &self.acting.key)
            ));
            // Seen because everything is seen, they are no right: only a role of its own has one.
            let own = if self.acting.roles == self.target.roles {
                0
            } else {
                self.session.attempt(&own).await?.number().unwrap_or(0)
            };
            outcome = Outcome::Rows(hit.saturating_sub(own));
        }
        self.note(table, attempt, context, outcome);
        Ok(())
    }

    async fn write(&self, key: Option<&str>, statement: Sql) -> Result<Outcome, Error> {
        let mut script = self.enter(key);
        script.push(statement);
        Ok(match self.session.attempt(&script).await? {
            Answer::Done { hit, .. } => Outcome::Rows(hit),
            Answer::Refused { .. } => Outcome::Refused,
            // Constraints are looked at after policies: a row that breaks one was let through. Not so
            // when a trigger broke it, on a row of its own.
            Answer::Failed { sqlstate, inside: false, constraint, .. }
                if matches!(sqlstate.as_str(), "23001" | "23502" | "23503" | "23505")
                    || (sqlstate == "23514" && constraint.is_some()) =>
            {
                Outcome::Constraint(sqlstate)
            }
            Answer::Failed { sqlstate, message, .. } if key == Some("") => {
                predicate::fails_closed(sqlstate, message)
            }
            Answer::Failed { sqlstate, message, .. } => Outcome::Failed { sqlstate, message },
        })
    }

    async fn observe(
        &mut self,
        table: &Relation,
        attempt: Attempt,
        context: Context,
        key: Option<String>,
        look: Sql,
    ) -> Result<(), Error> {
        let mut script = self.enter(key.as_deref());
        script.push(look);
        let outcome = match self.session.attempt(&script).await? {
            Answer::Refused { .. } => Outcome::Refused,
            Answer::Failed { sqlstate, message, .. } => predicate::fails_closed(sqlstate, message),
            done @ Answer::Done { .. } => Outcome::Rows(done.number().unwrap_or(0)),
        };
        self.note(table, attempt, context, outcome);
        Ok(())
    }

    /// Evaluates the effective policies over a made-up row of the target, for every command.
    async fn predicates(
        &mut self,
        (oid, table): (Oid, &Relation),
        context: Context,
    ) -> Result<(), Error> {
        let Some(role) = self.survey.number(self.role) else { return Ok(()) };
        if self.survey.exempt(role, table) {
            return Ok(());
        }
        for (attempt, command, pick) in [
            (Attempt::Read, Command::Select, Policy::seen as fn(&Policy, Command) -> Option<&str>),
            (Attempt::Insert, Command::Insert, Policy::written),
            (Attempt::Update, Command::Update, Policy::seen),
            (Attempt::Move, Command::Update, Policy::written),
            (Attempt::Delete, Command::Delete, Policy::seen),
        ] {
            let Some(condition) =
                predicate::effective(self.survey, role, (oid, table), command, pick)
            else {
                continue;
            };
            let row = canary::blank(table, (&self.tenancy.column, &self.target.key));
            let mut script = self.enter(self.key(context, table).as_deref());
            script.push(sql!("SELECT count(*) FROM {} WHERE {}", row, condition));
            let outcome = match self.session.attempt(&script).await? {
                Answer::Refused { .. } => Outcome::Refused,
                Answer::Failed { sqlstate, message, .. } => {
                    predicate::fails_closed(sqlstate, message)
                }
                done @ Answer::Done { .. } => Outcome::Rows(done.number().unwrap_or(0)),
            };
            let mut probe = self.probe(table, attempt, context, outcome);
            probe.method = Method::Predicate;
            self.probes.push(probe);
        }
        Ok(())
    }

    fn too_big(&self, oid: Oid, table: &Relation) -> Option<String> {
        let children = self.survey.catalog.relations.values().filter(|r| r.parent == Some(oid));
        let rows = if table.kind == RelationKind::Partitioned {
            children.map(|child| child.rows.max(0.0)).sum()
        } else {
            table.rows
        };
        (rows > SMALL)
            .then(|| format!("it has about {rows:.0} rows, so its policies were evaluated instead"))
    }

    /// The tables that the acting role may use, without partitions: their parents stand for them.
    fn tables(&self) -> Vec<(Oid, &'a Relation)> {
        let subject = self.survey.subjects.iter().find(|subject| subject.name == self.role);
        let used = |table: &Relation| {
            subject.is_some_and(|s| !self.survey.usable(s, table).and(Privileges::ROWS).is_empty())
        };
        self.survey
            .tables()
            .filter(|(_, table)| {
                let partition =
                    table.parent.is_some_and(|p| self.survey.tenant_tables.contains(&p));
                !partition && used(table)
            })
            .collect()
    }

    /// The first row of a tenant, counted: 0 or 1.
    fn count(&self, table: &Relation, key: &str) -> Sql {
        sql!(
            "SELECT count(*) FROM (SELECT FROM {} WHERE {} = {} LIMIT 1) AS seen",
            table.name,
            self.tenancy.column,
            self.typed(table, key)
        )
    }

    fn typed(&self, table: &Relation, key: &str) -> Sql {
        table
            .column(&self.tenancy.column)
            .map_or_else(|| sql!("NULL"), |column| canary::typed(column, key))
    }

    fn key(&self, context: Context, table: &Relation) -> Option<String> {
        match context {
            Context::Own => Some(self.acting.key.clone()),
            Context::Stranger => table.column(&self.tenancy.column).and_then(canary::stranger),
            Context::Empty => Some(String::new()),
            Context::Unset | Context::Role => None,
        }
    }

    fn enter(&self, key: Option<&str>) -> Vec<Sql> {
        enter(self.role, key.map(|key| (&self.tenancy.setting, key)))
    }

    fn become_target(&self) -> Vec<Sql> {
        enter(self.home, Some((&self.tenancy.setting, &self.target.key)))
    }

    fn note(&mut self, table: &Relation, attempt: Attempt, context: Context, outcome: Outcome) {
        let probe = self.probe(table, attempt, context, outcome);
        self.probes.push(probe);
    }

    fn probe(
        &self,
        table: &Relation,
        attempt: Attempt,
        context: Context,
        outcome: Outcome,
    ) -> Probe {
        Probe {
            isolation: Isolation::Shared,
            acting: self.acting.id.clone(),
            target: self.target.id.clone(),
            role: self.role.clone(),
            relation: table.name.clone(),
            attempt,
            context,
            method: Method::Statement,
            outcome,
        }
    }
}
