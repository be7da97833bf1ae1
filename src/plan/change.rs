//! One change to a server, as a value: what it is, what it risks, and the SQL that makes it.

use crate::model::desired::{KeyType, Sharing};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::Version;
use crate::model::observed::{DefaultKind, ServerFacts};
use crate::model::tenant::State;
use crate::sql;
use crate::sql::{Literal, Sql};

/// A change that a plan asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write the tenant's row to the registry, or move its state.
    Record(State),
    /// Make a role that owns, reads or writes.
    CreateRole {
        /// Its name.
        name: Ident,
        /// Whether sessions may begin as this role.
        login: bool,
    },
    /// Let a role log in: its application has no pool that becomes it.
    AllowLogin(Ident),
    /// Keep a pool's login from having every tenant's privileges at once.
    StopInheriting(Ident),
    /// Let one role become another, with or without its privileges beforehand.
    GrantRole {
        /// The role to become.
        role: Ident,
        /// Who may become it.
        member: Ident,
        /// Whether the member has the role's privileges without `SET ROLE`.
        inherit: bool,
    },
    /// Limit the sessions that a role may hold.
    LimitConnections {
        /// The role.
        role: Ident,
        /// How many.
        limit: i32,
    },
    /// Store a password's verifier.
    SetPassword {
        /// The role.
        role: Ident,
        /// The SCRAM verifier.
        credential: crate::model::desired::Credential,
    },
    /// Give new sessions of a role a setting, in every database or in one.
    SetForRole {
        /// The role.
        role: Ident,
        /// The database, or every one.
        database: Option<Ident>,
        /// The setting's name.
        setting: String,
        /// Its value.
        value: String,
    },
    /// Give new sessions in a database a setting.
    SetForDatabase {
        /// The database.
        database: Ident,
        /// The setting's name.
        setting: String,
        /// Its value.
        value: String,
    },
    /// Remove what an interrupted CREATE DATABASE left.
    DropInvalidDatabase(Ident),
    /// Make a database.
    CreateDatabase {
        /// Its name.
        name: Ident,
        /// Its owner.
        owner: Ident,
        /// What it is a copy of; of what the server copies by itself, without it.
        copy_of: Option<CopyOf>,
    },
    /// Remove a template database that is half made, or that a new one replaces.
    DropTemplate(Ident),
    /// Let a role create in a template database while it is being made.
    LendDatabase {
        /// The database.
        database: Ident,
        /// The role.
        role: Ident,
        /// What the database's comment says: which templates a newer one replaces.
        label: String,
    },
    /// Close a template database for good, and offer it to be copied.
    SealTemplate {
        /// Its name.
        name: Ident,
        /// The role it was lent to.
        owner: Ident,
    },
    /// Hand what a copy holds to the tenant's owner.
    AdoptCopy {
        /// Who owned it in the template.
        from: Ident,
        /// Who owns it from now on.
        to: Ident,
    },
    /// Close a database to PUBLIC.
    CloseDatabase(Ident),
    /// Let a role connect to a database.
    GrantConnect {
        /// The database.
        database: Ident,
        /// The role.
        role: Ident,
    },
    /// Make a schema.
    CreateSchema {
        /// Its name.
        name: Ident,
        /// Its owner.
        owner: Ident,
    },
    /// Close a schema to PUBLIC.
    CloseSchema(Ident),
    /// Let a role name the objects in a schema.
    GrantUsage {
        /// The schema.
        schema: Ident,
        /// The role.
        role: Ident,
    },
    /// Close new functions of an owner to PUBLIC.
    CloseFunctions(Ident),
    /// Grant new objects of an owner in a schema to a role.
    GrantByDefault {
        /// The owner whose new objects are meant.
        owner: Ident,
        /// The schema.
        schema: Ident,
        /// Which objects.
        kind: DefaultKind,
        /// Who gets them.
        role: Ident,
    },
    /// Make refinery's history table, before default privileges would open it.
    CreateHistory(Ident),
    /// Close the history table to a role.
    CloseHistory {
        /// The schema.
        schema: Ident,
        /// The role.
        role: Ident,
    },
    /// Make a function that reads or sets the current tenant.
    CreateHelper {
        /// The schema.
        schema: Ident,
        /// Which function.
        helper: Helper,
        /// How rows are told apart.
        sharing: Sharing,
    },
    /// Let a role call such a function.
    GrantHelper {
        /// The schema.
        schema: Ident,
        /// Which function.
        helper: Helper,
        /// The type of the tenant's key, which is part of the function's identity.
        key_type: KeyType,
        /// The role.
        role: Ident,
    },
    /// Apply migrations through refinery.
    Migrate {
        /// The schema.
        schema: Ident,
        /// What will be applied, in order.
        versions: Vec<Version>,
    },
    /// Bind a table's rows to the current tenant: policy, ENABLE, FORCE.
    GuardTable {
        /// The table.
        table: QualifiedName,
        /// How rows are told apart.
        sharing: Sharing,
        /// The type of the table's tenant column.
        key_type: String,
    },
    /// Bind everybody, the owner included, to the policies that a table has already.
    EnforcePolicies(QualifiedName),
    /// Let a role use a table.
    GrantTable {
        /// The table.
        table: QualifiedName,
        /// The role.
        role: Ident,
        /// Whether it may write.
        write: bool,
    },
    /// Let a role call a function.
    GrantFunction {
        /// The schema.
        schema: Ident,
        /// Name and arguments, as the server printed them.
        signature: String,
        /// The role.
        role: Ident,
    },
    /// Let a role draw numbers from a sequence.
    GrantSequence {
        /// The sequence.
        sequence: QualifiedName,
        /// The role.
        role: Ident,
    },
}

