//! What no finding says, because it is so by design: told once for a database.

use super::survey::Survey;
use crate::model::tenant::Isolation;

/// What the judgement of a database takes for granted, in sentences.
pub fn assumptions(survey: &Survey<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let Some(tenancy) = &survey.estate.tenancy else { return said };
    let here = |role| survey.number(role).is_some();
    let mut roles: Vec<String> = survey
        .estate
        .of(Isolation::Shared)
        .filter(|tenant| tenant.placement.database == survey.catalog.database)
        .flat_map(|tenant| &tenant.roles)
        .filter(|role| here(role))
        .map(ToString::to_string)
        .collect();
    roles.sort();
    roles.dedup();
    let policies = &survey.catalog.policies;
    let asked = policies.iter().filter(|policy| survey.tenant_tables.contains(&policy.relation));
    let reads =
        |text: &Option<String>| text.as_deref().is_some_and(|t| survey.text_reads_context(t));
    if roles.is_empty() || !asked.into_iter().any(|one| reads(&one.using) || reads(&one.check)) {
        return said;
    }
    let who = match roles.as_slice() {
        [only] => only.clone(),
        [first, rest @ ..] => {
            format!("{first} (and {} more)", crate::model::count(rest.len(), "role"))
        }
        [] => return said,
    };
    said.push(format!(
        "whoever can run SQL of their own as {who} can set {} to any tenant; policies that read it \
         guard against a forgotten filter, not against injected SQL",
        tenancy.setting
    ));
    said
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::World;
    use crate::audit::survey::Survey;

    #[test]
    fn it_is_said_once_where_policies_read_a_setting() {
        let mut world = World::new();
        let said =
            |world: &World| super::assumptions(&Survey::new(&world.catalog, &world.estate, &[]));
        let all = said(&world);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains("app.tenant_id") && all[0].contains("app_rw"), "{all:?}");
        world.catalog.policies.clear();
        assert!(said(&world).is_empty());
    }
}
