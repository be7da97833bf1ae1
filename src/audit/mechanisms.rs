//! The ways in which tenants stop being apart in PostgreSQL 14 to 18, and which rules find each.
//!
//! Rules name what they cover; this list names what there is, so that what no rule covers shows.

use super::finding::Evidence;
use super::rules::{self, Rule};

/// One way in which isolation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// Its id; the word before the first hyphen is its family.
    pub id: &'static str,
    /// What happens, in a few words.
    pub title: &'static str,
}

macro_rules! mechanisms {
    ($($id:literal: $title:literal,)*) => {
        /// Every way that is known, by family.
        pub static ALL: &[Mechanism] = &[$(Mechanism { id: $id, title: $title }),*];
    };
}

mechanisms! {
    "who-superuser": "the application is a superuser",
    "who-bypassrls": "the application has BYPASSRLS",
    "who-owner": "an owner that FORCE does not bind",
    "who-owner-forced": "an owner that may switch row-level security off",
    "who-path": "SET ROLE, inheritance or ADMIN lead to a role that no policy binds",
    "who-options": "memberships whose options (16 and newer) mislead",
    "who-default-role": "sessions that begin as another role",
    "who-predefined": "the server's own roles: data, statistics, signals",
    "who-server-files": "files and programs of the server",
    "who-replication": "a copy of everything by replication",
    "who-createrole": "CREATEROLE",
    "who-createdb": "CREATEDB",
    "who-unlisted": "a login that nobody listed",
    "table-off": "row-level security is off",
    "table-dormant": "policies on a table whose row-level security is off",
    "table-closed": "row-level security without a policy that admits",
    "table-child": "rows of a tenant in a table without the tenant column",
    "table-copy": "copies: backups, audit logs, outboxes",
    "table-registry": "the list of all tenants",
    "table-partition": "partitions and children reached past their parent",
    "table-nullable": "rows without a tenant",
    "table-default": "rows that get a fixed tenant",
    "table-column-grant": "grants on columns, through PUBLIC or groups",
    "policy-extra": "a second permissive policy",
    "policy-constant": "conditions that are always true",
    "policy-capture": "a column that a subquery captures",
    "policy-logic": "OR, NOT and comparisons that are turned around",
    "policy-unset": "open while nothing is set",
    "policy-empty": "open while the setting is empty",
    "policy-pattern": "LIKE and regular expressions against the context",
    "policy-role": "a policy or a floor that leaves a role out",
    "policy-command": "a policy or a floor that leaves a command out",
    "policy-inherited": "a policy for another role that is inherited",
    "policy-session-user": "session_user in a pool that changes roles",
    "policy-switch": "a second switch that opens the table",
    "policy-setting": "a setting with another name",
    "policy-trust": "a table that the application may write decides",
    "policy-floor": "a floor that its role can leave (CVE-2026-116311)",
    "policy-recursion": "a policy that reads its own table",
    "policy-row-security": "row_security = off",
    "write-insert": "rows in another tenant's name",
    "write-move": "rows given away",
    "write-blind": "UPDATE and DELETE without a name",
    "write-truncate": "TRUNCATE",
    "write-trigger": "TRIGGER",
    "write-references": "REFERENCES",
    "write-maintain": "MAINTAIN",
    "code-view": "a view that reads as somebody else",
    "code-barrier": "a filter that conditions from outside pass",
    "code-check": "a filter that writes pass",
    "code-materialized": "a materialized view",
    "code-definer": "a function that runs as somebody else",
    "code-dynamic": "a definer function that puts statements together",
    "code-search-path": "a definer function that looks names up where its caller says",
    "code-shadow": "a temporary table in place of the one that was meant",
    "code-function-set": "a function that sets the tenant, a role or row_security",
    "code-rewritable": "a policy's function that the application may rewrite",
    "code-immutable": "a policy's function that is planned once",
    "code-trigger": "a trigger that runs as somebody else",
    "code-rule": "a rewrite rule",
    "code-event-trigger": "an event trigger that grants",
    "code-notify": "NOTIFY, which everybody hears",
    "code-leakproof": "a LEAKPROOF function that is none",
    "code-foreign": "a foreign table or a user mapping",
    "code-dblink": "a connection out of the database and back",
    "code-large-object": "large objects",
    "code-publication": "publications and subscriptions",
    "code-untrusted": "untrusted languages",
    "code-system": "catalogues with samples of rows",
    "key-foreign": "a foreign key that forgets the tenant",
    "key-cascade": "a cascade from what tenants share",
    "key-unique": "a key that forgets the tenant",
    "key-sequence": "a sequence that one tenant can set or count",
    "ddl-schema": "CREATE on a schema where others look names up",
    "ddl-database": "CREATE on a database",
    "ddl-default": "privileges on what is made later",
    "ddl-parameter": "parameters that the application may set",
    "ddl-history": "migration history that the application may write",
    "context-default": "sessions that begin as a tenant",
    "context-session": "a tenant that outlives its transaction",
    "context-leftover": "cursors, temporary tables and savepoints of a pooled session",
    "schema-grant": "a grant in another tenant's schema",
    "schema-public": "a grant to everybody",
    "schema-member": "membership between tenants",
    "schema-login": "a login that inherits tenants",
    "schema-role": "one role for several tenants",
    "schema-fallthrough": "a name that is found in a common schema",
    "schema-common": "a table that several tenants write",
    "schema-parent": "a parent that reads every tenant's children",
    "schema-key": "a foreign key between two tenants",
    "database-connect": "others may connect",
    "database-grant": "a grant in another tenant's database",
    "database-owner": "a database that another tenant owns",
    "database-template": "a database that anybody may copy",
    "database-rows": "rows that a copy left behind",
    "database-hba": "hosts that are let in without a password",
    "version-cve": "a server with a known hole in row-level security",
    "version-statistics": "a view of statistics that an upgrade did not mend",
    "speed-index": "no index begins with the tenant column",
    "speed-context": "the context is asked for once for each row",
    "speed-volatile": "functions that keep the planner from its work",
    "speed-correlated": "a subquery for each row",
    "speed-many": "several permissive policies for one command",
}