/// The template of a new database, and how it is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOf {
    /// The template database.
    pub template: Ident,
    /// Copy its files instead of logging its pages, where the server knows both.
    pub files: bool,
}

/// The functions that `create` puts beside shared tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Helper {
    /// `current_tenant_id()`: the current tenant's key, NULL when there is none.
    Current,
    /// `set_tenant_context(key)`: sets it for the current transaction.
    Set,
}

impl Helper {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Current, Self::Set];

    /// The function's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current_tenant_id",
            Self::Set => "set_tenant_context",
        }
    }

    /// What the function's comment says, so that a changed definition is seen.
    pub fn fingerprint(self, sharing: &Sharing) -> String {
        format!(
            "tenantctl: {} v1 ({}, {})",
            self.name(),
            sharing.tenancy.setting,
            sharing.key_type.word()
        )
    }
}

/// The name of the policy that `tenantctl` puts on shared tables.
pub const POLICY: &str = "tenant_isolation";

/// What the policy's comment says, so that a changed definition is seen.
pub fn policy_fingerprint(sharing: &Sharing, key_type: &str) -> String {
    let tenancy = &sharing.tenancy;
    format!("tenantctl: policy v1 ({} = {}, {key_type})", tenancy.column, tenancy.setting)
}

/// Something a person should know before a plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hazard {
    /// Runs migration files, which may do anything their author wrote.
    RunsMigrations,
    /// Cannot join a transaction: an interruption leaves it for the next run to finish.
    NotTransactional,
    /// Takes a privilege away that something else may rely on.
    NarrowsAccess,
    /// Takes a lock that stops readers and writers of a table for a moment.
    LocksTable,
    /// Removes something.
    Removes,
}

impl Hazard {
    /// The word that is printed and written to JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::RunsMigrations => "runs-migrations",
            Self::NotTransactional => "not-transactional",
            Self::NarrowsAccess => "narrows-access",
            Self::LocksTable => "locks-table",
            Self::Removes => "removes",
        }
    }
}

impl Change {
    /// What a person should know beforehand.
    pub fn hazards(&self) -> Vec<Hazard> {
        match self {
            Self::CreateDatabase { .. } => vec![Hazard::NotTransactional],
            Self::DropInvalidDatabase(_) | Self::DropTemplate(_) => {
                vec![Hazard::NotTransactional, Hazard::Removes]
            }
            Self::Migrate { .. } => vec![Hazard::RunsMigrations],
            Self::StopInheriting(_) | Self::CloseHistory { .. } => vec![Hazard::NarrowsAccess],
            Self::GuardTable { .. } | Self::EnforcePolicies(_) => vec![Hazard::LocksTable],
            _ => Vec::new(),
        }
    }

    /// Whether this shares no transaction with its neighbours: the server refuses it inside a
    /// block, or it is one by itself.
    pub fn stands_alone(&self) -> bool {
        matches!(
            self,
            Self::CreateDatabase { .. }
                | Self::DropInvalidDatabase(_)
                | Self::DropTemplate(_)
                | Self::Migrate { .. }
                | Self::Record(_)
        )
    }

