//! `backup` and `restore`: `pg_dump` writes a tenant down, `pg_restore` brings it back, and a drill
//! tells whether it would.

use crate::harness::{Model, OPERATOR_PASSWORD, World, catalog};

#[test]
fn a_backup_is_drilled_and_comes_back_and_leaves_nothing_else() {
    let world = World::new();
    for model in [Model::Schema, Model::Database] {
        let id = format!("acme_{}", model.word());
        world.run(["create", &id, "--isolation", model.word()]).ok();
        world.seed(model, &id, 6);
        let expected = world.contents(model, &id);
        let place = format!("{id}.backup");
        let made = world.run(["backup", &id, "-O", &place, "-o", "json"]).ok().json();
        assert_eq!(made["summary"]["rows"], 55);
        let before = catalog(&world);
        let drill = world.run(["restore", &place, "--verify", "-o", "json"]).ok().json();
        assert_eq!((&drill["whole"], &drill["version"]), (&true.into(), &7.into()));
        assert_eq!(drill["tables"].as_array().unwrap().len(), 10);
        assert_eq!(catalog(&world), before, "the drill leaves something");
        for to in Model::ALL {
            let new = format!("{}_to_{}", model.word(), to.word());
            world.run(["restore", &place, "--as", &new, "--isolation", to.word()]).ok();
            assert_eq!(world.contents(to, &new), expected, "{model:?} to {to:?}");
        }
        assert_eq!(world.contents(model, &id), expected);
        assert!(!catalog(&world).iter().any(|line| line.contains("tenantctl_restore_")));
        world.run(["import", &place, "--as", "new"]).code(4);
    }
    // Another row is recorded than was dumped: the answer is no.
    let manifest = std::fs::read_to_string(world.path("acme_schema.backup/manifest.json")).unwrap();
    world.file(
        "acme_schema.backup/manifest.json",
        &manifest.replacen("\"rows\": 6", "\"rows\": 7", 1),
    );
    let drill = world.run(["restore", "acme_schema.backup", "--verify"]).code(2);
    assert!(drill.stdout().contains("differs"), "{}", drill.transcript());
    world.run(["restore", "acme_schema.backup", "--as", "never"]).code(4);
    assert!(!catalog(&world).iter().any(|line| line.contains("never")));
    let dump = world.path("acme_schema.backup/tenant.dump");
    std::fs::write(&dump, b"short").unwrap();
    world.run(["restore", "acme_schema.backup", "--verify"]).code(1);
    world.run(["create", "pooled", "--isolation", "shared"]).ok();
    let refused = world.run(["backup", "pooled", "-O", "p"]).code(4);
    assert!(refused.stderr().contains("tenantctl export pooled"), "{}", refused.transcript());
}

#[test]
fn a_password_is_in_no_argument_and_a_program_that_is_missing_is_named() {
    let world = World::tls();
    let url = world.tls_url("verify-full");
    let with = |args: &[&str]| {
        world.tenantctl(args).env("DATABASE_URL", &url).env("PGPASSWORD", OPERATOR_PASSWORD)
    };
    with(&["create", "acme", "--isolation", "schema"]).run().ok();
    with(&["backup", "acme", "-O", "acme.backup"]).run().ok();
    with(&["restore", "acme.backup", "--verify"]).run().ok();
    let empty = world.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let missing =
        with(&["backup", "acme", "-O", "other"]).env("TENANTCTL_PG_BIN", &empty).run().code(1);
    assert!(missing.stderr().contains("error[tool-missing]"), "{}", missing.transcript());
}
