//! What the server stores beside tables: statistics that hold values of rows, and large objects.

use super::duel::Duel;
use crate::error::Error;
use crate::model::probe::{Attempt, Outcome};
use crate::sql;
use crate::sql::{Literal, Sql};

impl Duel<'_> {
    /// Looks whether statistics about the target's tables are shown, and its large objects.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn look_in_store(&mut self) -> Result<(), Error> {
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let tables: Vec<String> = self.shapes.keys().map(ToString::to_string).collect();
        let tables = Sql::from_catalog(&format!("'{{{}}}'::oid[]", tables.join(",")));
        let statistics = sql!(
            "SELECT count(*) FROM pg_catalog.pg_statistic AS s JOIN pg_catalog.pg_class AS c ON c.oid = s.starelid \
             WHERE s.starelid = ANY ({}) AND s.stavalues1 IS NOT NULL",
            tables
        );
        let script = [speak.as_slice(), &[statistics]].concat();
        let outcome = match self.count(&script, false).await? {
            // Nobody counted the rows yet, and it stands open all the same.
            Outcome::Rows(0) => Outcome::Allowed,
            other => other,
        };
        let object = ("table", "pg_catalog.pg_statistic".to_owned());
        let probe = self.probe(object, Attempt::Read, &context, outcome, &script);
        self.probes.push(probe);
        // What no tenant's role owns is nobody's in particular; one that all share is everybody's.
        let owners = sql!(
            "SELECT count(pg_catalog.octet_length(pg_catalog.lo_get(m.oid, 0, 1))) FROM (SELECT m.oid \
             FROM pg_catalog.pg_largeobject_metadata AS m JOIN pg_catalog.pg_roles AS r ON r.oid = m.lomowner \
             WHERE r.rolname = {} LIMIT 20) AS m",
            Literal(self.target.role.as_str())
        );
        let script = [speak.as_slice(), &[owners]].concat();
        let outcome = self.count(&script, false).await?;
        let object = ("large object", format!("large objects of {}", self.target.role));
        let probe = self.probe(object, Attempt::Read, &context, outcome, &script);
        self.probes.push(probe);
        Ok(())
    }
}
