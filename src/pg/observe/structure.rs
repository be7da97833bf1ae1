//! Reads what stands in many schemas at once, so that they can be compared.
//!
//! One statement for a slice of schemas, whatever the number of their objects: the server spells
//! every fact, puts placeholders for the tenant's own names, and sends back one row per schema with a
//! hash. Definitions travel only for schemas that are looked at closer. Runs in READ ONLY, REPEATABLE
//! READ transactions with `search_path = pg_catalog`, and needs no privilege but CONNECT.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::super::answer::failed;
use super::super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::structure::{Fact, Fingerprint, Flaw, OwnNames, Structure};

/// The facts, as a WITH list that ends in `spelled (schema, line)`.
const FACTS: &str = include_str!("facts.sql");

/// What stands between the parts of a line; no name or definition holds it.
const SEPARATOR: char = '\u{1}';

/// One row per schema. SHA-256, because a server in FIPS mode has no MD5; xor, because it needs no
/// order and no memory, and no schema has the same fact twice.
const SUMS: &str = "
SELECT schema, count(*)::int8 AS facts, (count(*) FILTER (WHERE starts_with(line, 'table' || chr(1))))::int8 AS tables,
       bit_xor(('x' || encode(substr(hash, 1, 8), 'hex'))::bit(64)::int8) AS high,
       bit_xor(('x' || encode(substr(hash, 9, 8), 'hex'))::bit(64)::int8) AS low
FROM (SELECT schema, line, sha256(convert_to(line, 'UTF8')) AS hash FROM spelled) hashed GROUP BY schema";

/// One row per fact.
const LINES: &str = "SELECT schema, line FROM spelled";

const FLAWS: &str = "
SELECT n.nspname::text AS schema, 'index' AS kind, i.relname::text AS name, c.relname::text AS on_table
FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT (x.indisvalid AND x.indisready) AND i.relkind = 'i' AND n.nspname = ANY ($1)
UNION ALL
SELECT n.nspname::text, 'constraint', k.conname::text, c.relname::text
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT k.convalidated AND n.nspname = ANY ($1) ORDER BY 1, 2, 3, 4";

const LOCKED: &str = "
SELECT n.nspname::text AS schema, min(l.pid) AS pid
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE d.datname = pg_catalog.current_database() AND l.mode = 'AccessExclusiveLock' AND l.granted
  AND l.pid <> pg_catalog.pg_backend_pid() AND n.nspname = ANY ($1) GROUP BY 1";

/// The printing of an expression opens its table: not long, and never in the way of a migration.
/// Compiling a statement that runs once costs more than it saves.
pub(in crate::pg) const SETTINGS: &str = "SET LOCAL search_path = pg_catalog; \
     SET LOCAL lock_timeout = '2s'; SET LOCAL jit = off; \
     SET LOCAL max_parallel_workers_per_gather = 0";

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// How often objects may vanish while they are printed before that is a failure.
const ATTEMPTS: usize = 5;

/// What was read of the schemas of one database: a schema that does not exist is absent.
#[derive(Debug)]
pub struct Structures {
    /// The server's major version: each prints definitions in its own way.
    pub major: u32,
    /// By schema. One on whose tables somebody holds an exclusive lock is a failure of its own.
    pub schemas: BTreeMap<Ident, Result<Structure, Error>>,
}

/// Reads the fingerprints of schemas of the session's database, and their flaws.
///
/// A view's tables stay locked (ACCESS SHARE) until its transaction ends: schemas that are too many
/// for the server's lock table are read in halves.
///
/// # Errors
///
/// Whatever the server refuses; a table that somebody has locked is that schema's failure.
pub async fn structures(session: &Session, names: &[&OwnNames]) -> Result<Structures, Error> {
    let mut found = Structures { major: major(session).await?, schemas: BTreeMap::new() };
    let mut slices = vec![names.to_vec()];
    let mut attempts = 0;
    while let Some(slice) = slices.pop() {
        match summed(session, &slice).await {
            Ok(read) => {
                found.schemas.extend(read.into_iter().map(|(schema, read)| (schema, Ok(read))));
            }
            Err(error) => match sqlstate(&error) {
                Some("53200") if slice.len() > 1 => {
                    let (first, second) = slice.split_at(slice.len() / 2);
                    slices.extend([first.to_vec(), second.to_vec()]);
                }
                Some("55P03") => {
                    let locked = locked(session, &slice).await?;
                    let rest = slice.into_iter().filter(|one| !locked.contains_key(&one.schema));
                    slices.push(rest.collect());
                    attempts += usize::from(locked.is_empty());
                    found.schemas.extend(locked.into_iter().map(|(name, busy)| (name, Err(busy))));
                }
                // What a snapshot shows may be gone when it is printed.
                Some("XX000" | "42P01") if attempts < ATTEMPTS => {
                    attempts += 1;
                    slices.push(slice);
                }
                _ => return Err(error),
            },
        }
        if attempts > ATTEMPTS {
            let what = format!("read the schemas of {}", session.database());
            return Err(Error::new(Code::LockBusy, what)
                .hint("somebody keeps locking their tables: run it again later"));
        }
    }
    Ok(found)
}

