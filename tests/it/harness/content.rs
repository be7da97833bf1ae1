//! What a tenant's tables hold, as the superuser sees it, in a form in which two can be compared.

use std::collections::BTreeMap;

use tenantctl::pg::server::SUPERUSER;

use super::model::Model;
use super::postgres::Postgres;

/// The rows of each table, as a number and a hash.
pub type Contents = BTreeMap<String, (String, String)>;

impl Postgres {
    /// What a tenant's tables hold. Columns that the isolation models do not share are left out: the
    /// tenant column, and the key of the table with one row for each tenant.
    pub fn contents(&self, model: Model, tenant: &str) -> Contents {
        let (database, schema) = (model.database(tenant), model.schema(tenant));
        let mut session = self.session(&database, SUPERUSER);
        let tables = session.rows(&format!(
            "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE \"C\") \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE n.nspname = '{schema}' AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
               AND c.relname NOT IN ('refinery_schema_history', 'tenantctl_repeatables') \
               AND a.attname <> 'tenant_id' AND (c.relname, a.attname) <> ('organisations', 'id') \
             GROUP BY 1"
        ));
        let condition = match model {
            Model::Shared => {
                let keys =
                    self.rows(&format!("SELECT key FROM tenantctl.tenants WHERE id = '{tenant}'"));
                format!("WHERE tenant_id = '{}'", keys[0][0])
            }
            Model::Schema | Model::Database => String::new(),
        };
        tables
            .into_iter()
            .map(|row| {
                let [table, columns] = <[String; 2]>::try_from(row).unwrap();
                let rows = session.rows(&format!(
                    "SELECT count(*), md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '')) \
                     FROM (SELECT ROW({columns})::text AS line FROM {schema}.\"{table}\" {condition}) AS lines"
                ));
                (table, (rows[0][0].clone(), rows[0][1].clone()))
            })
            .collect()
    }
}
