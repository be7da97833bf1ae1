//! What one database says about itself: the facts from which isolation is judged, as plain values.
//!
//! Promises to be whole for what it lists, and to say in [`Catalog::unseen`] what the reader was not
//! allowed to see. Holds nothing of the server's own schemas, and refuses to judge anything.
//!
//! Built for databases with thousands of schemas: columns are kept only where tenants share tables,
//! objects point at each other by [`Oid`], and a set of privileges is one number.

use std::collections::BTreeMap;
use std::fmt;

use super::cluster::ClusterFacts;
use super::ident::{Ident, QualifiedName};
pub use super::privilege::{Privilege, Privileges};
use super::surroundings::Surroundings;
use super::tenant::ClusterName;

/// The number by which a server knows an object.
pub type Oid = u32;

/// The grantee that stands for everybody.
pub const PUBLIC: Oid = 0;

/// Privileges that one grantee holds on an object, or on one of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who; [`PUBLIC`] for everybody.
    pub grantee: Oid,
    /// What.
    pub privileges: Privileges,
    /// The column, when the grant is on one.
    pub column: Option<Ident>,
}

/// A role and its attributes.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: Ident,
    /// `SUPERUSER`.
    pub superuser: bool,
    /// `BYPASSRLS`.
    pub bypass_rls: bool,
    /// `CREATEROLE`.
    pub create_role: bool,
    /// `CREATEDB`.
    pub create_db: bool,
    /// `REPLICATION`.
    pub replication: bool,
    /// `LOGIN`.
    pub login: bool,
}

impl Role {
    /// Whether no policy binds this role.
    pub fn exempt(&self) -> bool {
        self.superuser || self.bypass_rls
    }
}

/// One role's membership in another. Before PostgreSQL 16, `inherit` is the member's attribute and
/// `set` is always true.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// Who is a member.
    pub member: Oid,
    /// Of which role.
    pub role: Oid,
    /// The member uses the role's privileges without asking.
    pub inherit: bool,
    /// The member may `SET ROLE` to it.
    pub set: bool,
    /// The member may grant it, to itself as well.
    pub admin: bool,
}

/// A database of the cluster, seen from outside.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name.
    pub name: Ident,
    /// Its owner.
    pub owner: Oid,
    /// Whoever has `CREATEDB` may copy it.
    pub template: bool,
    /// Who may do what with it; the defaults are spelled out.
    pub grants: Vec<Grant>,
}

/// A schema.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Its name.
    pub name: Ident,
    /// Its owner.
    pub owner: Oid,
    /// Who may do what with it; the defaults are spelled out.
    pub grants: Vec<Grant>,
}

/// What kind of relation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    Materialized,
    /// A foreign table.
    Foreign,
    /// A sequence.
    Sequence,
}

impl RelationKind {
    /// The kind in `pg_class.relkind`.
    pub fn from_catalog(letter: &str) -> Option<Self> {
        match letter {
            "r" => Some(Self::Table),
            "p" => Some(Self::Partitioned),
            "v" => Some(Self::View),
            "m" => Some(Self::Materialized),
            "f" => Some(Self::Foreign),
            "S" => Some(Self::Sequence),
            _ => None,
        }
    }

    /// The word in findings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Table | Self::Partitioned => "table",
            Self::View => "view",
            Self::Materialized => "materialized view",
            Self::Foreign => "foreign table",
            Self::Sequence => "sequence",
        }
    }

    /// Whether it holds rows that policies can guard.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Partitioned)
    }

    /// Whether it shows other relations' rows.
    pub fn is_view(self) -> bool {
        matches!(self, Self::View | Self::Materialized)
    }
}

/// How the server fills a column that a statement leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// With NULL.
    Null,
    /// With a default, or an identity that a statement may override.
    Default,
    /// Always itself: a generated column, or `GENERATED ALWAYS AS IDENTITY`.
    Always,
}

/// A column of a table that tenants share.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: Ident,
    /// Its type as the server spells it, with modifiers: `character varying(40)`.
    pub type_name: String,
    /// The first letter of `pg_type.typtype`: base, composite, domain, enum, range, multirange.
    pub type_kind: char,
    /// The first label, when the type is an enum.
    pub first_label: Option<String>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What stands there when nothing is given.
    pub fill: Fill,
    /// The default's text, for the tenant column.
    pub default: Option<String>,
}

/// What happens to rows that refer to one which goes or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cascade {
    /// It is refused.
    None,
    /// They go or change as well.
    Follow,
    /// Their reference is emptied or set to its default.
    Empty,
}

/// A foreign key of a table outside tenants' own schemas, or one that crosses schemas.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// Its name.
    pub name: Ident,
    /// The referencing table.
    pub child: Oid,
    /// The referenced table.
    pub parent: Oid,
    /// Its columns: (of the child, of the parent).
    pub columns: Vec<(Ident, Ident)>,
    /// When a row of the parent goes.
    pub on_delete: Cascade,
    /// When the parent's key changes.
    pub on_update: Cascade,
}

