//! A tenant is written down and comes back, from any isolation model into any other.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use crate::harness::{Model, Proxy, World, catalog, on_every_version};

fn id(model: Model, name: &str) -> String {
    format!("{name}_{}", model.word())
}

/// Two tenants of each model, one of which stays as it is.
fn settle(world: &World) {
    for model in Model::ALL {
        for (name, rows) in [("acme", 7), ("other", 5)] {
            let id = id(model, name);
            world.run(["create", &id, "--isolation", model.word()]).ok();
            world.seed(model, &id, rows);
        }
    }
}

/// Brings a tenant of one model into others, twice.
fn bring(world: &World, from: Model, into: &[Model]) {
    let others = || Model::ALL.map(|model| world.contents(model, &id(model, "other")));
    let before = others();
    let source = id(from, "acme");
    let expected = world.contents(from, &source);
    assert!(expected.values().all(|(rows, _)| rows != "0"), "{expected:?}");
    let archive = format!("{source}.tar");
    let exported = world.run(["export", &source, "-O", &archive, "-o", "json"]).ok().json();
    assert_eq!(exported["summary"]["rows"], 64, "{from:?}");
    for to in into {
        let target = format!("{}_to_{}", from.word(), to.word());
        let args = ["import", &archive, "--as", &target, "--isolation", to.word(), "-o", "json"];
        let imported = world.run(args).ok().json();
        assert_eq!(imported["summary"]["rows"], 64);
        assert_eq!(imported["tenant"]["version"], 7);
        assert_eq!(world.contents(*to, &target), expected, "{from:?} to {to:?}");
        let again = world.run(args).ok().json();
        assert_eq!(again["unchanged"], true);
        assert_eq!(world.contents(from, &source), expected, "the source changed");
    }
    assert_eq!(others(), before);
}

#[test]
fn a_tenant_comes_back_in_any_model_as_it_was_and_others_stay_as_they_are() {
    let world = World::new();
    settle(&world);
    for from in Model::ALL {
        bring(&world, from, &Model::ALL);
    }
    // What the application may do, it may do to what came as well.
    world.run(["verify-rls", "--fail-on", "low"]).ok();
    world.run(["audit", "verify"]).ok();
}

#[test]
fn rows_move_between_models_on_every_version() {
    on_every_version(|world| {
        settle(&world);
        bring(&world, Model::Shared, &[Model::Database]);
        bring(&world, Model::Schema, &[Model::Shared]);
    });
}

/// So many requests lie between one kill and the next: with another number, other places are hit.
const STRIDE: usize = 41;

#[test]
fn an_import_that_is_killed_anywhere_is_finished_by_the_next() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.run(["create", "other", "--isolation", "shared"]).ok();
    world.seed(Model::Schema, "acme", 7);
    world.seed(Model::Shared, "other", 5);
    let expected = world.contents(Model::Schema, "acme");
    let other = world.contents(Model::Shared, "other");
    world.run(["export", "acme", "-O", "acme.tar"]).ok();
    for model in Model::ALL {
        let import = |id: &str| {
            let args = ["import", "acme.tar", "--as", id, "--isolation", model.word()];
            world.tenantctl(args)
        };
        let count = Proxy::start(&world, None);
        let first = format!("{}_whole", model.word());
        import(&first).env("DATABASE_URL", count.operator_url(&world)).run().ok();
        let requests = count.requests();
        assert!(requests > 40, "only {requests} requests passed");
        for at in (model as usize..requests).step_by(STRIDE) {
            let id = format!("{}_{at}", model.word());
            let proxy = Proxy::start(&world, Some(at));
            let victim = import(&id).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
            proxy.aim_at(victim.pid());
            let killed = victim.wait().transcript();
            // A run need not send exactly as many requests as another.
            assert!(killed.contains("signal: 9") || at + STRIDE > requests, "{at}: {killed}");
            let state = |world: &World| {
                let row = world
                    .session("app", "postgres")
                    .attempt(&format!("SELECT state FROM tenantctl.tenants WHERE id = '{id}'"));
                row.unwrap().into_iter().flatten().next()
            };
            // The server may still be at work on what it was asked last.
            let busy = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'tenantctl/%'";
            while !world.rows(busy).is_empty() {
                thread::sleep(Duration::from_millis(10));
            }
            if state(&world).as_deref() == Some("active") {
                assert_eq!(world.contents(model, &id), expected, "{model:?} {at}");
            }
            if state(&world).as_deref() == Some("provisioning") {
                let create = world.run(["create", &id, "--isolation", model.word()]).code(4);
                assert!(create.stderr().contains("import"), "{}", create.transcript());
            }
            import(&id).run().ok();
            assert_eq!(world.contents(model, &id), expected, "{model:?} {at}");
            assert_eq!(state(&world).as_deref(), Some("active"));
        }
    }
    assert_eq!(world.contents(Model::Shared, "other"), other);
    assert_eq!(world.contents(Model::Schema, "acme"), expected);
}

