//! Reads which doors of a tenant are open.

use std::collections::BTreeSet;

use tokio_postgres::types::{ToSql, Type};

use crate::error::Error;
use crate::model::credential::second_login;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::CLOSED_TABLE;
use crate::model::life::{Doors, Grant, Household, OpenDoors, SharedDoor, Usage};
use crate::model::tenant::Isolation;
use crate::pg::answer::failed;
use crate::pg::session::Session;
use crate::plan::POLICY;
use crate::plan::life::OPEN_POLICY;
use crate::sql;
use crate::sql::{Literal, Sql};

/// Reads which doors are open, on a session in the tenant's database. Changes nothing.
///
/// # Errors
///
/// Whatever the server refuses: a door that cannot be seen is not taken for shut.
pub async fn doors(session: &Session, house: &Household) -> Result<OpenDoors, Error> {
    let reader = Reader { session, house };
    let mut facts = OpenDoors::default();
    reader.logins(&mut facts).await?;
    match house.tenant.isolation {
        Isolation::Shared => facts.shared = Some(reader.shared(&mut facts.doors).await?),
        Isolation::Schema => facts.doors.usage = reader.usage().await?,
        Isolation::Database => {
            facts.doors.usage = reader.usage().await?;
            facts.doors.connect = reader.connect().await?;
        }
    }
    Ok(facts)
}

struct Reader<'a> {
    session: &'a Session,
    house: &'a Household,
}

impl Reader<'_> {
    async fn rows(
        &self,
        query: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        let attempt = || format!("read who is let in to tenant {}", self.house.tenant.id);
        let client = self.session.client();
        client.query_typed(query, parameters).await.map_err(|error| failed(error, attempt()))
    }

    async fn logins(&self, facts: &mut OpenDoors) -> Result<(), Error> {
        // One that was closed, and is gone by now, is not opened again.
        let second = self.house.own_roles.iter().filter_map(|role| second_login(role).ok());
        let asked: BTreeSet<Ident> = self.house.logins().cloned().chain(second).collect();
        let names: Vec<&str> = asked.iter().map(Ident::as_str).collect();
        let rows = self
            .rows(
                "SELECT n, r.rolcanlogin FROM pg_catalog.unnest($1) n \
                 LEFT JOIN pg_catalog.pg_roles r ON r.rolname = n ORDER BY 1",
                &[(&names, Type::TEXT_ARRAY)],
            )
            .await?;
        for row in &rows {
            let role = Ident::new(row.get::<_, String>(0))?;
            match row.get::<_, Option<bool>>(1) {
                Some(true) if self.house.logins().any(|own| *own == role) => {
                    facts.doors.logins.push(role);
                }
                Some(_) => {}
                None => {
                    facts.gone.insert(role);
                }
            }
        }
        Ok(())
    }

    /// Of the tenant's schema, and of every other one of its owner in this database.
    async fn usage(&self) -> Result<Vec<Usage>, Error> {
        let tenant = &self.house.tenant;
        let rows = self
            .rows(
                "SELECT n.nspname::text, g.rolname::text, x.is_grantable \
                 FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner, \
                 pg_catalog.aclexplode(n.nspacl) x LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee \
                 WHERE (n.nspname = $1 OR (o.rolname = $2 AND n.nspname !~ '^pg_')) \
                   AND x.privilege_type = 'USAGE' AND x.grantee <> n.nspowner ORDER BY 1, 2",
                &[
                    (&tenant.placement.schema.as_str(), Type::TEXT),
                    (&tenant.owner.as_str(), Type::TEXT),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let role = row.get::<_, Option<String>>(1).map(Ident::new).transpose()?;
                let schema = Ident::new(row.get::<_, String>(0))?;
                Ok(Usage { schema, grant: Grant { role, option: row.get(2) } })
            })
            .collect()
    }

    async fn connect(&self) -> Result<Vec<Grant>, Error> {
        let database = self.house.tenant.placement.database.as_str();
        let rows = self
            .rows(
                "SELECT g.rolname::text, x.is_grantable FROM pg_catalog.pg_database d, \
                 pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x \
                 LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee \
                 WHERE d.datname = $1 AND x.privilege_type = 'CONNECT' AND x.grantee <> d.datdba ORDER BY 1",
                &[(&database, Type::TEXT)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let role = row.get::<_, Option<String>>(0).map(Ident::new).transpose()?;
                Ok(Grant { role, option: row.get(1) })
            })
            .collect()
    }

    async fn shared(&self, doors: &mut Doors) -> Result<SharedDoor, Error> {
        let tenant = &self.house.tenant;
        let schema = &tenant.placement.schema;
        let Some(sharing) = &self.house.sharing else {
            return Ok(SharedDoor::default());
        };
        let column = sharing.tenancy.column.as_str();
        let rows = self
            .rows(
                "SELECT c.relname::text, \
                        EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polname = $3), \
                        EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polname = $4) \
                          AND c.relrowsecurity AND c.relforcerowsecurity, \
                        ARRAY(SELECT DISTINCT r.rolname::text FROM pg_catalog.aclexplode(c.relacl) x \
                              JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.grantee <> c.relowner) \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') \
                   AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = $2 \
                               AND a.attnum > 0 AND NOT a.attisdropped) ORDER BY 1",
                &[
                    (&schema.as_str(), Type::TEXT),
                    (&column, Type::TEXT),
                    (&OPEN_POLICY, Type::TEXT),
                    (&POLICY, Type::TEXT),
                ],
            )
            .await?;
        let mut shared = SharedDoor::default();
        for row in &rows {
            let name = Ident::new(row.get::<_, String>(0))?;
            let roles: Vec<String> = row.get(3);
            let roles: BTreeSet<Ident> =
                roles.into_iter().map(Ident::new).collect::<Result<_, Error>>()?;
            if name.as_str() == CLOSED_TABLE {
                shared.readers = Some(roles);
                shared.guarded = row.get(2);
                continue;
            }
            shared.users.extend(roles);
            if !row.get::<_, bool>(1) {
                shared.open.push(QualifiedName::new(schema.clone(), name));
            }
        }
        let closed = shared.readers.is_some() && shared.guarded && self.is_closed().await?;
        doors.rows = !closed || !shared.open.is_empty();
        Ok(shared)
    }

    /// Whether the tenant is among those that are closed, as its owner sees it in its context.
    async fn is_closed(&self) -> Result<bool, Error> {
        let tenant = &self.house.tenant;
        let attempt = || format!("read whether tenant {} is closed", tenant.id);
        let client = self.session.client();
        let Some(sharing) = &self.house.sharing else {
            return Ok(false);
        };
        let begin = sql!(
            "BEGIN READ ONLY; SET LOCAL ROLE {}; SELECT pg_catalog.set_config({}, {}, true)",
            tenant.owner,
            Literal(sharing.tenancy.setting.as_str()),
            Literal(&tenant.key)
        );
        client.batch_execute(begin.as_str()).await.map_err(|error| failed(error, attempt()))?;
        let table: Sql = sql!("{}.{}", tenant.placement.schema, Ident::new(CLOSED_TABLE)?);
        let query = sql!("SELECT EXISTS (SELECT FROM {})", table);
        let read = client.query_typed(query.as_str(), &[]).await;
        let ended = client.batch_execute("ROLLBACK").await;
        let read = read.map_err(|error| failed(error, attempt()))?;
        ended.map_err(|error| failed(error, attempt()))?;
        Ok(read.first().is_some_and(|row| row.get(0)))
    }
}
