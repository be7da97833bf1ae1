//! Two tenants of shared tables: one acts, and the other's rows must stay out of its reach.
//!
//! Writes never name rows. A WHERE or RETURNING would add the SELECT policies to the statement and
//! hide a hole in the others. To hit no live row of a sound table, they run in the context of a tenant
//! that does not exist: whatever they hit is somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use super::SMALL;
use super::canary::{self, Known, Links};
use super::predicate;
use super::session::{Answer, Session, enter};
use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::{Command, Oid, Policy, Privileges, Relation, RelationKind};
use crate::model::ident::Ident;
use crate::model::layout::Tenancy;
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::{Isolation, Tenant};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// Probes every table that tenants share, as every role that the application uses on it.
pub(super) async fn probe(session: &Session<'_>, survey: &Survey<'_>) -> Result<Vec<Probe>, Error> {
    let Some(tenancy) = &survey.estate.tenancy else { return Ok(Vec::new()) };
    let here = |tenant: &&Tenant| {
        tenant.placement.database == survey.catalog.database
            && tenant.placement.cluster == survey.catalog.cluster
    };
    let mut tenants = survey.estate.of(Isolation::Shared).filter(here);
    let (Some(acting), Some(target)) = (tenants.next(), tenants.next()) else {
        return Ok(Vec::new());
    };
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
    // The state of a session in which nobody ever set the tenant ends with the first canary.
    for (role, home) in &pairs {
        (duel.role, duel.home) = (role, home);
        duel.unset().await?;
    }
    let mut rows = Rows::default();
    for (role, home) in &pairs {
        (duel.role, duel.home) = (role, home);
        duel.round(&mut rows).await?;
    }
    Ok(duel.probes)
}

