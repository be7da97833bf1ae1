//! The SQL that makes each change, spelled for a server's version.

use super::change::{Change, CopyOf, Helper, POLICY, policy_fingerprint};
use crate::model::credential::Validity;
use crate::model::desired::{KeyType, Sharing};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::observed::{DefaultKind, ServerFacts};
use crate::sql;
use crate::sql::{Literal, Sql};

impl Change {
    /// The statements that make this change, in order.
    ///
    /// Empty for [`Change::Record`] and [`Change::NoteCredentials`], which the registry writes, and
    /// for [`Change::Migrate`], which refinery runs.
    pub fn statements(&self, server: &ServerFacts) -> Vec<Sql> {
        match self {
            Self::Record(_) | Self::NoteCredentials(_) | Self::Migrate { .. } => Vec::new(),
            Self::CreateRole { name, login } => vec![if *login {
                sql!("CREATE ROLE {} LOGIN NOINHERIT", name)
            } else {
                sql!("CREATE ROLE {} NOLOGIN", name)
            }],
            Self::AllowLogin(role) => vec![sql!("ALTER ROLE {} LOGIN", role)],
            Self::StopInheriting(role) => vec![sql!("ALTER ROLE {} NOINHERIT", role)],
            Self::GrantRole { role, member, inherit } => {
                vec![match (server.membership_options(), inherit) {
                    (false, _) => sql!("GRANT {} TO {}", role, member),
                    (true, true) => {
                        sql!("GRANT {} TO {} WITH INHERIT TRUE, SET TRUE", role, member)
                    }
                    (true, false) => {
                        sql!("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE", role, member)
                    }
                }]
            }
            Self::LimitConnections { role, limit } => {
                vec![sql!("ALTER ROLE {} CONNECTION LIMIT {}", role, *limit)]
            }
            Self::SetPassword { role, credential } => {
                vec![sql!("ALTER ROLE {} PASSWORD {}", role, Literal(&credential.verifier))]
            }
            Self::CreateLogin { name, .. } => vec![sql!("CREATE ROLE {} LOGIN INHERIT", name)],
            Self::LetInherit(login) => vec![sql!("ALTER ROLE {} INHERIT", login)],
            Self::IssuePassword { login, credential, until } => vec![sql!(
                "ALTER ROLE {} PASSWORD {} VALID UNTIL {}",
                login,
                Literal(&credential.verifier),
                Literal(&until.to_string())
            )],
            // What has ended leaves no verifier behind.
            Self::EndPassword { login, until: Validity::Ended } => vec![sql!(
                "ALTER ROLE {} PASSWORD NULL VALID UNTIL {}",
                login,
                Literal(&Validity::Ended.to_string())
            )],
            Self::EndPassword { login, until } => {
                vec![sql!("ALTER ROLE {} VALID UNTIL {}", login, Literal(&until.to_string()))]
            }
            Self::SetForRole { role, database, setting, value } => {
                vec![set_for_role(role, database.as_ref(), setting, &sql!("{}", Literal(value)))]
            }
            Self::MirrorSetting { login, database, setting, value } => {
                let value = as_stored(setting, value);
                vec![set_for_role(login, database.as_ref(), setting, &value)]
            }
            Self::ResetForRole { role, database, setting } => vec![match database {
                None => sql!("ALTER ROLE {} RESET {}", role, setting_name(setting)),
                Some(database) => sql!(
                    "ALTER ROLE {} IN DATABASE {} RESET {}",
                    role,
                    database,
                    setting_name(setting)
                ),
            }],
            Self::SetForDatabase { database, setting, value } => vec![sql!(
                "ALTER DATABASE {} SET {} = {}",
                database,
                setting_name(setting),
                Literal(value)
            )],
            Self::ResetForDatabase { database, setting } => {
                vec![sql!("ALTER DATABASE {} RESET {}", database, setting_name(setting))]
            }
            Self::DropInvalidDatabase(name) => vec![sql!("DROP DATABASE {}", name)],
            Self::CreateDatabase { name, owner, copy_of } => vec![match copy_of {
                None => sql!("CREATE DATABASE {} OWNER {}", name, owner),
                // Before PostgreSQL 15 the files are what is copied.
                Some(CopyOf { template, files: true }) if server.version >= 150_000 => sql!(
                    "CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy",
                    name,
                    owner,
                    template
                ),
                Some(CopyOf { template, .. }) => {
                    sql!("CREATE DATABASE {} OWNER {} TEMPLATE {}", name, owner, template)
                }
            }],
            Self::DropTemplate(name) => vec![
                sql!("ALTER DATABASE {} IS_TEMPLATE false", name),
                sql!("DROP DATABASE {} WITH (FORCE)", name),
            ],
            Self::LendDatabase { database, role, label } => vec![
                sql!("COMMENT ON DATABASE {} IS {}", database, Literal(label)),
                sql!("GRANT CREATE, CONNECT ON DATABASE {} TO {}", database, role),
            ],
            // Nothing that every copy shares may name the role: a copy that is adopted drops what
            // names it.
            Self::SealTemplate { name, owner } => vec![
                sql!("REVOKE ALL ON DATABASE {} FROM {}", name, owner),
                sql!("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false", name),
            ],
            // The schemas first: a function's new owner must be able to create in its schema. The last
            // statement drops the default privileges, which are nobody's property.
            Self::AdoptCopy { from, to } => vec![
                sql!("DO {}", Literal(hand_over_schemas(from, to).as_str())),
                sql!("REASSIGN OWNED BY {} TO {}", from, to),
                sql!("DROP OWNED BY {}", from),
            ],
            Self::CloseDatabase(name) => vec![sql!("REVOKE ALL ON DATABASE {} FROM PUBLIC", name)],
            Self::GrantConnect { database, role } => {
                vec![sql!("GRANT CONNECT ON DATABASE {} TO {}", database, role)]
            }
            Self::CreateSchema { name, owner } => {
                vec![sql!("CREATE SCHEMA {} AUTHORIZATION {}", name, owner)]
            }
            Self::CloseSchema(schema) => vec![sql!("REVOKE ALL ON SCHEMA {} FROM PUBLIC", schema)],
            Self::GrantUsage { schema, role } => {
                vec![sql!("GRANT USAGE ON SCHEMA {} TO {}", schema, role)]
            }
            Self::CloseFunctions(owner) => vec![sql!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
                owner
            )],
            Self::GrantByDefault { owner, schema, kind, role } => {
                let grant = match kind {
                    DefaultKind::Tables => sql!("SELECT, INSERT, UPDATE, DELETE ON TABLES"),
                    DefaultKind::TablesRead => sql!("SELECT ON TABLES"),
                    DefaultKind::Sequences => sql!("USAGE, SELECT ON SEQUENCES"),
                    DefaultKind::Functions => sql!("EXECUTE ON FUNCTIONS"),
                };
                vec![sql!(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} TO {}",
                    owner,
                    schema,
                    grant,
                    role
                )]
            }
            Self::CreateHistory(schema) => vec![sql!(
                "CREATE TABLE IF NOT EXISTS {}.refinery_schema_history(version int8 PRIMARY KEY, \
                 name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255))",
                schema
            )],
            Self::CloseHistory { schema, role } => {
                vec![sql!("REVOKE ALL ON {}.refinery_schema_history FROM {}", schema, role)]
            }
            Self::CreateHelper { schema, helper, sharing } => helper.statements(schema, sharing),
            Self::GrantHelper { schema, helper, key_type, role } => {
                let function = helper.signature(schema, *key_type);
                vec![sql!("GRANT EXECUTE ON FUNCTION {} TO {}", function, role)]
            }
            Self::GuardTable { table, sharing, key_type } => guard(table, sharing, key_type),
            Self::EnforcePolicies(table) => enforce(table),
            Self::GrantTable { table, role, write } => vec![if *write {
                sql!("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {}", table, role)
            } else {
                sql!("GRANT SELECT ON TABLE {} TO {}", table, role)
            }],
            Self::GrantFunction { schema, signature, role } => vec![sql!(
                "GRANT EXECUTE ON ROUTINE {}.{} TO {}",
                schema,
                Sql::from_catalog(signature),
                role
            )],
            Self::GrantSequence { sequence, role } => {
                vec![sql!("GRANT USAGE, SELECT ON SEQUENCE {} TO {}", sequence, role)]
            }
        }
    }
}

