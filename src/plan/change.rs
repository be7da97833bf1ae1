//! One change to a server, as a value: what it is, and what it risks.

use crate::model::credential::Validity;
use crate::model::desired::{Credential, KeyType, Sharing};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::Version;
use crate::model::observed::DefaultKind;
use crate::model::tenant::State;

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
        credential: Credential,
    },
    /// Make another login of a role, without a password.
    CreateLogin {
        /// Its name.
        name: Ident,
        /// The role that it becomes.
        role: Ident,
    },
    /// Let a login have the privileges of what it is a member of.
    LetInherit(Ident),
    /// Store a password's verifier, and until when it works.
    IssuePassword {
        /// The role that logs in with it.
        login: Ident,
        /// The SCRAM verifier.
        credential: Credential,
        /// Until when it works.
        until: Validity,
    },
    /// Let a password end: now, which takes it away, or later.
    EndPassword {
        /// The role that logs in with it.
        login: Ident,
        /// Until when it works.
        until: Validity,
    },
    /// Tell the registry that passwords of these roles were issued: since when, never what.
    NoteCredentials(Vec<Ident>),
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
    /// Give a login a setting of its role, spelled as the server keeps it.
    MirrorSetting {
        /// The login.
        login: Ident,
        /// The database, or every one.
        database: Option<Ident>,
        /// The setting's name.
        setting: String,
        /// Its value.
        value: String,
    },
    /// Take a setting from new sessions of a role, in every database or in one.
    ResetForRole {
        /// The role.
        role: Ident,
        /// The database, or every one.
        database: Option<Ident>,
        /// The setting's name.
        setting: String,
    },
    /// Take a setting from new sessions in a database.
    ResetForDatabase {
        /// The database.
        database: Ident,
        /// The setting's name.
        setting: String,
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
            Self::StopInheriting(_) | Self::CloseHistory { .. } | Self::EndPassword { .. } => {
                vec![Hazard::NarrowsAccess]
            }
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
                | Self::NoteCredentials(_)
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
            Self::CreateLogin { name, role } => {
                format!("create role {name}, which logs in and becomes {role}")
            }
            Self::LetInherit(login) => format!("let {login} inherit the role that it becomes"),
            Self::IssuePassword { login, until, .. } => match until {
                Validity::Until(end) => format!("set the password of {login}, valid until {end}"),
                _ => format!("set the password of {login}"),
            },
            Self::EndPassword { login, until } => match until {
                Validity::Until(end) => format!("let the password of {login} end at {end}"),
                _ => format!("take the password of {login} away"),
            },
            Self::NoteCredentials(roles) => {
                let names: Vec<String> = roles.iter().map(Ident::to_string).collect();
                format!("record that a password of {} was issued", names.join(", "))
            }
            Self::SetForRole { role, setting, value, .. } => {
                format!("set {setting} = {value} for {role}")
            }
            Self::MirrorSetting { login, setting, value, .. } => {
                format!("set {setting} = {value} for {login}")
            }
            Self::ResetForRole { role, setting, .. } => format!("reset {setting} for {role}"),
            Self::SetForDatabase { database, setting, value } => {
                format!("set {setting} = {value} for database {database}")
            }
            Self::ResetForDatabase { database, setting } => {
                format!("reset {setting} for database {database}")
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
}
