//! The rules, one file each. To add one: write its file, and add its name to the list.

use super::finding::{Evidence, Finding, Fix, Object, Severity};
use super::survey::Survey;

/// Something that a design for isolated tenants must not do.
#[derive(Debug)]
pub struct Rule {
    /// Its id: the file's name with hyphens.
    pub id: &'static str,
    /// How grave a finding usually is.
    pub severity: Severity,
    /// How it is known.
    pub evidence: Evidence,
    /// One line: what is wrong.
    pub title: &'static str,
    /// What it means, when it is not reported, and how it is mended: what `explain` prints.
    pub docs: &'static str,
    /// Statements that make a sound database fire it.
    pub example: &'static str,
    /// Where the manual says why.
    pub see: &'static [&'static str],
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
    probe_insert,
    probe_move,
    probe_read,
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
            assert!(rule.docs.len() > 120, "{} says too little", rule.id);
            assert!(!rule.title.is_empty() && !rule.title.ends_with('.'), "{}", rule.id);
            assert!(named(rule.id).is_some());
            assert!(!rule.example.is_empty() && !rule.covers.is_empty(), "{}", rule.id);
            assert!(rule.see.iter().all(|page| page.starts_with("https://")), "{}", rule.id);
        }
    }

    #[test]
    fn a_sound_fleet_has_no_finding() {
        assert_eq!(World::new().rules(), Vec::<&str>::new());
    }
}
