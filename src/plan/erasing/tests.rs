#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::erasure::Wanted;
use crate::model::holdings::{HeldColumn, HeldTable, SeenBy};
use crate::model::tenant::Isolation;
use crate::plan::properties::desired;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

struct World {
    tenant: Tenant,
    holdings: Holdings,
}

impl World {
    /// Users, their documents (optional), the chunks of documents (cascade), their keys (required).
    fn new() -> Self {
        let tenant = desired(Isolation::Schema, "acme").tenant;
        let named = |name: &str| QualifiedName::new(tenant.placement.schema.clone(), ident(name));
        let table = |columns: &[(&str, bool)]| HeldTable {
            columns: columns
                .iter()
                .map(|(name, required)| HeldColumn {
                    name: ident(name),
                    kind: "uuid".to_owned(),
                    required: *required,
                    generated: false,
                    identity: false,
                    default: false,
                })
                .collect(),
            key: vec![ident("id")],
            reach: Reach::Whole,
            partitioned: false,
            owner: tenant.owner.clone(),
            rls: false,
            forced: false,
            seen_by: SeenBy::default(),
            added_by: SeenBy::default(),
            foreign_policies: Vec::new(),
            triggers: BTreeMap::new(),
            bytes: 0,
            estimate: None,
        };
        let edge = |from: &str, column: &str, to: &str, on_delete| Edge {
            from: named(from),
            name: ident(&format!("{from}_{column}_fkey")),
            columns: vec![ident(column)],
            to: named(to),
            to_columns: vec![ident("id")],
            on_delete,
            deferrable: false,
            optional: true,
        };
        let tables = [
            ("users", table(&[("id", true)])),
            ("documents", table(&[("id", true), ("author", false)])),
            ("chunks", table(&[("id", true), ("document", true)])),
            ("keys", table(&[("id", true), ("owner", true)])),
        ];
        let holdings = Holdings {
            tables: tables.into_iter().map(|(name, table)| (named(name), table)).collect(),
            edges: vec![
                edge("documents", "author", "users", OnDelete::NoAction),
                edge("chunks", "document", "documents", OnDelete::Cascade),
                edge("keys", "owner", "users", OnDelete::Restrict),
            ],
            ..Holdings::default()
        };
        Self { tenant, holdings }
    }

    fn plan(&self, keys: &[(&str, &str, Fate)]) -> Result<Plan, Error> {
        let erasure = Erasure {
            file: "f.toml".to_owned(),
            digest: String::new(),
            wanted: vec![Wanted { table: ident("users"), condition: "true".to_owned(), line: 2 }],
            keys: (10..)
                .zip(keys)
                .map(|(line, (table, key, fate))| KeyChoice {
                    table: ident(table),
                    key: ident(key),
                    fate: *fate,
                    line,
                })
                .collect(),
        };
        plan(&self.tenant, &self.holdings, &erasure)
    }
}

fn deleted(plan: &Plan) -> Vec<&str> {
    plan.groups.iter().flatten().map(|name| name.name.as_str()).collect()
}

#[test]
fn what_nobody_decided_is_left_open() {
    let plan = World::new().plan(&[]).unwrap();
    assert_eq!(deleted(&plan), ["users"]);
    let fates: Vec<Option<Fate>> = plan.links.iter().map(|link| link.fate).collect();
    assert_eq!(fates, [None, None]);
}

#[test]
fn it_goes_on_along_keys_and_children_go_first() {
    let world = World::new();
    let plan = world
        .plan(&[("documents", "author", Fate::Delete), ("keys", "keys_owner_fkey", Fate::Delete)])
        .unwrap();
    let order = deleted(&plan);
    let at = |name: &str| order.iter().position(|found| *found == name).unwrap();
    assert!(
        at("chunks") < at("documents") && at("documents") < at("users") && at("keys") < at("users")
    );
}

#[test]
fn a_key_may_let_go_where_it_can() {
    let world = World::new();
    let plan = world.plan(&[("documents", "author", Fate::SetNull)]).unwrap();
    assert_eq!(deleted(&plan), ["users"]);
    let link = plan.links.iter().find(|link| link.fate == Some(Fate::SetNull)).unwrap();
    assert_eq!(link.nulled, [ident("author")]);
    let error = world.plan(&[("keys", "owner", Fate::SetNull)]).unwrap_err();
    assert_eq!(error.message, "the columns of keys_owner_fkey in keys cannot be NULL");
    assert_eq!(error.location.unwrap().line, 10);
}

#[test]
fn a_key_that_leads_nowhere_is_refused() {
    let error = World::new().plan(&[("chunks", "document", Fate::Delete)]).unwrap_err();
    assert_eq!(error.code, Code::Config);
    assert_eq!(error.location.unwrap().line, 10);
}
