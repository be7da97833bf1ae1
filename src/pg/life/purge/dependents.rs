//! What of somebody else's would fall with a tenant.

use std::cell::Cell;

use tokio_postgres::types::Type;

use super::rows::inside;
use crate::error::{Code, Error};
use crate::model::holdings::Holdings;
use crate::model::ident::Ident;
use crate::model::life::Household;
use crate::pg::answer::failed;
use crate::pg::execute::until_won;
use crate::pg::session::Session;
use crate::plan::life::{crosses, crossing, fate, reveal};
use crate::sql;

/// So many are named.
const NAMED: i64 = 10;

/// Everything that stands elsewhere and depends on something in these schemas; and extensions, of
/// which a database has one copy for everybody. Memberships in publications are no loss.
const DEPENDENTS: &str = "WITH places AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)), \
 inside AS ( \
   SELECT 'pg_catalog.pg_class'::regclass::oid AS class, oid FROM pg_catalog.pg_class WHERE relnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc WHERE pronamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type WHERE typnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid FROM pg_catalog.pg_operator WHERE oprnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid FROM pg_catalog.pg_opclass WHERE opcnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_opfamily'::regclass, oid FROM pg_catalog.pg_opfamily WHERE opfnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid FROM pg_catalog.pg_collation WHERE collnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, oid FROM pg_catalog.pg_ts_config WHERE cfgnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, oid FROM pg_catalog.pg_ts_dict WHERE dictnamespace IN (TABLE places) \
   UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint WHERE connamespace IN (TABLE places)), \
 homes AS ( \
   SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, d.refobjsubid, CASE d.classid \
     WHEN 'pg_catalog.pg_class'::regclass THEN (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_rewrite'::regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE r.oid = d.objid) \
     WHEN 'pg_catalog.pg_constraint'::regclass THEN (SELECT connamespace FROM pg_catalog.pg_constraint WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_trigger'::regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid WHERE t.oid = d.objid) \
     WHEN 'pg_catalog.pg_attrdef'::regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_class c ON c.oid = a.adrelid WHERE a.oid = d.objid) \
     WHEN 'pg_catalog.pg_policy'::regclass THEN (SELECT c.relnamespace FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid WHERE p.oid = d.objid) \
     WHEN 'pg_catalog.pg_statistic_ext'::regclass THEN (SELECT stxnamespace FROM pg_catalog.pg_statistic_ext WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_proc'::regclass THEN (SELECT pronamespace FROM pg_catalog.pg_proc WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_type'::regclass THEN (SELECT typnamespace FROM pg_catalog.pg_type WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_operator'::regclass THEN (SELECT oprnamespace FROM pg_catalog.pg_operator WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_opclass'::regclass THEN (SELECT opcnamespace FROM pg_catalog.pg_opclass WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_opfamily'::regclass THEN (SELECT opfnamespace FROM pg_catalog.pg_opfamily WHERE oid = d.objid) \
     WHEN 'pg_catalog.pg_ts_config'::regclass THEN (SELECT cfgnamespace FROM pg_catalog.pg_ts_config WHERE oid = d.objid) \
   END AS home \
   FROM pg_catalog.pg_depend d JOIN inside i ON i.class = d.refclassid AND i.oid = d.refobjid \
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend m WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e') \
     AND d.deptype IN ('n', 'a') AND d.classid NOT IN ('pg_catalog.pg_amop'::regclass, 'pg_catalog.pg_amproc'::regclass, \
     to_regclass('pg_catalog.pg_publication_rel'), coalesce(to_regclass('pg_catalog.pg_publication_namespace'), 0))) \
 SELECT DISTINCT pg_catalog.pg_describe_object(classid, objid, 0) || ', which uses ' || \
        pg_catalog.pg_describe_object(refclassid, refobjid, refobjsubid) AS told \
 FROM homes WHERE home IS NULL OR home NOT IN (TABLE places) \
 UNION \
 SELECT 'extension ' || e.extname || ', which everybody in this database uses' FROM pg_catalog.pg_extension e \
 WHERE e.extnamespace IN (TABLE places) \
    OR EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN inside i ON i.class = d.classid AND i.oid = d.objid \
               WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid) \
 ORDER BY 1 LIMIT $2";

/// What stands elsewhere in the database and would fall with these schemas, in words.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn dependents(session: &Session, schemas: &[Ident]) -> Result<Vec<String>, Error> {
    let names: Vec<&str> = schemas.iter().map(Ident::as_str).collect();
    let rows = session
        .client()
        .query_typed(DEPENDENTS, &[(&names, Type::TEXT_ARRAY), (&NAMED, Type::INT8)])
        .await
        .map_err(|error| failed(error, "look for what would fall with the tenant's schema"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Refuses to take rows away that a row of another tenant refers to.
///
/// # Errors
///
/// [`Code::Refused`] with the foreign key and what would happen, and whatever the server refuses.
pub async fn refuse_crossing(
    session: &Session,
    house: &Household,
    holdings: &Holdings,
) -> Result<(), Error> {
    let tenant = &house.tenant;
    for edge in crossing(holdings) {
        let Some(question) = crosses(holdings, edge, &tenant.key) else { continue };
        let Some(to) = holdings.tables.get(&edge.to) else { continue };
        // Rows of others are seen by an owner whom no policy binds, until the transaction's end.
        let mut before = reveal(holdings, &edge.to, to);
        for name in [&edge.from, &edge.to] {
            let forced = holdings.tables.get(name).is_some_and(|table| table.rls && table.forced);
            if forced {
                before.push(sql!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", name));
            }
        }
        let question = sql!("SELECT CASE WHEN ({}) THEN 1::int8 ELSE 0::int8 END", question);
        let attempt = || {
            format!("look for rows of others that refer to tenant {} by {}", tenant.id, edge.name)
        };
        let answer = Cell::new(0);
        until_won(|| async {
            let found = inside(session.client(), house, &to.owner, &before, &question, &[], false);
            answer.set(found.await.map_err(|error| failed(error, attempt()))?);
            Ok(())
        })
        .await?;
        if answer.get() > 0 {
            let what = format!(
                "remove tenant {}: a row of {} that is not its own refers to its rows of {} by {}, and {}",
                tenant.id,
                edge.from,
                edge.to,
                edge.name,
                fate(edge)
            );
            return Err(Error::new(Code::Refused, what).hint(
                "give that row another reference, or remove it; with the tenant column in the foreign \
                 key it could not be",
            ));
        }
    }
    Ok(())
}

/// What the tenant's own roles own in its database, outside of its schemas, in words.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn strays(
    session: &Session,
    house: &Household,
    schemas: &[Ident],
) -> Result<Vec<String>, Error> {
    let owner = house.owner_is_its_own.then_some(&house.tenant.owner);
    let roles: Vec<&str> = house.logins().chain(owner).map(Ident::as_str).collect();
    let names: Vec<&str> = schemas.iter().map(Ident::as_str).collect();
    let rows = session
        .client()
        .query_typed(
            "SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, c.oid, 0) || ', which is ' || r.rolname || '''s' \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
             WHERE r.rolname = ANY ($1) AND n.nspname <> ALL ($2) AND n.nspname !~ '^pg_' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
             ORDER BY 1 LIMIT $3",
            &[(&roles, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY), (&NAMED, Type::INT8)],
        )
        .await
        .map_err(|error| failed(error, "look for what the tenant's roles own elsewhere"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