/// The rules that find a mechanism by one kind of evidence.
pub fn finders(mechanism: &Mechanism, evidence: Evidence) -> Vec<&'static Rule> {
    let finds =
        |rule: &&&'static Rule| rule.evidence == evidence && rule.covers.contains(&mechanism.id);
    rules::ALL.iter().filter(finds).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn rules_cover_what_there_is() {
        let known: BTreeSet<&str> = ALL.iter().map(|mechanism| mechanism.id).collect();
        assert_eq!(known.len(), ALL.len());
        for rule in rules::ALL {
            for covered in rule.covers {
                assert!(known.contains(covered), "{} covers {covered}, which is none", rule.id);
            }
        }
    }

    /// `TENANTCTL_BLESS=1` writes what the README must hold, after a rule was added.
    #[test]
    fn the_readme_counts_what_the_rules_cover() {
        let names = |rules: Vec<&'static Rule>| {
            rules.iter().map(|rule| format!("`{}`", rule.id)).collect::<Vec<_>>().join(", ")
        };
        let mut table =
            String::from("| Way to lose isolation | Static rules | Probes |\n|---|---|---|\n");
        let (mut read, mut tried, mut both, mut neither) = (0, 0, 0, 0);
        for mechanism in ALL {
            let by_reading = finders(mechanism, Evidence::Static);
            let by_trying = finders(mechanism, Evidence::Probe);
            match (by_reading.is_empty(), by_trying.is_empty()) {
                (false, true) => read += 1,
                (true, false) => tried += 1,
                (false, false) => both += 1,
                (true, true) => neither += 1,
            }
            writeln!(
                table,
                "| {} | {} | {} |",
                mechanism.title,
                names(by_reading),
                names(by_trying)
            )
            .unwrap();
        }
        let said = format!(
            "Of {} known ways, {read} are found by reading alone, {tried} by probing alone, {both} by \
             both and {neither} by neither.\n\n{table}",
            ALL.len()
        );
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- mechanisms -->\n", "<!-- /mechanisms -->\n");
        let (before, rest) = readme.split_once(begin).unwrap();
        let (held, after) = rest.split_once(end).unwrap();
        if std::env::var_os("TENANTCTL_BLESS").is_some() {
            std::fs::write(&path, format!("{before}{begin}{said}{end}{after}")).unwrap();
        } else {
            assert_eq!(held, said, "run this test with TENANTCTL_BLESS=1");
        }
    }
}
