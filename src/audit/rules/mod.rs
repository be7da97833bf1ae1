//! The rules, one file each. To add one: write its file, and add its name to the list.

use super::finding::{Evidence, Finding, Fix, Object, Severity};
use super::survey::Survey;

/// Something that a design for isolated tenants must not do. Texts are plain sentences; they are what
/// `explain` prints, in the order in which they stand here.
#[derive(Debug)]
pub struct Rule {
    /// Its id: the file's name with hyphens.
    pub id: &'static str,
    /// What part of a design it is about.
    pub family: Family,
    /// How grave a finding usually is.
    pub severity: Severity,
    /// How it is known.
    pub evidence: Evidence,
    /// One line: what is wrong.
    pub title: &'static str,
    /// When it is reported, and when not.
    pub what: &'static str,
    /// What it costs: how a tenant comes by what is another's.
    pub why: &'static str,
    /// SQL that breaks it.
    pub example: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where PostgreSQL, or who found it, says more: URLs and CVE numbers.
    pub references: &'static [&'static str],
    /// The ways to lose isolation that it finds, by the ids of [`mechanisms`](crate::audit::mechanisms).
    pub covers: &'static [&'static str],
    /// The judgement.
    pub check: fn(&Survey<'_>) -> Vec<Finding>,
}

impl Rule {
    pub(super) fn finding(&self, object: Object, message: String, fix: Fix) -> Finding {
        let finding = Finding::new(self.id, self.severity, object, message, fix);
        if self.evidence == Evidence::Probe { finding.observed() } else { finding }
    }
}

/// What part of a design a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// What the application's roles are, and can become.
    Roles,
    /// Tables: their row-level security, their partitions, privileges past it.
    Tables,
    /// Policies: which rows they admit.
    Policies,
    /// Functions and procedures.
    Functions,
    /// Ways around tables: views, triggers, rewrite rules, foreign servers, large objects, slots.
    SideDoors,
    /// Keys, references and sequences.
    Integrity,
    /// The setting that says who the tenant is.
    Context,
    /// Rights to make objects, and rights on objects to come.
    Definitions,
    /// A schema for each tenant.
    Schemas,
    /// A database for each tenant.
    Databases,
    /// The server: its version and its configuration.
    Server,
    /// What isolation costs.
    Performance,
    /// What was observed by acting as the application.
    Probes,
}

impl Family {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 13] = [
        Self::Roles,
        Self::Tables,
        Self::Policies,
        Self::Functions,
        Self::SideDoors,
        Self::Integrity,
        Self::Context,
        Self::Definitions,
        Self::Schemas,
        Self::Databases,
        Self::Server,
        Self::Performance,
        Self::Probes,
    ];

    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Roles => "roles",
            Self::Tables => "tables",
            Self::Policies => "policies",
            Self::Functions => "functions",
            Self::SideDoors => "side-doors",
            Self::Integrity => "integrity",
            Self::Context => "context",
            Self::Definitions => "definitions",
            Self::Schemas => "schemas",
            Self::Databases => "databases",
            Self::Server => "server",
            Self::Performance => "performance",
            Self::Probes => "probes",
        }
    }
}

macro_rules! rules {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        /// Every rule, in the order of their ids.
        pub static ALL: &[&Rule] = &[$(&$name::RULE),*];

        #[cfg(test)]
        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

rules! {
    cascade_from_shared,
    catalogue_readable,
    child_without_tenant,
    common_table_writable,
    context_default,
    context_immutable,
    context_session_scoped,
    context_shadowable,
    copy_without_tenant,
    database_create_granted,
    database_cross_access,
    database_cross_connect,
    database_foreign_owner,
    database_template,
    default_privileges,
    definer_function,
    definer_search_path,
    definer_view,
    event_trigger_grants,
    foreign_exposed,
    foreign_key_crosses,
    function_leakproof,
    function_sets_context,
    function_untrusted,
    history_writable,
    host_trusted,
    large_objects_shared,
    login_inherits_tenants,
    login_unlisted,
    maintain_granted,
    parameter_granted,
    parent_reads_children,
    partition_exposed,
    policy_dormant,
    policy_floor_named,
    policy_function_writable,
    policy_ignores_tenant,
    policy_missing,
    policy_recursive,
    policy_session_user,
    policy_slow,
    policy_trusts_writable,
    policy_write_unchecked,
    probe_connect,
    probe_influence,
    probe_insert,
    probe_key,
    probe_move,
    probe_open_context,
    probe_read,
    probe_routine,
    probe_side_effect,
    probe_truncate,
    probe_unreliable,
    probe_write,
    public_grant,
    publication_unfiltered,
    reference_without_tenant,
    references_granted,
    registry_readable,
    rewrite_rule,
    rls_disabled,
    rls_not_forced,
    role_bypasses_rls,
    role_creates_databases,
    role_creates_roles,
    role_default,
    role_predefined,
    role_reaches_exempt,
    role_reaches_owner,
    role_reaches_tenant,
    role_replicates,
    role_shared,
    role_superuser,
    row_security_off,
    schema_create_granted,
    schema_cross_access,
    search_path_open,
    sequence_settable,
    server_cve,
    server_function_granted,
    statistics_view_open,
    tenant_column_default,
    tenant_column_nullable,
    tenant_index_missing,
    trigger_definer,
    trigger_granted,
    trigger_notifies,
    truncate_granted,
    unique_without_tenant,
    view_not_barrier,
    view_unchecked,
}

/// The rule of that id.
pub fn named(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::World;

    #[test]
    fn the_list_is_the_files_and_each_file_is_named_after_its_rule() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/rules");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|stem| stem != "mod")
            .collect();
        files.sort();
        assert_eq!(files, FILES);
        let ids: Vec<_> = ALL.iter().map(|rule| rule.id.replace('-', "_")).collect();
        assert_eq!(ids, FILES);
    }

    #[test]
    fn every_rule_explains_itself() {
        for rule in ALL {
            let id = rule.id;
            assert!(named(id).is_some());
            assert!(!rule.title.is_empty() && !rule.title.ends_with('.'), "{id}: title");
            for (part, text) in [("what", rule.what), ("why", rule.why), ("fix", rule.fix)] {
                let is_prose = text.len() > 20 && text.ends_with('.') && !text.contains("  ");
                assert!(is_prose, "{id}: {part} must be plain sentences: {text:?}");
            }
            assert!(
                rule.example.len() > 20 && rule.example.is_ascii() || rule.example.contains('…'),
                "{id}: example"
            );
            assert!(!rule.references.is_empty(), "{id}: references");
            assert!(!rule.covers.is_empty(), "{id}: covers");
            for reference in rule.references {
                let known = reference.starts_with("https://") || reference.starts_with("CVE-");
                assert!(known, "{id}: {reference}");
            }
            let observed = rule.evidence == Evidence::Probe;
            assert_eq!(observed, rule.family == Family::Probes, "{id}: family");
            assert_eq!(observed, id.starts_with("probe-"), "{id}: the name says how it is known");
        }
        assert!(Family::ALL.is_sorted());
    }

    #[test]
    fn a_sound_fleet_has_no_finding() {
        assert_eq!(World::new().rules(), Vec::<&str>::new());
    }
}
