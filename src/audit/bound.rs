//! What binds a role to its tenant on a table: policies, and how they are passed.

use std::collections::BTreeSet;

use super::expression::Binding;
use super::survey::{Subject, Survey};
use crate::model::catalog::{Catalog, Command, Function, Oid, PUBLIC, Policy, Relation};
use crate::model::tenant::{Isolation, Tenant};

impl<'a> Survey<'a> {
    /// Whether row-level security does not bind a role on a table.
    pub fn exempt(&self, role: Oid, table: &Relation) -> bool {
        !table.rls
            || self.catalog.roles.get(&role).is_some_and(crate::model::catalog::Role::exempt)
            || (!table.forced && self.reach.uses(role, table.owner))
    }

    /// Whether a policy is for a role: it names everybody, or a role that it inherits.
    pub fn applies(&self, policy: &Policy, role: Oid) -> bool {
        policy.roles.contains(&PUBLIC)
            || policy.roles.iter().any(|named| self.reach.uses(role, *named))
    }

    /// Whether a condition of a policy ties rows to the current tenant.
    pub fn tied(&self, policy: &Policy, table: &Relation, condition: &str) -> bool {
        self.ties(policy, table, condition, None, false)
    }

    /// The same, where rows without a tenant may be common to all.
    fn ties(
        &self,
        policy: &Policy,
        table: &Relation,
        condition: &str,
        role: Option<Oid>,
        null_is_common: bool,
    ) -> bool {
        let Some(tenancy) = &self.estate.tenancy else { return true };
        let named = |set: &BTreeSet<Oid>| self.named(policy.functions.iter(), set);
        let binding = Binding {
            table: table.name.name.as_str(),
            column: tenancy.column.as_str(),
            setting: tenancy.setting.as_str(),
            functions: &named(&self.context_functions),
            identities: &named(&self.identity_functions),
            keys: self.sole_tenant(policy).map(|tenant| tenant.key.as_str()).into_iter().collect(),
            role_is_tenant: self.roles_are_tenants(),
            null_is_common,
            asker: role.and_then(|role| self.asker(role, condition)),
        };
        // A table without the tenant column can only ask one that has it, or a function.
        if table.column(&tenancy.column).is_none() {
            return binding.refers(condition);
        }
        let may = policy.columns.contains(&tenancy.column)
            || binding.role_is_tenant
            || binding.asker.is_some();
        may && binding.holds(condition)
    }

    /// Who asks, where a condition asks for roles: its name, and what it is a member of.
    fn asker(&self, role: Oid, condition: &str) -> Option<(&'a str, BTreeSet<&'a str>)> {
        let condition = condition.to_ascii_lowercase();
        if !condition.contains("current_user") && !condition.contains("pg_has_role") {
            return None;
        }
        let closure = self.reach.closure(role, &BTreeSet::new());
        let reached = closure.keys().filter_map(|role| Some(self.ident(*role)?.as_str())).collect();
        Some((self.ident(role)?.as_str(), reached))
    }

    /// Whether a view shows only rows that its query ties to the current tenant.
    pub fn filtered(&self, definition: &str) -> bool {
        let Some(tenancy) = &self.estate.tenancy else { return false };
        let every = self.catalog.functions.keys();
        let binding = Binding {
            table: "",
            column: tenancy.column.as_str(),
            setting: tenancy.setting.as_str(),
            functions: &self.named(every.clone(), &self.context_functions),
            identities: &self.named(every, &self.identity_functions),
            keys: Vec::new(),
            role_is_tenant: false,
            null_is_common: false,
            asker: None,
        };
        self.text_reads_context(definition) && binding.filters(definition)
    }