/// Reads every fact about a few schemas.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn facts(
    session: &Session,
    names: &[&OwnNames],
) -> Result<BTreeMap<Ident, Vec<Fact>>, Error> {
    let rows = reading(session, names, LINES).await?;
    let mut facts: BTreeMap<Ident, Vec<Fact>> = BTreeMap::new();
    for row in &rows {
        facts.entry(Ident::new(get::<String>(row, "schema")?)?).or_default().push(fact(row)?);
    }
    for found in facts.values_mut() {
        found.sort_unstable();
    }
    Ok(facts)
}

/// Reads every fact about one schema in a transaction that has begun, with [`SETTINGS`].
///
/// # Errors
///
/// Whatever the server refuses.
pub(in crate::pg) async fn facts_within(
    session: &Session,
    names: &OwnNames,
) -> Result<Vec<Fact>, Error> {
    let rows = within(session, &[names], LINES).await.map_err(|error| refused(session, error))?;
    let mut facts: Vec<Fact> = rows.iter().map(fact).collect::<Result<_, _>>()?;
    facts.sort_unstable();
    Ok(facts)
}

fn fact(row: &Row) -> Result<Fact, Error> {
    let line: &str = get(row, "line")?;
    let mut parts = line.splitn(4, SEPARATOR).map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    Ok(Fact { kind: part(), parent: part(), object: part(), definition: part() })
}

async fn major(session: &Session) -> Result<u32, Error> {
    let text = "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000";
    let row = session.client().query_typed(text, &[]).await.map_err(|e| refused(session, e))?;
    let number: i32 = match row.first() {
        Some(row) => row.try_get(0).map_err(|error| refused(session, error))?,
        None => 0,
    };
    Ok(number.unsigned_abs())
}

async fn summed(
    session: &Session,
    names: &[&OwnNames],
) -> Result<BTreeMap<Ident, Structure>, Error> {
    let mut found = BTreeMap::new();
    for row in &reading(session, names, SUMS).await? {
        let half = |column| Ok::<_, Error>(u128::from(get::<i64>(row, column)?.cast_unsigned()));
        let number =
            |column| Ok::<_, Error>(usize::try_from(get::<i64>(row, column)?).unwrap_or(0));
        let structure = Structure {
            fingerprint: Fingerprint(half("high")? << 64 | half("low")?),
            facts: number("facts")?,
            tables: number("tables")?,
            flaws: Vec::new(),
        };
        found.insert(Ident::new(get::<String>(row, "schema")?)?, structure);
    }
    let schemas = schemas(names);
    let rows = session
        .client()
        .query_typed(FLAWS, &[(&schemas, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| refused(session, error))?;
    for row in &rows {
        let text = |column| get::<String>(row, column);
        if let Some(structure) = found.get_mut(&Ident::new(text("schema")?)?) {
            let (name, table) = (text("name")?, text("on_table")?);
            structure.flaws.push(match text("kind")?.as_str() {
                "index" => Flaw::InvalidIndex { index: name, table },
                _ => Flaw::NotValidated { constraint: name, table },
            });
        }
    }
    Ok(found)
}

/// Runs one statement over the facts in a transaction of its own.
async fn reading(session: &Session, names: &[&OwnNames], select: &str) -> Result<Vec<Row>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let client = session.client();
    let begin = format!("{BEGIN}; {SETTINGS}");
    client.batch_execute(&begin).await.map_err(|error| refused(session, error))?;
    let rows = within(session, names, select).await;
    let ended = client.batch_execute("ROLLBACK").await;
    let rows = rows.map_err(|error| refused(session, error))?;
    ended.map_err(|error| refused(session, error))?;
    Ok(rows)
}

/// Runs one statement over the facts.
async fn within(
    session: &Session,
    names: &[&OwnNames],
    select: &str,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let parameter = Value::Array(names.iter().map(|names| spelled(names)).collect());
    let statement = format!("{FACTS}{select}");
    session.client().query_typed(&statement, &[(&parameter, Type::JSONB)]).await
}

async fn locked(session: &Session, names: &[&OwnNames]) -> Result<BTreeMap<Ident, Error>, Error> {
    let schemas = schemas(names);
    let rows = session
        .client()
        .query_typed(LOCKED, &[(&schemas, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| refused(session, error))?;
    rows.iter()
        .map(|row| {
            let schema = Ident::new(get::<String>(row, "schema")?)?;
            let pid: i32 = get(row, "pid")?;
            let what = format!("read schema {schema}: pid {pid} holds an exclusive lock in it");
            let busy = Error::new(Code::LockBusy, what)
                .hint("run it again when that session, perhaps a migration, is done");
            Ok((schema, busy))
        })
        .collect()
}

fn schemas<'n>(names: &[&'n OwnNames]) -> Vec<&'n str> {
    names.iter().map(|names| names.schema.as_str()).collect()
}

