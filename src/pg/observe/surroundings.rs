//! Reads what stands around tables and functions: other servers, large objects, publications, and
//! what the server itself gave away.
//!
//! What the reading role may not see is left out, and said where it would have decided something.

use super::catalog::{Reader, get, grants, name};
use crate::error::Error;
use crate::model::catalog::{Catalog, Oid};
use crate::model::surroundings::{
    EventTrigger, ForeignServer, LargeObjects, Publication, ServerObject, Subscription, UserMapping,
};

/// Functions that reach files, other servers, raw pages or the log of changes.
const REACHING: &str = "'dblink_connect_u', 'lo_import', 'lo_export', 'pg_read_file', 'pg_read_binary_file', 'pg_ls_dir',
    'pg_stat_file', 'pg_file_write', 'pg_file_read', 'pg_file_rename', 'pg_file_unlink', 'pg_logdir_ls', 'get_raw_page',
    'heap_page_items', 'pg_logical_slot_peek_changes', 'pg_logical_slot_get_changes', 'pg_logical_slot_peek_binary_changes',
    'pg_logical_slot_get_binary_changes', 'pg_create_logical_replication_slot', 'pg_current_logfile', 'pg_hba_file_rules'";

/// Catalogues that hold samples of rows, or secrets.
const TELLING: &str =
    "'pg_statistic', 'pg_statistic_ext_data', 'pg_authid', 'pg_shadow', 'pg_largeobject',
    'pg_user_mapping', 'pg_hba_file_rules', 'pg_file_settings'";