    /// One sentence for people: a verb, an object.
    pub fn describe(&self) -> String {
        match self {
            Self::Record(state) => format!("record the tenant as {state}"),
            Self::CreateRole { name, login: true } => format!("create role {name}, which logs in"),
            Self::CreateRole { name, login: false } => format!("create role {name} (NOLOGIN)"),
            Self::AllowLogin(role) => format!("let role {role} log in"),
            Self::StopInheriting(role) => {
                format!("stop {role} from inheriting the roles it may become")
            }
            Self::GrantRole { role, member, .. } => format!("let {member} become {role}"),
            Self::LimitConnections { role, limit } => {
                format!("limit {role} to {limit} connections")
            }
            Self::SetPassword { role, .. } => format!("set the password of {role}"),
            Self::SetForRole { role, setting, value, .. } => {
                format!("set {setting} = {value} for {role}")
            }
            Self::SetForDatabase { database, setting, value } => {
                format!("set {setting} = {value} for database {database}")
            }
            Self::DropInvalidDatabase(name) => {
                format!("drop database {name}, which an interrupted CREATE left invalid")
            }
            Self::CreateDatabase { name, owner, copy_of: None } => {
                format!("create database {name} owned by {owner}")
            }
            Self::CreateDatabase { name, owner, copy_of: Some(copy) } => {
                format!("create database {name} owned by {owner} as a copy of {}", copy.template)
            }
            Self::DropTemplate(name) => {
                format!("drop template database {name}, which is half made or replaced")
            }
            Self::LendDatabase { database, role, .. } => {
                format!("let {role} create in {database} for now")
            }
            Self::SealTemplate { name, .. } => {
                format!("close template database {name} and offer it to be copied")
            }
            Self::AdoptCopy { from, to } => {
                format!("hand over to {to} what the copy holds of {from}")
            }
            Self::CloseDatabase(name) => format!("revoke all on database {name} from PUBLIC"),
            Self::GrantConnect { database, role } => format!("let {role} connect to {database}"),
            Self::CreateSchema { name, owner } => format!("create schema {name} owned by {owner}"),
            Self::CloseSchema(schema) => format!("revoke all on schema {schema} from PUBLIC"),
            Self::GrantUsage { schema, role } => format!("let {role} use schema {schema}"),
            Self::CloseFunctions(owner) => {
                format!("close new functions of {owner} to PUBLIC")
            }
            Self::GrantByDefault { schema, kind, role, .. } => {
                let what = match kind {
                    DefaultKind::Tables => "use new tables",
                    DefaultKind::TablesRead => "read new tables",
                    DefaultKind::Sequences => "use new sequences",
                    DefaultKind::Functions => "call new functions",
                };
                format!("let {role} {what} in {schema}")
            }
            Self::CreateHistory(schema) => {
                format!("create the migration history {schema}.{HISTORY_TABLE}")
            }
            Self::CloseHistory { schema, role } => {
                format!("revoke all on {schema}.{HISTORY_TABLE} from {role}")
            }
            Self::CreateHelper { schema, helper, .. } => {
                format!("create function {schema}.{}", helper.name())
            }
            Self::GrantHelper { schema, helper, role, .. } => {
                format!("let {role} call function {schema}.{}", helper.name())
            }
            Self::Migrate { schema, versions } => match versions.as_slice() {
                [only] => format!("apply migration V{only} in {schema}"),
                [first, .., last] => {
                    format!("apply {} migrations in {schema} (V{first} to V{last})", versions.len())
                }
                [] => format!("apply no migration in {schema}"),
            },
            Self::GuardTable { table, .. } => {
                format!("bind the rows of {table} to the current tenant (policy, ENABLE, FORCE)")
            }
            Self::EnforcePolicies(table) => {
                format!("bind everybody to the policies of {table} (ENABLE, FORCE)")
            }
            Self::GrantTable { table, role, write } => {
                format!("let {role} {} {table}", if *write { "use" } else { "read" })
            }
            Self::GrantFunction { schema, signature, role } => {
                format!("let {role} call {schema}.{signature}")
            }
            Self::GrantSequence { sequence, role } => format!("let {role} use {sequence}"),
        }
    }

    /// The statements that make this change, in order.
    ///
    /// Empty for [`Change::Record`], which the registry writes, and for [`Change::Migrate`], which
    /// refinery runs.
    pub fn statements(&self, server: &ServerFacts) -> Vec<Sql> {
        match self {
            Self::Record(_) | Self::Migrate { .. } => Vec::new(),
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
            Self::SetForRole { role, database, setting, value } => vec![match database {
                None => {
                    sql!("ALTER ROLE {} SET {} = {}", role, setting_name(setting), Literal(value))
                }
                Some(database) => sql!(
                    "ALTER ROLE {} IN DATABASE {} SET {} = {}",
                    role,
                    database,
                    setting_name(setting),
                    Literal(value)
                ),
            }],
            Self::SetForDatabase { database, setting, value } => vec![sql!(
                "ALTER DATABASE {} SET {} = {}",
                database,
                setting_name(setting),
                Literal(value)
            )],
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
    let text: Vec<&str> = parts.iter().map(Sql::as_str).collect();
    Sql::trusted(text.join("."))
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