/// A table, view, sequence or another relation.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Where it is and how it is called.
    pub name: QualifiedName,
    /// The schema, by number.
    pub schema: Oid,
    /// What it is.
    pub kind: RelationKind,
    /// Its owner.
    pub owner: Oid,
    /// Row-level security is on.
    pub rls: bool,
    /// Row-level security binds the owner, too.
    pub forced: bool,
    /// The table of which it is a partition or an inheritance child.
    pub parent: Option<Oid>,
    /// The planner's estimate of its rows; negative when it was never counted.
    pub rows: f32,
    /// The first column by position, for statements that must name one.
    pub first_column: Option<Ident>,
    /// Who may do what with it, its columns included; the defaults are spelled out.
    pub grants: Vec<Grant>,
    /// Its columns, where tenants share tables; otherwise none.
    pub columns: Vec<Column>,
    /// For views.
    pub view: Option<View>,
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }
}

/// What makes a view a view.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// It reads with its caller's rights and policies.
    pub security_invoker: bool,
    /// Conditions from outside are not evaluated before its own.
    pub security_barrier: bool,
    /// What it reads directly.
    pub reads: Vec<Oid>,
    /// Its query, when it runs as somebody else than its caller.
    pub definition: String,
    /// What is written through it must be seen through it (`WITH CHECK OPTION`).
    pub check_option: bool,
    /// What can be written through it without a trigger or a rule.
    pub writes: Privileges,
}

/// What a policy governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// `SELECT`.
    Select,
    /// `INSERT`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
}

impl Command {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];

    /// The word in SQL.
    pub fn word(self) -> &'static str {
        self.privilege().word()
    }

    /// The privilege without which the command is refused.
    pub fn privilege(self) -> Privilege {
        match self {
            Self::Select => Privilege::Select,
            Self::Insert => Privilege::Insert,
            Self::Update => Privilege::Update,
            Self::Delete => Privilege::Delete,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A row-level security policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Ident,
    /// The table it guards.
    pub relation: Oid,
    /// What it governs; `None` is all commands.
    pub command: Option<Command>,
    /// Permissive policies are joined with OR; the others with AND.
    pub permissive: bool,
    /// Whom it is for; holds [`PUBLIC`] when it is for everybody.
    pub roles: Vec<Oid>,
    /// Which rows are seen.
    pub using: Option<String>,
    /// Which rows may be written; for ALL and UPDATE, `using` stands in for it when it is absent.
    pub check: Option<String>,
    /// The columns of its own table on which it depends.
    pub columns: Vec<Ident>,
    /// The functions outside the server's own schemas that it calls.
    pub functions: Vec<Oid>,
    /// The other relations that it reads.
    pub reads: Vec<Oid>,
}

impl Policy {
    /// Whether it has a say in a command.
    pub fn governs(&self, command: Command) -> bool {
        self.command.is_none_or(|own| own == command)
    }

    /// The condition on rows that exist, when the command looks at any.
    pub fn seen(&self, command: Command) -> Option<&str> {
        (command != Command::Insert && self.governs(command)).then_some(self.using.as_deref())?
    }

    /// The condition on rows that are written, when the command writes any.
    pub fn written(&self, command: Command) -> Option<&str> {
        let writes = matches!(command, Command::Insert | Command::Update);
        (writes && self.governs(command))
            .then_some(self.check.as_deref().or(self.using.as_deref()))?
    }
}

/// A function or procedure outside the server's own schemas.
#[derive(Clone, Debug)]
pub struct Function {
    /// Where it is and how it is called.
    pub name: QualifiedName,
    /// The schema, by number.
    pub schema: Oid,
    /// The types of its arguments, as SQL reads them.
    pub arguments: String,
    /// `SECURITY DEFINER`: it runs as its owner.
    pub definer: bool,
    /// Its owner.
    pub owner: Oid,
    /// It returns `trigger` or `event_trigger`, so that nobody can call it.
    pub for_triggers: bool,
    /// Its `SET` clauses, `name=value`.
    pub settings: Vec<String>,
    /// Its language.
    pub language: String,
    /// The language is safe for everybody to write in.
    pub trusted: bool,
    /// `i`mmutable, `s`table or `v`olatile.
    pub volatility: char,
    /// It is said to tell nothing about its arguments.
    pub leakproof: bool,
    /// Plans that call it may run in parallel.
    pub parallel: bool,
    /// Who may do what with it; the defaults are spelled out.
    pub grants: Vec<Grant>,
    /// Its text; empty for invoker functions in a tenant's own schema.
    pub body: String,
}

impl Function {
    /// The name with the argument types: what `ALTER FUNCTION` takes.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.arguments)
    }
}

