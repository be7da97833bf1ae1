//! What a view shows of tenants' rows with rights other than its caller's.

use std::collections::BTreeSet;

use super::survey::{Subject, Survey};
use crate::model::catalog::{Command, Oid, Privileges, Relation, RelationKind};

/// What stands between a view's caller and a base table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing.
    None,
    /// A condition on the tenant; `barrier` keeps conditions from outside behind it.
    Filter { barrier: bool },
}

/// A base table that a view shows past what binds its caller.
pub(super) struct Shown<'a> {
    /// The table.
    pub(super) base: &'a Relation,
    /// Who reads it.
    pub(super) reader: Oid,
    /// What stands between.
    pub(super) guard: Guard,
}

/// Whether a view shows, however deep, what lies on a tenant's own ground: who may see that depends
/// on who looks.
pub(super) fn on_grounds(survey: &Survey<'_>, view: &Relation) -> bool {
    let mut seen = BTreeSet::new();
    let mut todo = vec![view];
    while let Some(relation) = todo.pop() {
        for oid in relation.view.iter().flat_map(|facts| &facts.reads) {
            let Some(base) = survey.catalog.relations.get(oid) else { continue };
            if survey.ground(base.schema).is_some() {
                return true;
            }
            if base.kind.is_view() && seen.insert(*oid) {
                todo.push(base);
            }
        }
    }
    false
}

/// The base tables that a view shows a subject with somebody else's rights.
///
/// Who reads a base table is the owner of the nearest view that does not read as its caller.
pub(super) fn shown<'a>(
    survey: &Survey<'a>,
    view: &'a Relation,
    subject: &Subject<'_>,
    held: Privileges,
) -> Vec<Shown<'a>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo: Vec<(&Relation, Guard, Option<Oid>)> = vec![(view, Guard::None, None)];
    while let Some((relation, guard, copier)) = todo.pop() {
        let Some(facts) = &relation.view else { continue };
        // Whoever filled a copy is who read all that is below it, through whatever views.
        let copier = copier
            .or_else(|| (relation.kind == RelationKind::Materialized).then_some(relation.owner));
        let materialized = copier.is_some();
        let invoker = facts.security_invoker && !materialized;
        let filters = !materialized && !invoker && survey.filtered(&facts.definition);
        let guard = match guard {
            Guard::None if filters => Guard::Filter { barrier: facts.security_barrier },
            other => other,
        };
        // A view that reads as its caller does so wherever it is used.
        let reader = copier.or_else(|| (!invoker).then_some(relation.owner));
        for oid in &facts.reads {
            let Some(base) = survey.catalog.relations.get(oid) else { continue };
            if base.kind.is_view() {
                if seen.insert(*oid) {
                    todo.push((base, guard, copier));
                }
                continue;
            }
            let Some(reader) = reader else { continue };
            // On the ground where the view stands, who may not read the one may not read the other.
            let foreign = base.schema != view.schema
                && survey.ground(base.schema).is_some_and(|ground| {
                    ground.tenants.iter().all(|own| !subject.acts_for(&own.id))
                });
            let verbs = Command::ALL.into_iter().filter(|verb| {
                held.has(verb.privilege())
                    && (*verb == Command::Select || facts.writes.has(verb.privilege()))
            });
            let free = |verb| materialized || survey.free(reader, (*oid, base), verb);
            let shared = survey.holds_rows(*oid) && verbs.into_iter().any(free);
            // Whoever can act as the owner of the table is found by role-reaches-owner.
            let owns = subject.closure.contains_key(&base.owner);
            if foreign || (shared && !owns) {
                found.push(Shown { base, reader, guard });
            }
        }
    }
    found
}