/// What is known about rows that can be looked for: by table and tenant.
#[derive(Default)]
struct Rows {
    made: BTreeMap<(Oid, bool), Result<Known, String>>,
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
        for (oid, table) in self.tables() {
            if self.hostile(oid, table).is_some() {
                continue;
            }
            let look = sql!("SELECT count(*) FROM (SELECT FROM {} LIMIT 1) AS seen", table.name);
            self.observe(table, Attempt::Read, Context::Unset, None, look).await?;
            self.predicates((oid, table), Context::Unset).await?;
        }
        Ok(())
    }

    /// Makes both tenants a row in every table, and then tries everything.
    async fn round(&mut self, rows: &mut Rows) -> Result<(), Error> {
        let tables = self.tables();
        for role in [self.role, self.home] {
            if let Some(why) = self.session.barred(role).await? {
                for (_, table) in &tables {
                    self.note(table, Attempt::Read, Context::Own, Outcome::NotProbed(why.clone()));
                }
                return Ok(());
            }
        }
        let oids: Vec<Oid> = tables.iter().map(|(oid, _)| *oid).collect();
        let keys = &self.survey.catalog.foreign_keys;
        let edges: Vec<_> = keys.iter().map(|key| (key.child, key.parent)).collect();
        for oid in canary::parents_first(&oids, &edges) {
            for own in [false, true] {
                if matches!(rows.made.get(&(oid, own)), Some(Ok(_))) {
                    continue;
                }
                let made = self.make(oid, own, rows).await?;
                rows.made.insert((oid, own), made);
            }
        }
        for (oid, table) in tables {
            self.table(oid, table, rows).await?;
        }
        Ok(())
    }

    async fn table(&mut self, oid: Oid, table: &Relation, rows: &Rows) -> Result<(), Error> {
        if let Some(why) = self.hostile(oid, table) {
            self.note(table, Attempt::Read, Context::Own, Outcome::NotProbed(why));
            return Ok(());
        }
        self.predicates((oid, table), Context::Own).await?;
        let made = rows.made.get(&(oid, false));
        let found = self.control(oid, table, made).await?;
        let insert = self.links((oid, table), false, rows).await?;
        for context in [Context::Own, Context::Empty] {
            let key = self.key(context, table);
            match &insert {
                Ok(links) => match canary::insert(table, links) {
                    Ok(statement) => self.plant(oid, table, context, statement).await?,
                    Err(why) => {
                        self.note(table, Attempt::Insert, context, Outcome::NotProbed(why));
                    }
                },
                Err(why) => {
                    self.note(table, Attempt::Insert, context, Outcome::NotProbed(why.clone()));
                }
            }
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
        let own = rows.made.get(&(oid, true));
        let why = match own {
            Some(Ok(_)) => self.too_big(oid, table),
            Some(Err(why)) => Some(why.clone()),
            None => Some("it has no row to give away".to_owned()),
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
        made: Option<&Result<Known, String>>,
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
            (Some(0), Some(Ok(_))) if predicate::asks_more(self.survey, oid, self.tenancy) => {
                Err("its policies ask for more than the tenant".to_owned())
            }
            (Some(0), Some(Ok(_))) => {
                self.note(table, Attempt::Control, Context::Own, Outcome::Rows(0));
                Err("the tenant does not see its own row".to_owned())
            }
            (None, Some(Ok(_))) if matches!(answer, Answer::Refused { .. }) => Ok(()),
            (_, Some(Err(why))) => Err(format!("there is no row to look for: {why}")),
            _ => Err(answer.trouble().unwrap_or_else(|| "there is no row to look for".to_owned())),
        })
    }

    /// Makes a row in a tenant's own context; answers with the values that other rows may point at.
    async fn make(&self, oid: Oid, own: bool, rows: &Rows) -> Result<Result<Known, String>, Error> {
        let Some(table) = self.survey.catalog.relations.get(&oid) else {
            return Ok(Err("it is gone".to_owned()));
        };
        if let Some(why) = self.hostile(oid, table) {
            return Ok(Err(why));
        }
        let links = match self.links((oid, table), own, rows).await? {
            Ok(links) => links,
            Err(why) => return Ok(Err(why)),
        };
        let statement = match canary::insert(table, &links) {
            Ok(statement) => statement,
            Err(why) => return Ok(Err(why)),
        };
        let mut script = self.maker(own);
        let wanted: BTreeSet<&Ident> = self
            .survey
            .catalog
            .foreign_keys
            .iter()
            .filter(|key| key.parent == oid)
            .flat_map(|key| key.columns.iter().map(|(_, parent)| parent))
            .collect();
        let wanted: Vec<&Ident> = wanted.into_iter().collect();
        if wanted.is_empty() {
            script.push(statement);
        } else {
            let texts: Vec<Sql> = wanted.iter().map(|name| sql!("{}::text", name)).collect();
            script.push(sql!("{} RETURNING {}", statement, List(&texts)));
        }
        Ok(match self.session.keep(&script).await? {
            Answer::Done { first, .. } => Ok(wanted
                .into_iter()
                .zip(first)
                .filter_map(|(name, value)| Some((name.clone(), value?)))
                .collect()),
            other => Err(other.trouble().unwrap_or_default()),
        })
    }

    /// The values that a row must take over from the rows that it points at.
    async fn links(
        &self,
        (oid, table): (Oid, &Relation),
        own: bool,
        rows: &Rows,
    ) -> Result<Result<Links<'a>, String>, Error> {
        let tenant = if own { self.acting } else { self.target };
        let mut links = Links { tenant: (&self.tenancy.column, &tenant.key), values: Known::new() };
        for key in self.survey.catalog.foreign_keys.iter().filter(|key| key.child == oid) {
            let needed = key.columns.iter().any(|(child, _)| {
                *child != self.tenancy.column
                    && table.column(child).is_some_and(|column| column.not_null)
            });
            let Some(parent) = self.survey.catalog.relations.get(&key.parent) else { continue };
            if !needed || key.parent == oid {
                continue;
            }
            let known = match rows.made.get(&(key.parent, own)) {
                Some(Ok(known)) => known.clone(),
                Some(Err(why)) => {
                    return Ok(Err(format!("{} has no row to point at: {why}", parent.name)));
                }
                None => {
                    let columns: Vec<&Ident> = key.columns.iter().map(|(_, name)| name).collect();
                    let texts: Vec<Sql> =
                        columns.iter().map(|name| sql!("{}::text", name)).collect();
                    let mut script = self.maker(own);
                    script.push(sql!("SELECT {} FROM {} LIMIT 1", List(&texts), parent.name));
                    match self.session.attempt(&script).await? {
                        Answer::Done { first, .. } if !first.is_empty() => columns
                            .into_iter()
                            .zip(first)
                            .filter_map(|(name, value)| Some((name.clone(), value?)))
                            .collect(),
                        _ => return Ok(Err(format!("{} has no row to point at", parent.name))),
                    }
                }
            };
            for (child, parent) in &key.columns {
                if let Some(value) = known.get(parent) {
                    links.values.insert(child.clone(), value.clone());
                }
            }
        }
        Ok(Ok(links))
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
        if stamps && outcome == Outcome::Rows(1) {
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
            Answer::Failed { sqlstate, inside: false, .. }
                if matches!(sqlstate.as_str(), "23001" | "23502" | "23503" | "23505") =>
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

    /// Why no code of this table may run: it is the application's, and the session could be more.
    fn hostile(&self, oid: Oid, table: &Relation) -> Option<String> {
        if !self.session.superuser {
            return None;
        }
        let subject = self.survey.subjects.iter().find(|s| s.name == self.role)?;
        let triggers = self.survey.catalog.triggers.iter().filter(|t| t.relation == oid);
        let policies = self.survey.policies(oid).iter().flat_map(|p| p.functions.iter().copied());
        triggers
            .map(|trigger| trigger.function)
            .chain(policies)
            .filter_map(|function| self.survey.catalog.functions.get(&function))
            .find(|function| subject.closure.contains_key(&function.owner))
            .map(|function| {
                format!(
                    "{} runs {}, which {} can rewrite: probe as a role that is no superuser",
                    table.name,
                    function.signature(),
                    self.role
                )
            })
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

    /// Rows are made under the main role: others, such as one that only reads, look for them.
    fn maker(&self, own: bool) -> Vec<Sql> {
        let tenant = if own { self.acting } else { self.target };
        enter(tenant.role(), Some((&self.tenancy.setting, &tenant.key)))
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