/// A block that gives every schema of one role to another.
fn hand_over_schemas(from: &Ident, to: &Ident) -> Sql {
    sql!(
        "DECLARE name text; BEGIN FOR name IN SELECT n.nspname FROM pg_catalog.pg_namespace n \
         JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE r.rolname = {} LOOP \
         EXECUTE pg_catalog.format('ALTER SCHEMA %I OWNER TO %I', name, {}::text); END LOOP; END",
        Literal(from.as_str()),
        Literal(to.as_str())
    )
}

/// A setting's name: letters, digits, underscores and dots, checked when the configuration is read.
fn setting_name(name: &str) -> Sql {
    let parts: Vec<Sql> = name
        .split('.')
        .filter_map(|part| Ident::new(part).ok())
        .map(|part| sql!("{}", part))
        .collect();
    Sql::joined(&parts, ".")
}

fn set_for_role(role: &Ident, database: Option<&Ident>, setting: &str, value: &Sql) -> Sql {
    let setting = setting_name(setting);
    match database {
        None => sql!("ALTER ROLE {} SET {} = {}", role, setting, value),
        Some(database) => {
            sql!("ALTER ROLE {} IN DATABASE {} SET {} = {}", role, database, setting, value)
        }
    }
}

/// Settings that are lists of names: the server keeps them as SQL reads them, and takes each name
/// as a constant of its own.
const LISTS: [&str; 4] =
    ["search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"];

