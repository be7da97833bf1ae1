//! The rules, one file each. To add one: write its file, and add its name to the list.

use super::finding::Draft;
use super::survey::Survey;
use crate::model::severity::Severity;

/// Something that migration files must not do.
#[derive(Debug)]
pub struct Rule {
    /// Its id, as findings and `-- tenantctl:allow` name it.
    pub id: &'static str,
    /// How grave a finding usually is.
    pub severity: Severity,
    /// One line: what is wrong.
    pub title: &'static str,
    /// What it costs, and when it is not reported.
    pub why: &'static str,
    /// SQL that breaks it.
    pub example: &'static str,
    /// What to write instead.
    pub fix: &'static str,
}

/// A rule with its judgement.
pub(super) struct Check {
    pub(super) rule: Rule,
    pub(super) find: fn(&Survey<'_>, &Rule) -> Vec<Draft>,
}

macro_rules! rules {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        /// Every rule that is checked here, in the order of their ids.
        pub(super) static ALL: &[&Check] = &[$(&$name::CHECK),*];

        #[cfg(test)]
        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

rules! {
    cluster_wide_object,
    extension_without_schema,
    foreign_key_without_index,
    foreign_key_without_tenant,
    function_without_search_path,
    grant_to_public,
    hard_coded_schema,
    index_without_tenant,
    key_without_tenant,
    lock_table,
    materialized_view,
    needs_no_transaction,
    not_understood,
    primary_key_not_uuid,
    require_concurrent_index_creation,
    session_lock,
    set_without_local,
    soft_delete_missing,
    table_without_force,
    table_without_policy,
    table_without_primary_key,
    table_without_rls,
    tenant_column_missing,
    timestamps_missing,
    transaction_control,
    write_without_tenant,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_list_is_the_files_and_each_file_is_named_after_its_rule() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lint/rules");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|stem| stem != "mod")
            .collect();
        files.sort();
        assert_eq!(files, FILES);
        let ids: Vec<_> = ALL.iter().map(|check| check.rule.id.replace('-', "_")).collect();
        assert_eq!(ids, FILES);
    }
}
