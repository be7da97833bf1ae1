//! Judging policies by what they admit: the condition that the server would apply is run over rows
//! of the target that are made up, as the acting role.
//!
//! It decides where no row can be added, and where a table is too large for statements that name no
//! row. It touches no row of the table.

use super::canary::{self, Known};
use super::duel::{Duel, closes};
use super::enter::reproduction;
use super::inventory::Reached;
use super::predicate;
use super::session::Answer;
use crate::error::Error;
use crate::model::catalog::{Command, Policy};
use crate::model::probe::{Attempt, Context, Method, Outcome};
use crate::sql;
use crate::sql::Sql;

type Side = fn(&Policy, Command) -> Option<&str>;

/// What is judged: an attempt, the command whose policies decide it, and which side of them.
const JUDGED: [(Attempt, Command, Side); 5] = [
    (Attempt::Read, Command::Select, Policy::seen),
    (Attempt::Insert, Command::Insert, Policy::written),
    (Attempt::Update, Command::Update, Policy::seen),
    (Attempt::Move, Command::Update, Policy::written),
    (Attempt::Delete, Command::Delete, Policy::seen),
];

impl Duel<'_> {
    /// Judges the policies of every table with the tenant column, in one context.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn judge_policies(&mut self, context: &Context) -> Result<(), Error> {
        let tables: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.kind.is_table() && self.column(one.oid).is_some())
            .filter(|one| !self.exempt(one.oid))
            .cloned()
            .collect();
        for table in &tables {
            self.judge_table(table, context).await?;
        }
        Ok(())
    }

    async fn judge_table(&mut self, table: &Reached, context: &Context) -> Result<(), Error> {
        let (Some(role), Some(facts)) =
            (self.survey.number(self.acting.role), self.relation(table.oid))
        else {
            return Ok(());
        };
        let Some(speak) = self.speak(context, Some(table.oid)) else { return Ok(()) };
        // Policies may look at rows of other tables. Where nobody ever set a tenant, nobody can put
        // any there.
        let staged = if *context == Context::Unset {
            Vec::new()
        } else {
            self.staged(&self.theirs.planted())
        };
        let mut base = self.theirs.values(table.oid);
        let tenant = self.column(table.oid).map(|column| column.name.clone());
        if let Some(column) = &tenant {
            base.insert(column.clone(), self.target.tenant.key.clone());
        }
        let texts: Vec<&str> = self
            .survey
            .policies(table.oid)
            .iter()
            .flat_map(|policy| [policy.using.as_deref(), policy.check.as_deref()])
            .flatten()
            .collect();
        let Some(shape) = self.shapes.get(&table.oid) else { return Ok(()) };
        let all = predicate::variations(shape, &base, &texts, tenant.as_ref());
        for (attempt, command, side) in JUDGED {
            let Some(condition) =
                predicate::effective(self.survey, role, (table.oid, facts), command, side)
            else {
                continue;
            };
            let mut outcome = Outcome::Rows(0);
            let mut script = Vec::new();
            for rows in [&all[..], &all[..1]] {
                let Some(query) = self.admits(table, rows, &condition) else { break };
                script = [staged.as_slice(), speak.as_slice(), &[query]].concat();
                let answer = self.session.attempt(&script).await?;
                let failed = matches!(answer, Answer::Failed { .. });
                outcome = match answer {
                    Answer::Refused { .. } => Outcome::Refused,
                    Answer::Failed { sqlstate, .. } if context.nobodys() && closes(&sqlstate) => {
                        Outcome::Refused
                    }
                    Answer::Failed { sqlstate, message, .. } => {
                        Outcome::Failed { sqlstate, message }
                    }
                    done @ Answer::Done(_) => Outcome::Rows(done.number().unwrap_or(0)),
                };
                // One of the varied rows may make the condition fail, where the first does not.
                if !failed {
                    break;
                }
            }
            self.note(table, attempt, context, outcome, &script);
            if let Some(last) = self.probes.last_mut() {
                last.method = Method::Predicate;
                if last.crossed() {
                    last.reproduce = reproduction(&script);
                }
            }
        }
        Ok(())
    }

    /// Counts the made-up rows that a condition admits.
    fn admits(&self, table: &Reached, rows: &[Known], condition: &Sql) -> Option<Sql> {
        let shape = self.shapes.get(&table.oid)?;
        let rows = canary::made_up(shape, rows);
        Some(sql!("SELECT count(*) FROM {} WHERE {}", rows, condition))
    }
}
