//! `verify-rls` on fleets that `create` made: sound, and said so.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{OPERATOR, World, on_every_version};

/// Three models in one cluster, two tenants each.
pub(crate) const FLEET: [(&str, &str); 6] = [
    ("ann", "shared"),
    ("bob", "shared"),
    ("cat", "schema"),
    ("dan", "schema"),
    ("eve", "database"),
    ("fay", "database"),
];

/// A `tenants.toml` with every kind of role there is.
pub(crate) fn layout(shared_role: &str) -> String {
    let readonly = shared_role.replace("app", "ro");
    format!(
        r#"
[isolation.shared]
schema = "app"
role = "{shared_role}"
readonly_role = "{readonly}"
login_role = "pool"
[isolation.schema]
readonly_role = "ro_{{tenant}}"
login_role = "pool"
[isolation.database]
readonly_role = "ro_{{tenant}}"
"#
    )
}

/// A world with that fleet in it.
pub(crate) fn fleet(world: World, user: &str, shared_role: &str) -> World {
    let url = world.url("app", user);
    world.file(
        "tenants.toml",
        &format!("[clusters.main]\nurl = \"{url}\"\n{}", layout(shared_role)),
    );
    world.session("postgres", user).sql("CREATE ROLE pool LOGIN");
    for (id, isolation) in FLEET {
        let file = format!("{id}.credentials");
        let create = ["create", id, "--isolation", isolation, "--credentials-file", &file];
        drop(world.run(create).ok());
    }
    world
}

/// The rules that found something, sorted.
pub(crate) fn rules(answer: &Value) -> BTreeSet<String> {
    let findings = answer["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

fn assert_sound(world: &World, args: &[&str]) -> Value {
    let args = [&["verify-rls", "-o", "json", "--fail-on", "info"], args].concat();
    let answer = world.run(&args).ok().json();
    assert_eq!(answer["findings"], serde_json::json!([]), "{answer:#}");
    assert_eq!(answer["not_probed"], serde_json::json!([]), "{answer:#}");
    assert_eq!(answer["coverage"]["not_probed"], 0, "{answer:#}");
    let unseen = answer["unseen"].as_array().unwrap().iter();
    let unseen: Vec<_> = unseen.filter(|what| !what.as_str().unwrap().contains("pg_hba")).collect();
    assert!(unseen.is_empty(), "{answer:#}");
    assert!(answer["coverage"]["probes"].as_u64().unwrap() > 100, "{answer:#}");
    answer
}

fn as_user(world: &World, user: &str) -> String {
    let text = std::fs::read_to_string(world.path("tenants.toml")).unwrap();
    let url = world.url("app", user);
    let text: String = text
        .lines()
        .map(|line| {
            if line.starts_with("url = ") {
                format!("url = \"{url}\"\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    world.file("other.toml", &text).to_string_lossy().into_owned()
}

#[test]
fn what_create_makes_is_sound_and_wholly_probed() {
    on_every_version(|world| {
        let world = fleet(world, OPERATOR, "app_rw");
        let answer = assert_sound(&world, &[]);
        assert_eq!(
            answer["unseen"].as_array().unwrap().len(),
            1,
            "an operator reads no pg_hba.conf"
        );
        let superuser = as_user(&world, "postgres");
        let answer = assert_sound(&world, &["-c", &superuser]);
        assert_eq!(answer["unseen"], serde_json::json!([]));
    });
}

#[test]
fn what_a_superuser_makes_is_sound_with_a_role_for_each_tenant() {
    on_every_version(|world| {
        let world = fleet(world, "postgres", "app_{tenant}");
        assert_sound(&world, &[]);
    });
}