#[test]
fn the_same_rows_make_the_same_bytes_in_whatever_order_they_were_written() {
    let world = World::new();
    for name in ["acme", "bolt"] {
        world.run(["create", name, "--isolation", "schema"]).ok();
        world.seed(Model::Schema, name, 40);
    }
    world.sql(
        "SET session_replication_role = replica; CREATE TABLE kept AS SELECT * FROM tenant_bolt.tags ORDER BY id DESC; \
         DELETE FROM tenant_bolt.tags; INSERT INTO tenant_bolt.tags SELECT * FROM kept",
    );
    for (name, place) in [("acme", "a"), ("bolt", "b")] {
        world.run(["export", name, "-O", place]).ok();
    }
    let mut files: Vec<_> = walk(&world.path("a"));
    files.retain(|file| !file.ends_with("manifest.json"));
    assert_eq!(files.len(), 10, "{files:?}");
    for file in files {
        let other = world.path("b").join(file.strip_prefix(world.path("a")).unwrap());
        assert_eq!(fs::read(&file).unwrap(), fs::read(&other).unwrap(), "{}", file.display());
    }
    let manifest = fs::read_to_string(world.path("a/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!((&manifest["format"], &manifest["version"]), (&1.into(), &7.into()));
    assert_eq!(manifest["tenant"]["id"], "acme");
    // Nobody else may read what tenants entrust.
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/manifest.json")), (0o700, 0o600));
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_damaged_or_not_whole_is_refused_before_anything_is_touched() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.seed(Model::Schema, "acme", 5);
    world.run(["export", "acme", "-O", "good"]).ok();
    world.run(["export", "acme", "-O", "good"]).code(4);
    let before = catalog(&world);
    // A part with another byte.
    let part = walk(&world.path("good/tables/users")).remove(0);
    let bytes = fs::read(&part).unwrap();
    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    fs::write(&part, &damaged).unwrap();
    let refused = world.run(["import", "good", "--as", "new"]).code(1);
    assert!(refused.stderr().contains("SHA-256"), "{}", refused.transcript());
    fs::remove_file(&part).unwrap();
    world.run(["import", "good", "--as", "new"]).code(1);
    fs::write(&part, &bytes).unwrap();
    // A manifest that promises another row, and none at all.
    let manifest = fs::read_to_string(world.path("good/manifest.json")).unwrap();
    world.file("good/manifest.json", &manifest.replacen("\"rows\": 5", "\"rows\": 6", 1));
    world.run(["import", "good", "--as", "new"]).code(1);
    world.file("good/manifest.json", &manifest.replacen("\"format\": 1", "\"format\": 2", 1));
    world.run(["import", "good", "--as", "new"]).code(4);
    fs::remove_file(world.path("good/manifest.json")).unwrap();
    let cut = world.run(["import", "good", "--as", "new"]).code(1);
    assert!(cut.stderr().contains("no whole archive"), "{}", cut.transcript());
    world.run(["import", "nowhere", "--as", "new"]).code(1);
    world.file("good/manifest.json", &manifest);
    // Somebody is there already.
    world.run(["import", "good"]).code(4);
    world.run(["create", "empty", "--isolation", "schema"]).ok();
    world.run(["import", "good", "--as", "empty"]).code(4);
    let after: Vec<String> = catalog(&world)
        .difference(&before)
        .filter(|line| !line.contains("empty"))
        .cloned()
        .collect();
    assert!(after.is_empty(), "{after:#?}");
    world.run(["import", "good", "--as", "new"]).ok();
    assert_eq!(world.contents(Model::Schema, "new"), world.contents(Model::Schema, "acme"));
}

#[test]
fn an_archive_goes_through_a_pipe_and_people_get_json_and_csv() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "shared"]).ok();
    world.run(["create", "bolt", "--isolation", "shared"]).ok();
    world.seed(Model::Shared, "acme", 6);
    world.seed(Model::Shared, "bolt", 4);
    let refused = world.run(["export", "acme", "-O", "-", "-o", "json"]).code(64);
    assert!(refused.stderr().contains("stdout"), "{}", refused.transcript());
    world.run(["export", "acme", "-O", "people", "--format", "ndjson"]).ok();
    let users = fs::read_to_string(world.path("people/tables/users/00001.ndjson")).unwrap();
    assert_eq!(users.lines().count(), 6);
    for line in users.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(row["email"].as_str().unwrap().ends_with("@example.org"));
        assert!(row["display_name"].as_str().unwrap().contains("Zo\u{eb} \t\""), "{row}");
    }
    world.run(["export", "acme", "-O", "sheets", "--format", "csv"]).ok();
    let users = fs::read_to_string(world.path("sheets/tables/users/00001.csv")).unwrap();
    assert!(users.starts_with("tenant_id,id,email,"), "{users}");
    let refused = world.run(["import", "people", "--as", "new"]).code(4);
    assert!(refused.stderr().contains("for people to read"), "{}", refused.transcript());
}

#[test]
fn a_clone_has_everything_and_shares_nothing() {
    let world = World::new();
    for model in Model::ALL {
        let source = id(model, "acme");
        world.run(["create", &source, "--isolation", model.word(), "--label", "wave=canary"]).ok();
        world.seed(model, &source, 6);
        let expected = world.contents(model, &source);
        let (with, without) = (id(model, "with"), id(model, "without"));
        world.run(["clone", &source, &with, "--with-data"]).ok();
        assert_eq!(world.contents(model, &with), expected, "{model:?}");
        let empty = world.run(["clone", &source, &without, "-o", "json"]).ok().json();
        assert_eq!(empty["tenant"]["labels"]["wave"], "canary");
        let rows = world.contents(model, &without);
        assert!(rows.values().all(|(rows, _)| rows == "0"), "{rows:?}");
        let again = world.run(["clone", &source, &with, "--with-data", "-o", "json"]).ok().json();
        assert_eq!(again["unchanged"], true);
        assert_eq!(world.contents(model, &source), expected);
    }
    world.run(["clone", "acme_schema", "acme_shared"]).code(4);
    world.run(["clone", "acme_schema", "acme_schema"]).code(64);
    world.run(["verify-rls", "--fail-on", "low"]).ok();
}