impl Reader<'_> {
    /// Reads everything that stands around, but for keys and rewrite rules.
    pub(super) async fn surroundings(&self, catalog: &mut Catalog) -> Result<(), Error> {
        self.foreign(catalog).await?;
        self.replication(catalog).await?;
        self.given_away(catalog).await?;
        self.server(catalog).await
    }

    async fn foreign(&self, catalog: &mut Catalog) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_foreign_server",
                "SELECT s.oid, s.srvname::text AS name, s.srvowner AS owner, w.fdwname::text AS wrapper,
                        coalesce(s.srvoptions, '{}') AS options,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(s.srvacl, acldefault('S', s.srvowner))) x) AS grants
                 FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw",
                &[],
            )
            .await?;
        for row in &rows {
            let server = ForeignServer {
                name: name(row, "name")?,
                owner: get(row, "owner")?,
                wrapper: name(row, "wrapper")?,
                options: get(row, "options")?,
                grants: grants(get(row, "grants")?, None),
            };
            catalog.around.servers.insert(get(row, "oid")?, server);
        }
        let rows = self
            .rows(
                "read pg_user_mappings",
                "SELECT m.srvid AS server, m.umuser AS role,
                        (SELECT substr(o.text, 6) FROM unnest(m.umoptions) o(text) WHERE o.text LIKE 'user=%') AS user_
                 FROM pg_user_mappings m",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.around.mappings.push(UserMapping {
                server: get(row, "server")?,
                role: get(row, "role")?,
                user: get(row, "user_")?,
            });
        }
        let rows = self
            .rows(
                "read pg_foreign_table",
                "SELECT t.ftrelid AS relation, t.ftserver AS server FROM pg_foreign_table t",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.around.foreign.insert(get(row, "relation")?, get(row, "server")?);
        }
        Ok(())
    }

    async fn replication(&self, catalog: &mut Catalog) -> Result<(), Error> {
        // What the function answers grew with the versions: one column, then a record.
        let rows = self
            .rows(
                "read pg_publication",
                "SELECT p.pubname::text AS name,
                        (SELECT array_agg(DISTINCT coalesce(j.said ->> 'relid', j.said #>> '{}')::oid)
                         FROM pg_get_publication_tables(p.pubname::text) t, to_jsonb(t) AS j (said)
                         WHERE j.said ->> 'qual' IS NULL) AS relations
                 FROM pg_publication p",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.around.publications.push(Publication {
                name: name(row, "name")?,
                relations: get::<Option<Vec<Oid>>>(row, "relations")?.unwrap_or_default(),
            });
        }
        let sees = self
            .rows(
                "ask what may be seen",
                "SELECT has_column_privilege('pg_subscription', 'subconninfo', 'SELECT') AS conninfo",
                &[],
            )
            .await?;
        let sees = sees.first().map(|row| get::<bool>(row, "conninfo")).transpose()?;
        let place = if sees == Some(true) {
            "coalesce(substring(s.subconninfo FROM 'dbname\\s*=\\s*''?([^ '']+)'),
                      substring(s.subconninfo FROM '^postgres(?:ql)?://[^/]*/([^?]+)'))"
        } else {
            "NULL::text"
        };
        let rows = self
            .rows(
                "read pg_subscription",
                &"SELECT s.subname::text AS name, PLACE AS place,
                        (SELECT array_agg(r.srrelid) FROM pg_subscription_rel r WHERE r.srsubid = s.oid) AS relations
                 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()"
                    .replace("PLACE", place),
                &[],
            )
            .await?;
        for row in &rows {
            let subscription = Subscription {
                name: name(row, "name")?,
                database: get(row, "place")?,
                relations: get::<Option<Vec<Oid>>>(row, "relations")?.unwrap_or_default(),
            };
            if sees != Some(true) {
                catalog.unseen.push(format!(
                    "from where subscription {} takes its rows is shown to superusers only",
                    subscription.name
                ));
            }
            catalog.around.subscriptions.push(subscription);
        }
        Ok(())
    }

    async fn given_away(&self, catalog: &mut Catalog) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_event_trigger",
                "SELECT e.evtname::text AS name, e.evtevent::text AS event, e.evtfoid AS function
                 FROM pg_event_trigger e WHERE e.evtenabled <> 'D'",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.around.event_triggers.push(EventTrigger {
                name: name(row, "name")?,
                event: get(row, "event")?,
                function: get(row, "function")?,
            });
        }
        let rows = self
            .rows(
                "read pg_largeobject_metadata",
                "SELECT l.lomowner AS owner, count(*) AS number,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(l.lomacl, acldefault('L', l.lomowner))) x) AS grants
                 FROM pg_largeobject_metadata l GROUP BY l.lomowner, l.lomacl",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.around.large_objects.push(LargeObjects {
                owner: get(row, "owner")?,
                count: get(row, "number")?,
                grants: grants(get(row, "grants")?, None),
            });
        }
        let rows = self
            .rows(
                "read what reaches past the database",
                &"SELECT 0::oid AS oid, f.oid::regprocedure::text AS name, f.proowner AS owner,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) x) AS grants
                 FROM pg_proc f WHERE f.proname IN (REACHING)
                 UNION ALL
                 SELECT c.oid, c.relname, c.relowner,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x)
                 FROM pg_class c WHERE c.relname IN (TELLING) AND c.relnamespace = 'pg_catalog'::regnamespace"
                    .replace("REACHING", REACHING)
                    .replace("TELLING", TELLING),
                &[],
            )
            .await?;
        for row in &rows {
            let object = ServerObject {
                name: get(row, "name")?,
                owner: get(row, "owner")?,
                grants: grants(get(row, "grants")?, None),
            };
            match get::<Oid>(row, "oid")? {
                0 => catalog.around.functions.push(object),
                oid => drop(catalog.around.catalogues.insert(oid, object)),
            }
        }
        Ok(())
    }

    async fn server(&self, catalog: &mut Catalog) -> Result<(), Error> {
        let rows = self
            .rows(
                "read the server's settings",
                "SELECT current_setting('lo_compat_privileges') = 'on' AS open,
                        pg_get_viewdef('pg_stats_ext_exprs'::regclass) ~* 'pg_has_role' AS guarded",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.around.large_objects_open = get(row, "open")?;
            catalog.around.statistics_guarded = get(row, "guarded")?;
        }
        Ok(())
    }
}
