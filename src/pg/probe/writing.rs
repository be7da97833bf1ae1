//! Writing: every command that changes rows, in the form that no `SELECT` policy can cover for.
//!
//! A WHERE or RETURNING adds the SELECT policies to a statement and hides a hole in the others, so
//! statements name no row where policies are in force. They run in the name of a tenant that does not
//! exist: what they hit is somebody else's, and in a sound table they hit nothing. Where no policy is
//! in force a WHERE hides nothing, and the rows that were made up are named.

use super::canary::{self, Extent, Known};
use super::duel::{Duel, aliased, closes};
use super::inventory::Reached;
use super::plant::Root;
use super::predicate;
use super::session::Answer;
use crate::error::Error;
use crate::model::catalog::{Oid, RelationKind};
use crate::model::ident::Ident;
use crate::model::probe::{Attempt, Context, Outcome};
use crate::sql;
use crate::sql::{List, Sql};

impl Duel<'_> {
    /// Tries every command on every table that the acting role may write to.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn write(&mut self, truncate: bool) -> Result<(), Error> {
        let written = |one: &&Reached| one.writes() || one.truncates;
        let tables: Vec<Reached> = self
            .reached
            .iter()
            .filter(written)
            .filter(|one| one.kind.is_table() && self.is_target(one))
            .cloned()
            .collect();
        for table in &tables {
            self.insert(table).await?;
            self.blind(table).await?;
            self.give(table).await?;
            self.overwrite(table).await?;
            if truncate && table.truncates {
                self.truncate(table).await?;
            }
        }
        let views: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.kind == RelationKind::View && one.writes())
            .cloned()
            .collect();
        for view in &views {
            self.through(view).await?;
        }
        self.side_effects().await
    }

    /// Whether a table lies on the target's own ground.
    fn is_home(&self, oid: Oid) -> bool {
        let ground =
            self.relation(oid).and_then(|facts| self.survey.territories.get(&facts.schema));
        ground
            .is_some_and(|ground| ground.tenants.iter().any(|one| one.id == self.target.tenant.id))
    }

    /// Whether a table holds rows of tenants, itself or as a part of one that does.
    fn is_target(&self, table: &Reached) -> bool {
        self.is_ground(table.oid) || self.column(table.oid).is_some()
    }

    /// The table into which rows of a partition or child are put.
    fn root_of(&self, table: Oid) -> Oid {
        let mut root = table;
        for _ in 0..16 {
            match self.relation(root).and_then(|facts| facts.parent) {
                Some(parent) if self.theirs.of(root).is_err() => root = parent,
                _ => break,
            }
        }
        root
    }

    /// The contexts in which rows of others are aimed at.
    fn contexts(&self) -> Vec<Context> {
        match self.tenancy() {
            Some(_) => vec![Context::Stranger, Context::Empty, Context::Malformed],
            None => vec![Context::Role],
        }
    }

    /// Adds a row in the target's name, and one in nobody's.
    async fn insert(&mut self, table: &Reached) -> Result<(), Error> {
        if !table.inserts {
            return Ok(());
        }
        let Some(shape) = self.shapes.get(&table.oid) else { return Ok(()) };
        let values = match self.theirs.of(table.oid) {
            Ok(Root::Planted { values, .. }) => values.clone(),
            // Policies judge a row before its constraints do: it need not be one that fits.
            _ => {
                let mut given = Known::new();
                if let Some(column) = self.column(table.oid) {
                    given.insert(column.name.clone(), self.target.tenant.key.clone());
                }
                match canary::values(shape, &given, (&self.target.mark, 0), Extent::Sparing) {
                    Ok(values) => values,
                    Err(why) => {
                        let context = self.own();
                        self.note(table, Attempt::Insert, &context, Outcome::NotProbed(why), &[]);
                        return Ok(());
                    }
                }
            }
        };
        let statement = canary::insert(shape, &values);
        // On common ground a row is nobody's in particular: it is not added in another's name.
        if self.tenancy().is_none() && !self.is_home(table.oid) {
            return Ok(());
        }
        let contexts = match self.tenancy() {
            Some(_) => vec![Context::Own, Context::Empty, Context::Malformed],
            None => vec![Context::Role],
        };
        let ground = self.theirs.ground(table.oid);
        for context in contexts {
            self.plant(table, &context, &ground, &statement).await?;
        }
        let open = self.column(table.oid).filter(|column| !column.not_null).map(|c| c.name.clone());
        if let Some(column) = open {
            self.insert_for_all(table, &column).await?;
        }
        Ok(())
    }

    async fn plant(
        &mut self,
        table: &Reached,
        context: &Context,
        ground: &[Sql],
        statement: &Sql,
    ) -> Result<(), Error> {
        let Some(speak) = self.speak(context, Some(table.oid)) else { return Ok(()) };
        let mut script = [ground, speak.as_slice(), std::slice::from_ref(statement)].concat();
        let answer = self.session.attempt(&script).await?;
        let stamps =
            self.survey.catalog.triggers.iter().any(|t| t.relation == table.oid && t.before_row);
        let mut outcome = Self::judge(&answer, context.nobodys());
        match outcome {
            // A trigger may have put the acting tenant's key in: only the target can tell.
            Outcome::Rows(1..) if stamps || self.tenancy().is_none() => {
                let mut seen = script.clone();
                seen.extend(self.target.enter(&self.session.who));
                // A row that is the acting tenant's after all may be seen by everybody.
                let own = match self.column(table.oid) {
                    Some(column) => {
                        let key = canary::typed(column, &self.target.tenant.key);
                        sql!(" AND {} = {}", column.name, key)
                    }
                    None => sql!(""),
                };
                let marked = Self::marked(table, &self.target);
                seen.push(sql!("SELECT count(*) FROM {} WHERE {}{}", aliased(table), marked, own));
                if self.controlled.contains(&table.oid) && self.theirs.is_marked(table.oid) {
                    outcome = self.count(&seen, false).await?;
                    script = seen;
                } else if stamps {
                    outcome = Outcome::NotProbed(
                        "a trigger may have changed the row's tenant".to_owned(),
                    );
                }
            }
            Outcome::Constraint(_) if stamps => {
                outcome =
                    Outcome::NotProbed("a trigger may have changed the row's tenant".to_owned());
            }
            _ => {}
        }
        self.note(table, Attempt::Insert, context, outcome, &script);
        Ok(())
    }

    /// Adds a row without a tenant, and looks whether the target sees it.
    async fn insert_for_all(&mut self, table: &Reached, column: &Ident) -> Result<(), Error> {
        let context = self.own();
        let (Some(shape), Some(speak)) = (self.shapes.get(&table.oid), self.speak(&context, None))
        else {
            return Ok(());
        };
        if !self.mine.is_marked(table.oid) || !self.controlled.contains(&table.oid) {
            return Ok(());
        }
        let mut values = self.mine.values(table.oid);
        values.remove(column);
        let mut script = self.mine.ground(table.oid);
        script.extend(speak);
        script.push(canary::insert(shape, &values));
        script.extend(self.target.enter(&self.session.who));
        script.push(sql!(
            "SELECT count(*) FROM {} WHERE {}",
            aliased(table),
            Self::marked(table, &self.acting)
        ));
        let outcome = match self.session.attempt(&script).await? {
            done @ Answer::Done(_) => Outcome::Rows(done.number().unwrap_or(0)),
            _ => Outcome::Refused,
        };
        self.note(table, Attempt::InsertForAll, &context, outcome, &script);
        Ok(())
    }

    /// Changes and removes rows without naming any, and looks whether the target's are the same.
    async fn blind(&mut self, table: &Reached) -> Result<(), Error> {
        let exempt = self.exempt(table.oid);
        let why = if exempt { None } else { self.too_big(table) };
        let why = why.or_else(|| {
            let planted = self.theirs.planted().contains(&self.root_of(table.oid));
            (exempt && !planted).then(|| "there is no row that may be touched".to_owned())
        });
        for context in self.contexts() {
            for attempt in [Attempt::Update, Attempt::Delete, Attempt::Merge] {
                let possible = match attempt {
                    Attempt::Delete => table.deletes,
                    Attempt::Merge => {
                        self.survey.catalog.version >= 150_000
                            && !exempt
                            && table.reads
                            && !table.updatable.is_empty()
                            && context == Context::Stranger
                    }
                    _ => !table.updatable.is_empty(),
                };
                if !possible {
                    continue;
                }
                if let Some(why) = &why {
                    self.note(table, attempt, &context, Outcome::NotProbed(why.clone()), &[]);
                    continue;
                }
                let Some(statement) = self.sweeping(table, attempt, exempt) else { continue };
                let outcome = self.change(table, table, &context, statement).await?;
                if let Some((outcome, script)) = outcome {
                    self.note(table, attempt, &context, outcome, &script);
                }
            }
        }
        Ok(())
    }

    /// A statement that hits every row it may.
    fn sweeping(&self, table: &Reached, attempt: Attempt, exempt: bool) -> Option<Sql> {
        // A WHERE hides nothing where there are no policies.
        let condition = if exempt {
            sql!(" WHERE {}", self.made_up(table, &self.target, &self.theirs))
        } else {
            sql!("")
        };
        if attempt == Attempt::Delete {
            return Some(sql!("DELETE FROM {}{}", aliased(table), condition));
        }
        let (column, value) = self.assignment(table)?;
        Some(if attempt == Attempt::Merge {
            sql!(
                "MERGE INTO {} USING (SELECT 1) AS one ON true WHEN MATCHED THEN UPDATE SET {} = {}",
                aliased(table),
                column,
                value
            )
        } else {
            sql!("UPDATE {} SET {} = {}{}", aliased(table), column, value, condition)
        })
    }

    /// What a row is changed to: taken over by whoever acts, where that can be written.
    fn assignment(&self, table: &Reached) -> Option<(Ident, Sql)> {
        if let Some(column) = self.column(table.oid).filter(|c| table.updatable.contains(&c.name)) {
            let stranger = self.stranger(&column.type_name)?;
            return Some((column.name.clone(), canary::typed(column, &stranger)));
        }
        let shape = self.shapes.get(&table.oid)?;
        let free = |column: &&Ident| {
            !shape.pointed_at.contains(column)
                && !shape.is_reference(column)
                && !shape.is_checked(column)
        };
        let column = table.updatable.iter().find(free).or_else(|| table.updatable.first())?;
        let column = shape.named(column)?;
        let value = super::guess::first(&shape.kind(column))?;
        Some((column.name.clone(), canary::typed(column, &value)))
    }

    /// Runs a statement, and finds out whether the target's rows in a table are the same after it.
    async fn change(
        &self,
        table: &Reached,
        base: &Reached,
        context: &Context,
        statement: Sql,
    ) -> Result<Option<(Outcome, Vec<Sql>)>, Error> {
        let Some(speak) = self.speak(context, Some(base.oid)) else { return Ok(None) };
        let root = self.root_of(base.oid);
        let staged = self.staged(&[root]);
        let witness = self.witness_of(base);
        let observed = !witness.is_empty();
        let mut script = staged;
        let told = script.len();
        script.extend(witness.iter().cloned());
        script.extend(speak);
        script.push(statement);
        let at = script.len() - 1;
        script.extend(witness.iter().cloned());
        let answer = self.session.attempt(&script).await?;
        let outcome = match &answer {
            Answer::Done(all) if observed => {
                let hit = all.get(at).map_or(0, |done| done.hit);
                let changed = Self::changed(&all[told..], witness.len());
                if !changed || (hit == 0 && table.kind.is_table()) {
                    Outcome::Rows(0)
                } else if self.is_made_up(base.oid)
                    || self.causes(&script, (told, at), witness.len()).await?
                {
                    Outcome::Rows(hit.max(1))
                } else {
                    Outcome::NotProbed("somebody else changes its rows meanwhile".to_owned())
                }
            }
            // Where roles tell tenants apart, the acting role's own rows are hit by right.
            Answer::Done(all) => match all.get(at).map_or(0, |done| done.hit) {
                0 => Outcome::Rows(0),
                hit if self.acting.role == self.target.role => Outcome::Rows(hit),
                _ => Outcome::NotProbed(format!("it is not seen what was hit in {}", table.name)),
            },
            other => match Self::judge(other, context.nobodys()) {
                Outcome::Constraint(sqlstate) if self.acting.role != self.target.role => {
                    Outcome::NotProbed(format!("a constraint stopped it ({sqlstate})"))
                }
                outcome => outcome,
            },
        };
        Ok(Some((outcome, script)))
    }

    /// Whether a change of rows that are really there comes from a statement: it is seen again with it,
    /// and not without. Others may be at work on them.
    async fn causes(
        &self,
        script: &[Sql],
        (told, at): (usize, usize),
        witness: usize,
    ) -> Result<bool, Error> {
        let mut without = script.to_vec();
        without.remove(at);
        for (script, changes) in [(&without[..], false), (script, true), (&without[..], false)] {
            let Answer::Done(all) = self.session.attempt(script).await? else { return Ok(false) };
            if Self::changed(&all[told..], witness) != changes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives rows of one's own to the target.
    async fn give(&mut self, table: &Reached) -> Result<(), Error> {
        let context = self.own();
        let Some(column) =
            self.column(table.oid).filter(|c| table.updatable.contains(&c.name)).cloned()
        else {
            return Ok(());
        };
        let exempt = self.exempt(table.oid);
        let root = self.root_of(table.oid);
        let why = match self.mine.of(root) {
            Err(why) => Some(why),
            Ok(Root::Existing(_)) => Some("there is no row that may be touched".to_owned()),
            Ok(Root::Planted { .. }) if exempt => None,
            Ok(Root::Planted { .. }) => self.too_big(table),
        };
        if let Some(why) = why {
            self.note(table, Attempt::Move, &context, Outcome::NotProbed(why), &[]);
            return Ok(());
        }
        let value = canary::typed(&column, &self.target.tenant.key);
        let condition = if exempt {
            sql!(" WHERE {}", self.made_up(table, &self.acting, &self.mine))
        } else {
            sql!("")
        };
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let mut script = self.mine.script(&[root]);
        script.extend(speak);
        script.push(sql!("UPDATE {} SET {} = {}{}", aliased(table), column.name, value, condition));
        let answer = self.session.attempt(&script).await?;
        let mut outcome = Self::judge(&answer, false);
        // A trigger may have taken it back: the target can tell.
        if matches!(outcome, Outcome::Rows(1..))
            && self.controlled.contains(&table.oid)
            && (self.mine.is_marked(root) || self.mine.planted().contains(&table.oid))
        {
            script.extend(self.target.enter(&self.session.who));
            script.push(sql!(
                "SELECT count(*) FROM {} WHERE {}",
                aliased(table),
                self.moved(table, &column.name)
            ));
            outcome = self.count(&script, false).await?;
        }
        self.note(table, Attempt::Move, &context, outcome, &script);
        Ok(())
    }

    /// The condition on the row that was the acting tenant's, once it is the target's.
    fn moved(&self, table: &Reached, column: &Ident) -> Sql {
        if self.mine.is_marked(table.oid) || self.mine.is_marked(self.root_of(table.oid)) {
            return Self::marked(table, &self.acting);
        }
        let mut values = self.mine.values(table.oid);
        values.insert(column.clone(), self.target.tenant.key.clone());
        let Some(shape) = self.shapes.get(&table.oid) else { return sql!("false") };
        let equal: Vec<Sql> = shape
            .columns
            .iter()
            .filter(|one| shape.key.contains(&one.name) || one.name == *column)
            .filter_map(|one| {
                Some(sql!("{} = {}", one.name, canary::typed(one, values.get(&one.name)?)))
            })
            .collect();
        Sql::joined(&equal, " AND ")
    }

    /// Adds a row with the key of one of the target's, to change that one.
    async fn overwrite(&mut self, table: &Reached) -> Result<(), Error> {
        let context = self.own();
        let Some(shape) = self.shapes.get(&table.oid) else { return Ok(()) };
        let planted = self.theirs.planted().contains(&table.oid);
        if !planted
            || !table.inserts
            || table.updatable.is_empty()
            || shape.key.is_empty()
            || !table.reads
        {
            return Ok(());
        }
        let Some((target, value)) = self.assignment(table) else { return Ok(()) };
        let mut values = self.theirs.values(table.oid);
        if let Some(column) =
            self.column(table.oid).filter(|column| !shape.key.contains(&column.name))
        {
            values.insert(column.name.clone(), self.acting.tenant.key.clone());
        }
        let statement = sql!(
            "{} ON CONFLICT ({}) DO UPDATE SET {} = {}",
            canary::insert(shape, &values),
            List(&shape.key),
            target,
            value
        );
        if let Some((outcome, script)) = self.change(table, table, &context, statement).await? {
            let outcome = match outcome {
                Outcome::Failed { .. } | Outcome::Constraint(_) | Outcome::NotProbed(_) => {
                    return Ok(());
                }
                other => other,
            };
            self.note(table, Attempt::Upsert, &context, outcome, &script);
        }
        Ok(())
    }

    /// Empties a table. The lock is not waited for: who has to wait for it makes everybody wait.
    async fn truncate(&mut self, table: &Reached) -> Result<(), Error> {
        let context = self.own();
        let Some(mut script) = self.speak(&context, None) else { return Ok(()) };
        script.push(sql!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT", table.name));
        script.push(sql!("TRUNCATE {}", table.name));
        let outcome = match self.session.attempt(&script).await? {
            Answer::Done(_) => Outcome::Allowed,
            // Another table points at it, and stands in the way; the privilege does not.
            Answer::Failed { sqlstate, .. } if sqlstate == "0A000" => Outcome::Constraint(sqlstate),
            Answer::Refused { .. } => Outcome::Refused,
            Answer::Failed { sqlstate, message, .. } => Outcome::Failed { sqlstate, message },
        };
        self.note(table, Attempt::Truncate, &context, outcome, &script);
        Ok(())
    }

    /// Adds, changes and removes the target's rows through a view.
    async fn through(&mut self, view: &Reached) -> Result<(), Error> {
        let reads = self
            .relation(view.oid)
            .and_then(|facts| facts.view.as_ref())
            .map(|view| view.reads.clone());
        let planted = self.theirs.planted();
        let base = reads.unwrap_or_default().into_iter().find(|oid| planted.contains(oid));
        let base = base.and_then(|oid| {
            let known = self.reached.iter().find(|one| one.oid == oid && one.reads).cloned();
            known.or_else(|| Some(Reached::whole(oid, &self.shapes.get(&oid)?.name)))
        });
        let Some(base) = base else { return Ok(()) };
        let Some(shape) = self.shapes.get(&view.oid) else { return Ok(()) };
        let own = self.own();
        if view.inserts
            && let Some(speak) = self.speak(&own, None)
        {
            let mut values = self.theirs.values(base.oid);
            values.retain(|column, _| shape.named(column).is_some());
            let mut script = self.theirs.ground(base.oid);
            script.extend(speak);
            script.push(canary::insert_into(&view.name, shape, &values));
            let who = &self.session.who;
            script.extend(match self.theirs.owner(base.oid) {
                Some(owner) => self.target.enter_as(who, owner),
                None => self.target.enter(who),
            });
            script.push(sql!(
                "SELECT count(*) FROM {} WHERE {}",
                aliased(&base),
                Self::marked(&base, &self.target)
            ));
            let outcome = match self.session.attempt(&script).await? {
                done @ Answer::Done(_) => Outcome::Rows(done.number().unwrap_or(0)),
                other => Self::judge(&other, true),
            };
            if !matches!(outcome, Outcome::Constraint(_) | Outcome::Failed { .. }) {
                self.note(view, Attempt::Insert, &own, outcome, &script);
            }
        }
        if self.too_big(&base).is_some() {
            return Ok(());
        }
        for context in self.contexts() {
            for attempt in [Attempt::Update, Attempt::Delete] {
                let possible = if attempt == Attempt::Delete {
                    view.deletes
                } else {
                    !view.updatable.is_empty()
                };
                let statement = self.sweeping(view, attempt, false).filter(|_| possible);
                let Some(statement) = statement else { continue };
                if let Some((outcome, script)) =
                    self.change(view, &base, &context, statement).await?
                    && !matches!(outcome, Outcome::Failed { .. } | Outcome::NotProbed(_))
                {
                    self.note(view, attempt, &context, outcome, &script);
                }
            }
        }
        Ok(())
    }

    /// Writes rows of one's own, and looks whether the target's are the same.
    async fn side_effects(&mut self) -> Result<(), Error> {
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let witness = self.witness();
        if witness.is_empty() {
            return Ok(());
        }
        let staged = self.staged(&self.theirs.planted());
        let written: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.kind.is_table() && self.mine.own().contains(&one.oid))
            .cloned()
            .collect();
        for table in written {
            let own = self.made_up(&table, &self.acting, &self.mine);
            let mut deeds = vec![None];
            if table.reads
                && !table.updatable.is_empty()
                && let Some((column, value)) = self.harmless(&table)
            {
                let change =
                    sql!("UPDATE {} SET {} = {} WHERE {}", aliased(&table), column, value, own);
                deeds.push(Some(change));
            }
            if table.reads && table.deletes {
                deeds.push(Some(sql!("DELETE FROM {} WHERE {}", aliased(&table), own)));
            }
            for deed in deeds {
                let mut script = self.mine.ground(table.oid);
                script.extend(staged.iter().cloned());
                let told = script.len();
                script.extend(witness.iter().cloned());
                script.extend(speak.iter().cloned());
                script.extend(self.mine.insert(table.oid));
                script.extend(deed);
                script.extend(witness.iter().cloned());
                let Answer::Done(done) = self.session.attempt(&script).await? else { continue };
                let same = !Self::changed(&done[told..], witness.len());
                let outcome = Outcome::Rows(u64::from(!same));
                self.note(&table, Attempt::SideEffect, &context, outcome, &script);
                if !same {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a row that was made up for the target can be told from all others.
    pub(super) fn is_made_up(&self, oid: Oid) -> bool {
        self.theirs.is_marked(oid)
            || self.theirs.planted().contains(&oid)
                && self.shapes.get(&oid).is_some_and(|shape| !shape.key.is_empty())
    }

    /// A change of a row of one's own that leaves it one's own.
    fn harmless(&self, table: &Reached) -> Option<(Ident, Sql)> {
        let shape = self.shapes.get(&table.oid)?;
        let values = self.mine.values(table.oid);
        let own = self.column(table.oid).map(|column| column.name.clone());
        let column = table.updatable.iter().find(|column| {
            Some(*column) != own.as_ref()
                && values.contains_key(column)
                && !shape.pointed_at.contains(column)
        })?;
        Some((column.clone(), canary::typed(shape.named(column)?, values.get(column)?)))
    }

    /// Reads an answer to a statement that writes.
    pub(super) fn judge(answer: &Answer, open: bool) -> Outcome {
        match answer {
            Answer::Done(_) => Outcome::Rows(answer.last().map_or(0, |done| done.hit)),
            Answer::Refused { .. } => Outcome::Refused,
            // Constraints are looked at after policies: a row that breaks one was let through. Not so
            // when a trigger broke it, on a row of its own.
            Answer::Failed { sqlstate, inside: false, constraint, .. }
                if matches!(sqlstate.as_str(), "23001" | "23502" | "23503" | "23505")
                    || (sqlstate == "23514" && constraint.is_some()) =>
            {
                Outcome::Constraint(sqlstate.clone())
            }
            Answer::Failed { sqlstate, .. } if open && closes(sqlstate) => Outcome::Refused,
            // A trigger that says no is as good as a policy.
            Answer::Failed { sqlstate, inside: true, .. } if sqlstate == "P0001" => {
                Outcome::Refused
            }
            Answer::Failed { sqlstate, message, .. } => {
                Outcome::Failed { sqlstate: sqlstate.clone(), message: message.clone() }
            }
        }
    }

    /// Whether a table's policies depend on more than the tenant setting.
    pub(super) fn asks_more(&self, oid: Oid) -> bool {
        self.tenancy().is_some_and(|tenancy| predicate::asks_more(self.survey, oid, tenancy))
    }
}
