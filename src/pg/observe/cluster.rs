//! Reads what belongs to a cluster, once for all of its databases.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::catalog::{Reader, get, grants, name, optional_name, steady};
use crate::error::{Code, Error};
use crate::model::catalog::{Database, Membership, Role, SessionDefault};
use crate::model::cluster::ClusterFacts;
use crate::model::surroundings::{Parameter, TrustedHost};

/// Reads the facts about a cluster from any of its databases. Changes nothing.
///
/// Needs a session that is in no transaction.
///
/// # Errors
///
/// [`Code::Server`] or [`Code::Permission`] when a catalogue cannot be read.
pub(in crate::pg) async fn cluster_facts(client: &Client) -> Result<ClusterFacts, Error> {
    steady(client, async { Reader { client }.cluster().await }).await
}

impl Reader<'_> {
    async fn cluster(&self) -> Result<ClusterFacts, Error> {
        let rows = self
            .rows(
                "read the session",
                "SELECT current_setting('server_version_num')::int AS version,
                        (SELECT oid FROM pg_roles WHERE rolname = current_user) AS reader,
                        has_table_privilege('pg_hba_file_rules', 'SELECT')
                            AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE') AS hba",
                &[],
            )
            .await?;
        let row = rows.first().ok_or_else(|| Error::new(Code::Bug, "read the session"))?;
        let mut facts = ClusterFacts {
            version: get(row, "version")?,
            reader: get(row, "reader")?,
            roles: BTreeMap::new(),
            memberships: Vec::new(),
            databases: Vec::new(),
            session_defaults: Vec::new(),
            parameters: Vec::new(),
            trusted: None,
        };
        self.roles(&mut facts).await?;
        self.databases(&mut facts).await?;
        self.session_defaults(&mut facts).await?;
        self.parameters(&mut facts).await?;
        if get(row, "hba")? {
            self.hosts(&mut facts).await?;
        }
        Ok(facts)
    }

    async fn roles(&self, facts: &mut ClusterFacts) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_roles",
                "SELECT oid, rolname::text AS name, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin
                 FROM pg_roles",
                &[],
            )
            .await?;
        for row in &rows {
            let role = Role {
                name: name(row, "name")?,
                superuser: get(row, "rolsuper")?,
                bypass_rls: get(row, "rolbypassrls")?,
                create_role: get(row, "rolcreaterole")?,
                create_db: get(row, "rolcreatedb")?,
                replication: get(row, "rolreplication")?,
                login: get(row, "rolcanlogin")?,
            };
            facts.roles.insert(get(row, "oid")?, role);
        }
        // Before 16 a membership has no options of its own.
        let rows = self
            .rows(
                "read pg_auth_members",
                "SELECT am.member, am.roleid,
                        bool_or(coalesce((to_jsonb(am)->>'inherit_option')::bool, m.rolinherit)) AS inherits,
                        bool_or(coalesce((to_jsonb(am)->>'set_option')::bool, true)) AS sets,
                        bool_or(am.admin_option) AS admins
                 FROM pg_auth_members am JOIN pg_roles m ON m.oid = am.member GROUP BY 1, 2",
                &[],
            )
            .await?;
        for row in &rows {
            facts.memberships.push(Membership {
                member: get(row, "member")?,
                role: get(row, "roleid")?,
                inherit: get(row, "inherits")?,
                set: get(row, "sets")?,
                admin: get(row, "admins")?,
            });
        }
        Ok(())
    }

    async fn databases(&self, facts: &mut ClusterFacts) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_database",
                "SELECT d.datname::text AS name, d.datdba AS owner, d.datistemplate AS template,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x) AS grants
                 FROM pg_database d WHERE d.datname NOT IN ('template0', 'template1')",
                &[],
            )
            .await?;
        for row in &rows {
            facts.databases.push(Database {
                name: name(row, "name")?,
                owner: get(row, "owner")?,
                template: get(row, "template")?,
                grants: grants(get(row, "grants")?, None),
            });
        }
        Ok(())
    }

    async fn session_defaults(&self, facts: &mut ClusterFacts) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_db_role_setting",
                "SELECT nullif(s.setrole, 0) AS role, d.datname::text AS database,
                        split_part(c.setting, '=', 1) AS name,
                        substr(c.setting, strpos(c.setting, '=') + 1) AS value
                 FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase,
                      unnest(s.setconfig) c(setting)",
                &[],
            )
            .await?;
        for row in &rows {
            facts.session_defaults.push(SessionDefault {
                role: get(row, "role")?,
                database: optional_name(row, "database")?,
                name: get(row, "name")?,
                value: get(row, "value")?,
            });
        }
        Ok(())
    }

    async fn parameters(&self, facts: &mut ClusterFacts) -> Result<(), Error> {
        // The catalogue of parameters came with PostgreSQL 15.
        if facts.version >= 150_000 {
            let rows = self
                .rows(
                    "read pg_parameter_acl",
                    "SELECT p.parname AS name,
                            (SELECT string_agg(x.grantee || '=' || CASE x.privilege_type WHEN 'SET' THEN 'UPDATE' ELSE 'CREATE' END, ',')
                             FROM aclexplode(p.paracl) x) AS grants
                     FROM pg_parameter_acl p",
                    &[],
                )
                .await?;
            for row in &rows {
                facts.parameters.push(Parameter {
                    name: get(row, "name")?,
                    grants: grants(get(row, "grants")?, None),
                });
            }
        }
        Ok(())
    }

    async fn hosts(&self, facts: &mut ClusterFacts) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_hba_file_rules",
                "SELECT h.line_number AS line, h.database AS databases, coalesce(h.address, 'all') AS address
                 FROM pg_hba_file_rules h
                 WHERE h.auth_method = 'trust' AND h.type LIKE 'host%' AND h.error IS NULL
                   AND coalesce(h.address, 'all') NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost')",
                &[],
            )
            .await?;
        let mut trusted = Vec::new();
        for row in &rows {
            trusted.push(TrustedHost {
                line: get(row, "line")?,
                databases: get::<Option<Vec<String>>>(row, "databases")?.unwrap_or_default(),
                address: get(row, "address")?,
            });
        }
        facts.trusted = Some(trusted);
        Ok(())
    }
}