fn refused(session: &Session, error: tokio_postgres::Error) -> Error {
    failed(error, format!("read the schemas of {}", session.database()))
}

fn sqlstate(error: &Error) -> Option<&str> {
    error.answer.as_ref().map(|answer| answer.sqlstate.as_str())
}

fn get<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T, Error> {
    row.try_get(column).map_err(|error| failed(error, format!("read column {column}")))
}

/// What the statement is told about one schema: its names, as regular expressions.
fn spelled(names: &OwnNames) -> Value {
    // In printed SQL a schema's name has a dot behind it; in a string it may stand alone.
    let schemas: Vec<&Ident> = [&names.schema].into_iter().chain(&names.stands_for).collect();
    let in_text = format!(r#"(?<![[:alnum:]_$"]){}(?=[.'])"#, either(&schemas));
    let own: Vec<&Ident> =
        names.roles.iter().chain(&names.readonly).chain([&names.owner]).collect();
    let mut own_names: Vec<String> =
        own.iter().map(|name| format!("%{}%", name.as_str())).collect();
    own_names.extend(names.uuid.map(|uuid| format!("%{uuid}%")));
    own_names.extend(names.stands_for.iter().map(|name| format!("%{}%", name.as_str())));
    let roles: Vec<&Ident> = names.roles.iter().collect();
    let readonly: Vec<&Ident> = names.readonly.iter().collect();
    json!({
        "schema": names.schema.as_str(),
        "whole_database": names.whole_database,
        "schema_in_text": in_text,
        "schema_as_word": word(&schemas),
        "owner": word(&[&names.owner]),
        "role": word(&roles),
        "readonly": word(&readonly),
        "own_names": own_names,
        "id": names.uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
    })
}

/// A regular expression for any of these names as a whole word; for none, one that fits nothing.
fn word(names: &[&Ident]) -> String {
    if names.is_empty() {
        return "(?!)".to_owned();
    }
    format!(r#"(?<![[:alnum:]_$"]){}(?![[:alnum:]_$])"#, either(names))
}

/// The names, each as it is stored and as SQL spells it.
fn either(names: &[&Ident]) -> String {
    let forms: Vec<String> = names
        .iter()
        .flat_map(|name| {
            [name.as_str().to_owned(), format!("\"{}\"", name.as_str().replace('"', "\"\""))]
        })
        .map(|form| escaped(&form))
        .collect();
    format!("({})", forms.join("|"))
}

/// Text that a regular expression of PostgreSQL takes literally.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_punctuation() && character != '_' {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_literally_and_quoted_or_not() {
        let name = Ident::new("a.b\"c").unwrap();
        assert_eq!(either(&[&name]), r#"(a\.b\"c|\"a\.b\"\"c\")"#);
        assert_eq!(word(&[]), "(?!)");
    }
}