/// A value that the server keeps, as it takes it.
fn as_stored(setting: &str, value: &str) -> Sql {
    if !LISTS.contains(&setting) {
        return sql!("{}", Literal(value));
    }
    let mut names = vec![String::new()];
    let (mut quoted, mut letters) = (false, value.chars().peekable());
    while let Some(letter) = letters.next() {
        let Some(name) = names.last_mut() else { break };
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            ' ' if !quoted => {}
            letter => name.push(letter),
        }
    }
    let names: Vec<Sql> = names.iter().map(|name| sql!("{}", Literal(name))).collect();
    Sql::joined(&names, ", ")
}

/// The current tenant's key: typed, NULL when the setting is unset or empty.
///
/// After any `SET LOCAL` the setting is `''` for the rest of the session, never NULL again, and
/// `''::uuid` would be an error; `NULLIF` makes both the same: no tenant, no rows.
fn current_key(sharing: &Sharing, key_type: &Sql) -> Sql {
    let setting = sharing.tenancy.setting.as_str();
    sql!("NULLIF(pg_catalog.current_setting({}, true), '')::{}", Literal(setting), key_type)
}

/// Policy first, then ENABLE and FORCE: at no moment is the table open.
fn guard(table: &QualifiedName, sharing: &Sharing, key_type: &str) -> Vec<Sql> {
    let column = &sharing.tenancy.column;
    // The scalar subquery is evaluated once a statement, not once a row.
    let bound =
        sql!("{} = (SELECT {})", column, current_key(sharing, &Sql::from_catalog(key_type)));
    let policy =
        Ident::new(POLICY).map_or_else(|_| sql!("tenant_isolation"), |name| sql!("{}", name));
    let mut statements = vec![
        sql!("DROP POLICY IF EXISTS {} ON {}", policy, table),
        sql!("CREATE POLICY {} ON {} USING ({}) WITH CHECK ({})", policy, table, bound, bound),
        sql!(
            "COMMENT ON POLICY {} ON {} IS {}",
            policy,
            table,
            Literal(&policy_fingerprint(sharing, key_type))
        ),
    ];
    statements.extend(enforce(table));
    statements
}

fn enforce(table: &QualifiedName) -> Vec<Sql> {
    vec![
        sql!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table),
        sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", table),
    ]
}

impl Helper {
    fn signature(self, schema: &Ident, key_type: KeyType) -> Sql {
        match self {
            Self::Current => sql!("{}.current_tenant_id()", schema),
            Self::Set => sql!("{}.set_tenant_context({})", schema, catalog_type(key_type)),
        }
    }

    fn statements(self, schema: &Ident, sharing: &Sharing) -> Vec<Sql> {
        let key_type = catalog_type(sharing.key_type);
        let signature = self.signature(schema, sharing.key_type);
        let create = match self {
            Self::Current => sql!(
                "CREATE OR REPLACE FUNCTION {} RETURNS {} LANGUAGE sql STABLE PARALLEL SAFE \
                 SET search_path = pg_catalog, pg_temp AS {}",
                signature,
                key_type,
                Literal(sql!("SELECT {}", current_key(sharing, &key_type)).as_str())
            ),
            Self::Set => {
                let body = sql!(
                    "BEGIN IF $1 IS NULL THEN RAISE EXCEPTION 'the tenant must not be null' \
                     USING ERRCODE = 'null_value_not_allowed'; END IF; \
                     PERFORM pg_catalog.set_config({}, $1::pg_catalog.text, true); END",
                    Literal(sharing.tenancy.setting.as_str())
                );
                sql!(
                    "CREATE OR REPLACE FUNCTION {} RETURNS pg_catalog.void LANGUAGE plpgsql VOLATILE \
                     SET search_path = pg_catalog, pg_temp AS {}",
                    signature,
                    Literal(body.as_str())
                )
            }
        };
        vec![
            create,
            sql!("COMMENT ON FUNCTION {} IS {}", signature, Literal(&self.fingerprint(sharing))),
            sql!("REVOKE ALL ON FUNCTION {} FROM PUBLIC", signature),
        ]
    }
}

fn catalog_type(key_type: KeyType) -> Sql {
    match key_type {
        KeyType::Uuid => sql!("pg_catalog.uuid"),
        KeyType::Integer => sql!("pg_catalog.int4"),
        KeyType::Bigint => sql!("pg_catalog.int8"),
        KeyType::Text => sql!("pg_catalog.text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_is_given_back_name_by_name() {
        let stored = as_stored("search_path", r#""$user", app, "a ""b"", c""#);
        assert_eq!(stored.as_str(), r#"'$user', 'app', 'a "b", c'"#);
        assert_eq!(as_stored("search_path", "").as_str(), "''");
        assert_eq!(as_stored("datestyle", "ISO, MDY").as_str(), "'ISO, MDY'");
    }
}
