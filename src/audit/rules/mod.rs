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
    child_without_tenant,
    context_default,
    database_cross_access,
    database_cross_connect,
    default_privileges,
    definer_function,
    definer_view,
    history_writable,
    login_inherits_tenants,
    partition_exposed,
    policy_function_writable,
    policy_ignores_tenant,
    policy_missing,
    policy_write_unchecked,
    probe_connect,
    probe_influence,
    probe_insert,
    probe_move,
    probe_open_context,
    probe_read,
    probe_routine,
    probe_side_effect,
    probe_truncate,
    probe_unreliable,
    probe_write,
    public_grant,
    rls_disabled,
    rls_not_forced,
    role_bypasses_rls,
    role_creates_roles,
    role_predefined,
    role_reaches_exempt,
    role_reaches_owner,
    role_reaches_tenant,
    role_replicates,
    role_shared,
    role_superuser,
    schema_cross_access,
    search_path_open,
    tenant_column_nullable,
    trigger_granted,
    truncate_granted,
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
        }
    }

    #[test]
    fn a_sound_fleet_has_no_finding() {
        assert_eq!(World::new().rules(), Vec::<&str>::new());
    }
}
