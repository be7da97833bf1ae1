//! `backup` and `restore`: `pg_dump` writes a tenant down, `pg_restore` brings it back, and a drill
//! tells whether it would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::harness::{Model, OPERATOR_PASSWORD, Proxy, World, catalog, on_every_version};

/// The models that `pg_dump` knows.
const MODELS: [Model; 2] = [Model::Schema, Model::Database];

/// Two tenants of each model, one of which stays as it is.
fn settle(world: &World) {
    for model in MODELS {
        for (name, rows) in [("acme", 6), ("other", 4)] {
            let id = format!("{name}_{}", model.word());
            world.run(["create", &id, "--isolation", model.word()]).ok();
            world.seed(model, &id, rows);
        }
    }
}

/// What stands on the server but the tenants that are restored.
fn others(world: &World) -> Vec<String> {
    catalog(world).into_iter().filter(|line| line.contains("other")).collect()
}

/// The databases of restores.
fn scratch(world: &World) -> Vec<Vec<String>> {
    world.rows("SELECT datname FROM pg_database WHERE datname LIKE 'tenantctl_restore%'")
}

#[test]
fn a_backup_comes_back_as_it_was_and_others_stay_as_they_are() {
    let world = World::new();
    settle(&world);
    let neighbours =
        || MODELS.map(|model| world.contents(model, &format!("other_{}", model.word())));
    let (rows, standing) = (neighbours(), others(&world));
    for model in MODELS {
        let id = format!("acme_{}", model.word());
        let expected = world.contents(model, &id);
        let place = format!("{id}.backup");
        let made = world.run(["backup", &id, "-O", &place, "-o", "json"]).ok().json();
        assert_eq!((&made["done"], &made["summary"]["rows"]), (&"backed up".into(), &55.into()));
        let before = catalog(&world);
        let drill = world.run(["restore", &place, "--verify", "-o", "json"]).ok().json();
        assert_eq!((&drill["whole"], &drill["version"]), (&true.into(), &7.into()));
        assert_eq!(drill["tables"].as_array().unwrap().len(), 10);
        assert_eq!(catalog(&world), before, "the drill leaves something");
        // Somebody is there.
        let taken = world.run(["restore", &place]).code(4);
        assert!(taken.stderr().contains("exists already, and is active"), "{}", taken.transcript());
        assert_eq!(catalog(&world), before);
        let uuid = || world.rows(&format!("SELECT uuid FROM tenantctl.tenants WHERE id = '{id}'"));
        let was = uuid();
        world.run(["delete", &id, "--grace", "1d"]).ok();
        let kept = world.run(["restore", &place]).code(4);
        assert!(kept.stderr().contains("undelete"), "{}", kept.transcript());
        world.run(["undelete", &id]).ok();
        world.run(["delete", &id, "--grace", "0s"]).ok();
        world.run(["purge", &id, "--yes"]).ok();
        let back = world.run(["restore", &place, "-o", "json"]).ok().json();
        assert_eq!((&back["done"], &back["summary"]["rows"]), (&"restored".into(), &55.into()));
        assert_eq!(world.contents(model, &id), expected, "{model:?}");
        assert_eq!(uuid(), was, "it is the same tenant");
        let again = world.run(["restore", &place, "-o", "json"]).ok().json();
        assert_eq!(again["unchanged"], true);
    }
    let expected = world.contents(Model::Schema, "acme_schema");
    for model in Model::ALL {
        let new = format!("new_{}", model.word());
        let args = ["restore", "acme_schema.backup", "--as", &new, "--isolation", model.word()];
        world.run(args).ok();
        assert_eq!(world.contents(model, &new), expected, "{model:?}");
    }
    assert_eq!(scratch(&world), Vec::<Vec<String>>::new());
    assert_eq!((neighbours(), others(&world)), (rows, standing));
    world.run(["verify-rls", "--static", "--fail-on", "low"]).ok();
    world.run(["audit", "verify"]).ok();
    let log = world.run(["audit", "log", "--tenant", "acme_schema"]).ok();
    for event in ["backup", "restore --verify", "restore"] {
        assert!(log.stdout().contains(event), "{}", log.transcript());
    }
}