    /// The names of those functions that are in a set.
    fn named<'o>(
        &self,
        functions: impl Iterator<Item = &'o Oid>,
        set: &BTreeSet<Oid>,
    ) -> BTreeSet<String> {
        functions
            .filter(|oid| set.contains(oid))
            .filter_map(|oid| self.catalog.functions.get(oid))
            .map(|function| function.name.name.as_str().to_owned())
            .collect()
    }

    /// Whether a role does something to a table's rows that nothing ties to a tenant.
    pub fn free(&self, role: Oid, table: (Oid, &Relation), command: Command) -> bool {
        let seen = || self.untied(role, table, command, Policy::seen);
        let written = || self.untied(role, table, command, Policy::written);
        self.exempt(role, table.1) || !seen().is_empty() || !written().is_empty()
    }

    /// Whether a function reads the tenant setting, itself or through another.
    pub fn reads_context(&self, function: Oid) -> bool {
        self.context_functions.contains(&function)
    }

    /// Whether a function asks who is calling, by the tenant setting or by another: `CURRENT_USER` is
    /// its own owner where it runs as a definer.
    pub fn asks(&self, function: Oid) -> bool {
        self.reads_context(function) || self.setting_functions.contains(&function)
    }

    /// The functions that a text calls, by their names.
    pub fn called(&self, text: &str) -> impl Iterator<Item = &'a Function> {
        let functions = self.catalog.functions.values();
        functions.filter(move |function| calls(text, function.name.name.as_str()))
    }

    /// Whether some text reads the tenant setting, itself or through a function.
    pub fn text_reads_context(&self, text: &str) -> bool {
        let setting = self.estate.tenancy.as_ref().map(|tenancy| tenancy.setting.as_str());
        setting.is_some_and(|setting| reads_setting(text, setting))
            || self.context_functions.iter().any(|oid| {
                self.catalog
                    .functions
                    .get(oid)
                    .is_some_and(|function| calls(text, function.name.name.as_str()))
            })
    }

    /// The conditions under which a role does something to a table's rows, which nothing ties to
    /// the tenant. `pick` chooses the side of a policy: rows that are seen, or rows that are written.
    pub fn untied(
        &self,
        role: Oid,
        table: (Oid, &Relation),
        command: Command,
        pick: fn(&Policy, Command) -> Option<&str>,
    ) -> Vec<&'a Policy> {
        let (oid, relation) = table;
        // Everybody may read rows of nobody's that nobody can make.
        let common = command == Command::Select && !self.makes_common_rows(role, table);
        let tied =
            |policy: &Policy, side: &str| self.ties(policy, relation, side, Some(role), common);
        let sides: Vec<_> = self
            .policies(oid)
            .iter()
            .filter(|policy| self.applies(policy, role))
            .filter_map(|policy| Some((*policy, pick(policy, command)?)))
            .collect();
        // One restrictive policy that is tied makes every permissive one harmless.
        let floor = sides.iter().any(|(policy, side)| !policy.permissive && tied(policy, side));
        if floor {
            return Vec::new();
        }
        sides
            .into_iter()
            .filter(|(policy, side)| policy.permissive && !tied(policy, side))
            .map(|(policy, _)| policy)
            .collect()
    }

    /// Whether a role can make rows that no policy ties to a tenant.
    fn makes_common_rows(&self, role: Oid, table: (Oid, &Relation)) -> bool {
        let holds = |command: Command| {
            let grants = table.1.grants.iter();
            grants
                .filter(|grant| grant.privileges.has(command.privilege()))
                .any(|grant| grant.grantee == PUBLIC || self.reach.uses(role, grant.grantee))
        };
        [Command::Insert, Command::Update].into_iter().any(|command| {
            holds(command) && !self.untied(role, table, command, Policy::written).is_empty()
        })
    }

    /// The roles that a subject may act as, itself first. A role that is a subject of its own is left
    /// to its own findings.
    pub fn faces(&self, subject: &Subject<'a>) -> Vec<Oid> {
        let others = |role: &Oid| {
            *role != subject.role && !self.subjects.iter().any(|other| other.role == *role)
        };
        std::iter::once(subject.role)
            .chain(
                subject
                    .closure
                    .iter()
                    .filter(|(role, path)| path.becomes && others(role))
                    .map(|(role, _)| *role),
            )
            .collect()
    }

    /// Whether shared tenants have a role each.
    fn roles_are_tenants(&self) -> bool {
        let mut tenants = self.estate.of(Isolation::Shared);
        tenants.next().is_some_and(|first| tenants.all(|other| other.roles != first.roles))
    }

    /// The one tenant whose roles a policy names, and nobody else's.
    fn sole_tenant(&self, policy: &Policy) -> Option<&'a Tenant> {
        let mut named = policy.roles.iter().map(|role| {
            let subject = self.subjects.iter().find(|subject| subject.role == *role)?;
            match subject.tenants.as_slice() {
                [only] => Some(*only),
                _ => None,
            }
        });
        let first = named.next()??;
        named.all(|other| other.is_some_and(|other| other.id == first.id)).then_some(first)
    }
}

/// Whether a text calls a function of that name.
pub fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].trim_start_matches('"').trim_start();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && after.starts_with('(')
    })
}

/// Whether a text asks for a setting. To set it is not to ask for it.
pub(super) fn reads_setting(text: &str, setting: &str) -> bool {
    let (text, setting) = (text.to_ascii_lowercase(), setting.to_ascii_lowercase());
    text.match_indices(setting.as_str()).any(|(at, _)| {
        let before = text[..at].trim_end_matches(['\'', '"', ' ', '\n', '\t']);
        let call = before.strip_suffix('(').map(str::trim_end);
        !call.is_some_and(|call| call.ends_with("set_config"))
            && !before.ends_with("set local")
            && !before.ends_with("set session")
            && !before.ends_with(" set")
    })
}

/// The functions whose text does something, or calls a function that does.
pub(super) fn readers(catalog: &Catalog, holds: impl Fn(&str) -> bool) -> BTreeSet<Oid> {
    let mut found: BTreeSet<Oid> = BTreeSet::new();
    let written = || catalog.functions.iter().filter(|(_, function)| !function.body.is_empty());
    found.extend(written().filter(|(_, function)| holds(&function.body)).map(|(oid, _)| *oid));
    loop {
        let names: BTreeSet<&str> = found
            .iter()
            .filter_map(|oid| Some(catalog.functions.get(oid)?.name.name.as_str()))
            .collect();
        let more: Vec<Oid> = written()
            .filter(|(oid, function)| {
                !found.contains(oid) && names.iter().any(|name| calls(&function.body, name))
            })
            .map(|(oid, _)| *oid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
