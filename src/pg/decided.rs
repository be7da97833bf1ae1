//! What refinery decides for a history, once for all schemas that have the same.
//!
//! refinery's runner orders, checks and records; for a history that thousands of schemas share it
//! would do so thousands of times, and copy every file each time. So it runs over a recorder, and
//! what it wanted done is kept for a moment: the times of its records are when it decided.

use std::time::{Duration, Instant};

use refinery::{Migration as Unit, Runner, Target};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};

use super::carry::CarryError;
use super::refinery::{Prepared, told_apart, units_of};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::{History, Version};

/// How long the times in it are true enough.
const FRESH: Duration = Duration::from_secs(1);

/// Everything that a schema with some history lacks, in one transaction.
#[derive(Debug)]
pub struct Decided {
    made: Instant,
    /// What makes the history's table, behind the table's name.
    create: String,
    steps: Vec<Step>,
}

/// A file and its record.
#[derive(Debug)]
struct Step {
    version: Version,
    sql: String,
    /// What records it, behind the table's name.
    record: String,
}

impl Decided {
    /// Has refinery decide, over a history that was read; none where the table is not there.
    ///
    /// # Errors
    ///
    /// [`Code::HistoryDiverged`] when refinery does not go on with such a history, and
    /// [`Code::Bug`] when it says something that it never said.
    pub async fn new(
        files: &Prepared<'_>,
        history: Option<&History>,
        to: Option<Version>,
    ) -> Result<Self, Error> {
        let mut runner = Runner::new(files.units())
            .set_grouped(true)
            .set_abort_divergent(true)
            .set_abort_missing(true);
        if let Some(version) = to {
            runner = runner.set_target(Target::Version(version.0));
        }
        runner.set_migration_table_name(HISTORY_TABLE);
        let mut recorder = Recorder { history, said: Vec::new() };
        let report = runner.run_async(&mut recorder).await.map_err(|error| told_apart(&error))?;
        let versions = report.applied_migrations().iter().map(|unit| Version(unit.version()));
        let mut said = recorder.said.into_iter();
        let create = behind("CREATE TABLE IF NOT EXISTS ", said.next())?;
        let mut steps = Vec::new();
        for version in versions {
            let sql = said.next().unwrap_or_default();
            let record = behind("INSERT INTO ", said.next())?;
            steps.push(Step { version, sql, record });
        }
        Ok(Self { made: Instant::now(), create, steps })
    }

    /// Whether it may be used once more.
    pub fn is_fresh(&self) -> bool {
        self.made.elapsed() < FRESH
    }

    /// What would be applied.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        self.steps.iter().map(|step| step.version)
    }

    /// The files, in their order.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.sql.as_str())
    }

    /// What makes the history of a schema.
    pub(super) fn create(&self, schema: &Ident) -> String {
        format!("CREATE TABLE IF NOT EXISTS {schema}.{HISTORY_TABLE}{}", self.create)
    }

    /// What records the files in the history of a schema.
    pub(super) fn records(&self, schema: &Ident) -> impl Iterator<Item = String> {
        self.steps
            .iter()
            .map(move |step| format!("INSERT INTO {schema}.{HISTORY_TABLE}{}", step.record))
    }
}

/// What of a statement of refinery's stands behind the name of its table.
fn behind(verb: &str, statement: Option<String>) -> Result<String, Error> {
    let statement = statement.unwrap_or_default();
    let rest = statement.strip_prefix(verb).and_then(|rest| rest.strip_prefix(HISTORY_TABLE));
    rest.map(str::to_owned).ok_or_else(|| {
        Error::new(Code::Bug, format!("read what refinery wants done: {statement:?} is unknown"))
    })
}

/// Listens to refinery, and answers with the history.
struct Recorder<'a> {
    history: Option<&'a History>,
    said: Vec<String>,
}

impl AsyncTransaction for Recorder<'_> {
    type Error = CarryError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, CarryError> {
        let before = self.said.len();
        self.said.extend(queries.map(str::to_owned));
        Ok(self.said.len() - before)
    }
}

impl AsyncQuery<Vec<Unit>> for Recorder<'_> {
    /// The history that was read; refinery asks for nothing else.
    async fn query<'a>(&'a mut self, _: &'a str) -> Result<Vec<Unit>, CarryError> {
        units_of(self.history)
    }
}

impl AsyncMigrate for Recorder<'_> {}
