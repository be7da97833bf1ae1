//! What stands around tables and functions, and lets rows in or out: keys, rewrite rules, event
//! triggers, other servers, large objects, publications, and what the server itself was given away.

use super::catalog::{Grant, Oid};
use super::ident::Ident;
use super::privilege::Privileges;

/// An index that refuses equal rows, or one that begins with the tenant column.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name.
    pub name: Ident,
    /// The table.
    pub relation: Oid,
    /// It refuses equal rows: unique, primary or an exclusion.
    pub unique: bool,
    /// It is the primary key.
    pub primary: bool,
    /// Its columns in order; an expression is left out.
    pub columns: Vec<Ident>,
    /// It has a column that is an expression.
    pub expressions: bool,
    /// Every column is a uuid, which nobody guesses.
    pub uuids: bool,
    /// Every column is numbered by a sequence or an identity.
    pub numbered: bool,
    /// It can be used.
    pub valid: bool,
}

/// A rewrite rule that is not a view's own.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Its name.
    pub name: Ident,
    /// The relation on which it stands.
    pub relation: Oid,
    /// The verbs that fire it.
    pub fires: Privileges,
    /// Its text.
    pub definition: String,
    /// The other relations that it names.
    pub reads: Vec<Oid>,
}

/// An event trigger.
#[derive(Clone, Debug)]
pub struct EventTrigger {
    /// Its name.
    pub name: Ident,
    /// The event: `ddl_command_end`, `login`, …
    pub event: String,
    /// The function that runs.
    pub function: Oid,
}

/// A server outside, by a foreign-data wrapper.
#[derive(Clone, Debug)]
pub struct ForeignServer {
    /// Its name.
    pub name: Ident,
    /// Its owner.
    pub owner: Oid,
    /// The wrapper.
    pub wrapper: Ident,
    /// Its options, `name=value`.
    pub options: Vec<String>,
    /// Who may do what with it; the defaults are spelled out.
    pub grants: Vec<Grant>,
}

/// Who one becomes on a foreign server.
#[derive(Clone, Debug)]
pub struct UserMapping {
    /// The server.
    pub server: Oid,
    /// Whose it is; [`PUBLIC`](super::catalog::PUBLIC) for everybody without one.
    pub role: Oid,
    /// The user over there, when the reader may see it.
    pub user: Option<String>,
}

/// The large objects of one owner with the same grants.
#[derive(Clone, Debug)]
pub struct LargeObjects {
    /// Their owner.
    pub owner: Oid,
    /// How many there are.
    pub count: i64,
    /// Who may do what with them.
    pub grants: Vec<Grant>,
}

/// What is published to whoever may replicate.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its name.
    pub name: Ident,
    /// The relations whose rows are published without a filter.
    pub relations: Vec<Oid>,
}

/// Rows that come in from another database.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name.
    pub name: Ident,
    /// The database over there, when the reader may see it.
    pub database: Option<String>,
    /// The tables that it fills.
    pub relations: Vec<Oid>,
}

/// A function or relation of the server, or of an extension, that reaches past the database's rules.
#[derive(Clone, Debug)]
pub struct ServerObject {
    /// Its name with its arguments, as SQL reads it.
    pub name: String,
    /// Its owner.
    pub owner: Oid,
    /// Who may do what with it; the defaults are spelled out.
    pub grants: Vec<Grant>,
}

/// A parameter that somebody was allowed to set (PostgreSQL 15 and newer).
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Who may set it, by [`Privilege::Update`](super::privilege::Privilege::Update), or change it for
    /// the server, by [`Privilege::Create`](super::privilege::Privilege::Create).
    pub grants: Vec<Grant>,
}

/// A line of `pg_hba.conf` that asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHost {
    /// The line's number.
    pub line: i32,
    /// The databases it names.
    pub databases: Vec<String>,
    /// The address it lets in.
    pub address: String,
}

/// Everything that stands around.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Keys and leading indexes of tables outside tenants' own schemas.
    pub indexes: Vec<Index>,
    /// Rewrite rules.
    pub rewrites: Vec<Rewrite>,
    /// Event triggers that are on.
    pub event_triggers: Vec<EventTrigger>,
    /// Foreign servers by number.
    pub servers: std::collections::BTreeMap<Oid, ForeignServer>,
    /// User mappings.
    pub mappings: Vec<UserMapping>,
    /// The server of each foreign table.
    pub foreign: std::collections::BTreeMap<Oid, Oid>,
    /// Large objects.
    pub large_objects: Vec<LargeObjects>,
    /// Publications.
    pub publications: Vec<Publication>,
    /// Subscriptions of this database.
    pub subscriptions: Vec<Subscription>,
    /// Functions of the server and of extensions that reach files, other servers or raw pages.
    pub functions: Vec<ServerObject>,
    /// Catalogues that hold samples of rows, or secrets, by number.
    pub catalogues: std::collections::BTreeMap<Oid, ServerObject>,
    /// Parameters.
    pub parameters: Vec<Parameter>,
    /// Lines of `pg_hba.conf` that let hosts in without a password; absent when the reader may not read it.
    pub trusted: Option<Vec<TrustedHost>>,
    /// `lo_compat_privileges` is on for everybody.
    pub large_objects_open: bool,
    /// The view of extended statistics asks for the owner's privileges, as it must since 2024.
    pub statistics_guarded: bool,
}