#[test]
fn what_is_damaged_or_not_whole_is_refused_and_leaves_nothing() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.run(["create", "pooled", "--isolation", "shared"]).ok();
    world.seed(Model::Schema, "acme", 6);
    world.run(["backup", "acme", "-O", "good"]).ok();
    world.run(["export", "acme", "-O", "export"]).ok();
    let before = catalog(&world);
    let shared = world.run(["backup", "pooled", "-O", "p"]).code(4);
    assert!(shared.stderr().contains("tenantctl export pooled"), "{}", shared.transcript());
    world.run(["backup", "acme", "-O", "good"]).code(4);
    world.run(["backup", "acme", "-O", "gs://bucket/acme"]).code(64);
    if !cfg!(feature = "s3") {
        let absent = world.run(["backup", "acme", "-O", "s3://bucket/acme"]).code(64);
        assert!(absent.stderr().contains("--features s3"), "{}", absent.transcript());
    }
    world.run(["restore", "export"]).code(4);
    world.run(["import", "good", "--as", "new"]).code(4);
    // Another row is recorded than was dumped: the answer is no.
    let (manifest, dump) = (world.path("good/manifest.json"), world.path("good/tenant.dump"));
    let written = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, written.replacen("\"rows\": 6", "\"rows\": 7", 1)).unwrap();
    let drill = world.run(["restore", "good", "--verify"]).code(2);
    assert!(drill.stdout().contains("differs"), "{}", drill.transcript());
    world.run(["restore", "good", "--as", "new"]).code(4);
    fs::write(&manifest, &written).unwrap();
    // The dump ends too early, and then its manifest says that this is right.
    let bytes = fs::read(&dump).unwrap();
    let short = &bytes[..bytes.len() / 2];
    fs::write(&dump, short).unwrap();
    let damaged = world.run(["restore", "good", "--verify"]).code(1);
    assert!(damaged.stderr().contains("SHA-256"), "{}", damaged.transcript());
    let hex = |bytes: &[u8]| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let forged = written
        .replace(&hex(&bytes), &hex(short))
        .replace(&format!("\"size\": {}", bytes.len()), &format!("\"size\": {}", short.len()));
    fs::write(&manifest, forged).unwrap();
    let failed = world.run(["restore", "good", "--as", "new"]).code(1);
    assert!(failed.stderr().contains("with pg_restore"), "{}", failed.transcript());
    fs::remove_file(&manifest).unwrap();
    let cut = world.run(["restore", "good", "--as", "new"]).code(1);
    assert!(cut.stderr().contains("no whole archive"), "{}", cut.transcript());
    assert_eq!(catalog(&world), before);
    // Large objects are in no schema, and in the whole of a database.
    world.sql("SET ROLE tenant_acme_owner; SELECT lo_from_bytea(0, 'x')");
    let objects = world.run(["backup", "acme", "-O", "other"]).code(4);
    assert!(objects.stderr().contains("1 large object"), "{}", objects.transcript());
    world.run(["backup", "acme", "-O", "other", "--leave-large-objects"]).ok();
}