/// A trigger that somebody wrote.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name.
    pub name: Ident,
    /// The table.
    pub relation: Oid,
    /// The function.
    pub function: Oid,
    /// It may change or refuse a row before it is stored.
    pub before_row: bool,
    /// The statement that made it, when it fires on a condition.
    pub condition: Option<String>,
    /// The verbs that fire it.
    pub fires: Privileges,
}

/// What objects made later will be granted.
#[derive(Clone, Debug)]
pub struct DefaultPrivilege {
    /// Whose objects.
    pub owner: Oid,
    /// In which schema; `None` is everywhere.
    pub schema: Option<Oid>,
    /// The kind in `pg_default_acl.defaclobjtype`: relation, sequence, function, type, namespace.
    pub kind: char,
    /// What is granted.
    pub grants: Vec<Grant>,
}

/// A setting that sessions begin with (`ALTER ROLE … SET`, `ALTER DATABASE … SET`).
#[derive(Clone, Debug)]
pub struct SessionDefault {
    /// The role; `None` is every role.
    pub role: Option<Oid>,
    /// The database; `None` is every database.
    pub database: Option<Ident>,
    /// The setting's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The facts about one database and the roles of its cluster.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The cluster.
    pub cluster: ClusterName,
    /// The database.
    pub database: Ident,
    /// `server_version_num`.
    pub version: i32,
    /// The role that read this.
    pub reader: Oid,
    /// Roles of the cluster.
    pub roles: BTreeMap<Oid, Role>,
    /// Memberships of the cluster.
    pub memberships: Vec<Membership>,
    /// Databases of the cluster.
    pub databases: Vec<Database>,
    /// Schemas.
    pub schemas: BTreeMap<Oid, Schema>,
    /// Relations.
    pub relations: BTreeMap<Oid, Relation>,
    /// Foreign keys between tables that tenants share.
    pub foreign_keys: Vec<ForeignKey>,
    /// Policies.
    pub policies: Vec<Policy>,
    /// Functions.
    pub functions: BTreeMap<Oid, Function>,
    /// Triggers.
    pub triggers: Vec<Trigger>,
    /// Default privileges.
    pub default_privileges: Vec<DefaultPrivilege>,
    /// Defaults of sessions.
    pub session_defaults: Vec<SessionDefault>,
    /// What stands around.
    pub around: Surroundings,
    /// What could not be seen, in words.
    pub unseen: Vec<String>,
}

impl Catalog {
    /// A database of which nothing is known yet.
    pub fn empty(cluster: ClusterName, database: Ident) -> Self {
        Self {
            cluster,
            database,
            version: 0,
            reader: PUBLIC,
            roles: BTreeMap::new(),
            memberships: Vec::new(),
            databases: Vec::new(),
            schemas: BTreeMap::new(),
            relations: BTreeMap::new(),
            foreign_keys: Vec::new(),
            policies: Vec::new(),
            functions: BTreeMap::new(),
            triggers: Vec::new(),
            default_privileges: Vec::new(),
            session_defaults: Vec::new(),
            around: Surroundings { statistics_guarded: true, ..Surroundings::default() },
            unseen: Vec::new(),
        }
    }

    /// A database of a cluster that is known, of which nothing else is known yet.
    pub fn of(cluster: ClusterName, database: Ident, facts: &ClusterFacts) -> Self {
        let mut catalog = Self {
            version: facts.version,
            reader: facts.reader,
            roles: facts.roles.clone(),
            memberships: facts.memberships_in(&database),
            databases: facts.databases.clone(),
            session_defaults: facts.session_defaults.clone(),
            ..Self::empty(cluster, database)
        };
        catalog.around.parameters.clone_from(&facts.parameters);
        catalog.around.trusted.clone_from(&facts.trusted);
        catalog
    }

    /// The role of that name, by number.
    pub fn role_named(&self, name: &Ident) -> Option<Oid> {
        self.roles.iter().find(|(_, role)| role.name == *name).map(|(oid, _)| *oid)
    }

    /// A role's name as SQL reads it; `PUBLIC` for everybody.
    pub fn role_name(&self, oid: Oid) -> String {
        if oid == PUBLIC {
            return "PUBLIC".to_owned();
        }
        self.roles.get(&oid).map_or_else(|| format!("role {oid}"), |role| role.name.to_string())
    }

    /// The policies of one table.
    pub fn policies_on(&self, relation: Oid) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(move |policy| policy.relation == relation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn using_stands_in_for_a_missing_check() {
        let policy = Policy {
            name: Ident::new("p").unwrap(),
            relation: 1,
            command: None,
            permissive: true,
            roles: vec![PUBLIC],
            using: Some("x".to_owned()),
            check: None,
            columns: Vec::new(),
            functions: Vec::new(),
            reads: Vec::new(),
        };
        assert_eq!(policy.written(Command::Insert), Some("x"));
        assert_eq!(policy.written(Command::Update), Some("x"));
        assert_eq!(policy.written(Command::Delete), None);
        assert_eq!(policy.seen(Command::Insert), None);
        assert_eq!(policy.seen(Command::Delete), Some("x"));
    }
}