/// Programs that say a version, and do something before PostgreSQL's own do their work.
fn programs(world: &World, name: &str, version: &str, before: &str) -> PathBuf {
    for program in ["pg_dump", "pg_restore"] {
        let real = world.server().bin_dir().join(program);
        let real = if real.is_file() { real } else { Path::new("/usr/bin").join(program) };
        let script = format!(
            "#!/bin/sh\nreal={}\nif [ \"$1\" = --version ]; then\n  echo \"{program} (PostgreSQL) {version}\"; exit\nfi\n\
             {before}\nexec \"$real\" \"$@\"\n",
            real.display()
        );
        let path = world.file(&format!("{name}/{program}"), &script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.path(name)
}

#[test]
fn programs_are_judged_by_their_version_and_dumps_by_their_rows() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.seed(Model::Schema, "acme", 6);
    let with = |args: &[&str], place: &Path| world.tenantctl(args).env("TENANTCTL_PG_BIN", place);
    fs::create_dir(world.path("none")).unwrap();
    let missing = with(&["backup", "acme", "-O", "no"], &world.path("none")).run().code(1);
    assert!(
        missing.stderr().contains("error[tool-missing]: there is no pg_dump"),
        "{}",
        missing.transcript()
    );
    let old = programs(&world, "old", "13.2", "");
    let refused = with(&["backup", "acme", "-O", "no"], &old).run().code(1);
    for words in [
        "or newer is needed",
        "old/pg_dump is 13",
        "install the client programs",
        "tenantctl export",
    ] {
        assert!(refused.stderr().contains(words), "{}", refused.transcript());
    }
    assert!(!world.path("no").exists() && !world.path("no.unfinished").exists());
    // One that leaves out the rows of a table, and is content.
    let lacking = programs(
        &world,
        "lacking",
        "18.1",
        "case $0 in *pg_dump) set -- \"$@\" --exclude-table-data='*.users' ;; esac",
    );
    let lacks = with(&["backup", "acme", "-O", "no"], &lacking).run().code(4);
    assert!(
        lacks.stderr().contains("0 rows are in the dump, and 6 in the table"),
        "{}",
        lacks.transcript()
    );
    assert!(!world.path("no").exists());
    // One that is newer than the server, and sets what the server does not know.
    let newer = programs(
        &world,
        "newer",
        "18.1",
        "case \"$0 $*\" in *pg_restore*--file=-*|*--exit-on-error*|*pg_dump*) exec \"$real\" \"$@\" ;; esac\n\
         \"$real\" \"$@\" || exit\n\
         echo 'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter' >&2\n\
         echo \"Command was: ${SAYS:-SET transaction_timeout = 0;}\" >&2\n\
         echo 'pg_restore: warning: errors ignored on restore: 1' >&2\n\
         exit 1",
    );
    with(&["backup", "acme", "-O", "acme.backup"], &newer).run().ok();
    let manifest = fs::read_to_string(world.path("acme.backup/manifest.json")).unwrap();
    assert!(manifest.contains("\"program\": 18"), "{manifest}");
    with(&["restore", "acme.backup", "--verify"], &newer).run().ok();
    if world.server().version().major() < 17 {
        let failed = with(&["restore", "acme.backup", "--verify"], &newer)
            .env("SAYS", "CREATE TABLE other ();")
            .run()
            .code(1);
        assert!(failed.stderr().contains("CREATE TABLE other"), "{}", failed.transcript());
    }
    // An older one cannot read what this one has written.
    let unreadable = with(&["restore", "acme.backup", "--verify"], &old).run().code(1);
    assert!(unreadable.stderr().contains("pg_restore 18 or newer"), "{}", unreadable.transcript());
    assert_eq!(scratch(&world), Vec::<Vec<String>>::new());
}

#[test]
fn a_server_that_is_newer_than_the_programs_is_not_backed_up() {
    on_every_version(|world| {
        world.run(["create", "acme", "--isolation", "schema"]).ok();
        world.seed(Model::Schema, "acme", 3);
        let major = world.server().version().major();
        let made = world.run(["backup", "acme", "-O", "acme.backup"]);
        if made.stderr().contains("error[tool-missing]") {
            let refused = made.code(1);
            let words = format!("pg_dump {major} or newer is needed");
            assert!(refused.stderr().contains(&words), "{}", refused.transcript());
        } else {
            made.ok();
            world.run(["restore", "acme.backup", "--verify"]).ok();
        }
    });
}

#[test]
fn a_password_is_in_no_argument() {
    let world = World::tls();
    let url = world.tls_url("verify-full");
    let watched = programs(&world, "watched", "18.1", "echo \"$0 $*\" >> arguments");
    let with = |args: &[&str]| {
        world.tenantctl(args).env("DATABASE_URL", &url).env("TENANTCTL_PG_BIN", &watched)
    };
    with(&["create", "acme", "--isolation", "schema"])
        .env("PGPASSWORD", OPERATOR_PASSWORD)
        .run()
        .ok();
    with(&["backup", "acme", "-O", "given"]).env("PGPASSWORD", OPERATOR_PASSWORD).run().ok();
    let passfile = world.file("pass", &format!("*:*:*:*:{OPERATOR_PASSWORD}\n"));
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    with(&["restore", "given", "--verify"]).env("PGPASSFILE", &passfile).run().ok();
    let said = fs::read_to_string(world.path("arguments")).unwrap();
    assert!(said.lines().count() >= 3, "{said}");
    assert!(!said.contains(OPERATOR_PASSWORD), "{said}");
}

/// At so many requests a run is killed.
const KILLS: usize = 6;

#[test]
fn a_restore_that_is_killed_anywhere_is_finished_by_the_next() {
    let world = World::new();
    settle(&world);
    let expected = world.contents(Model::Schema, "acme_schema");
    world.run(["backup", "acme_schema", "-O", "acme.backup"]).ok();
    world.run(["backup", "other_schema", "-O", "other.backup"]).ok();
    let restore = |id: &str| world.tenantctl(["restore", "acme.backup", "--as", id]);
    let count = Proxy::start(&world, None);
    restore("whole").env("DATABASE_URL", count.operator_url(&world)).run().ok();
    let requests = count.requests();
    assert!(requests > 60, "only {requests} requests passed");
    let mut left = false;
    for kill in 0..KILLS {
        let at = (2 * kill + 1) * requests / (2 * KILLS);
        let id = format!("killed_{at}");
        let proxy = Proxy::start(&world, Some(at));
        let victim = restore(&id).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
        proxy.aim_at(victim.pid());
        let killed = victim.wait().transcript();
        assert!(killed.contains("signal: 9"), "{at}: {killed}");
        drop(proxy);
        left |= !scratch(&world).is_empty();
        restore(&id).run().ok();
        assert_eq!(world.contents(Model::Schema, &id), expected, "{at}");
    }
    assert!(left, "no kill left a database behind");
    // What is left of one tenant's restore, another's removes.
    let proxy = Proxy::start(&world, Some(requests / 3));
    let victim = restore("lost").env("DATABASE_URL", proxy.operator_url(&world)).spawn();
    proxy.aim_at(victim.pid());
    assert!(victim.wait().transcript().contains("signal: 9"));
    drop(proxy);
    assert_eq!(scratch(&world).len(), 1);
    // A program that it has started may still be at work there.
    let removed = (0..50).any(|_| {
        world.run(["restore", "other.backup", "--verify"]).ok();
        std::thread::sleep(std::time::Duration::from_millis(100));
        scratch(&world).is_empty()
    });
    assert!(removed, "{:?}", scratch(&world));
    // Backups are begun anew.
    world.file("half.unfinished/tenant.dump", "half");
    world.run(["backup", "other_schema", "-O", "half"]).ok();
    world.run(["restore", "half", "--verify"]).ok();
}
