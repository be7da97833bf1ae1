//! Archives in object storage: built with the feature `s3`, against a store of its own on the
//! loopback.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, and nobody imports it"
)]

#[path = "it/harness/mod.rs"]
mod harness;
#[path = "object_storage/store.rs"]
mod store;

use harness::{Invocation, Model, World, catalog};
use store::{Store, Trouble};

fn with(world: &World, store: &Store, args: &[&str]) -> Invocation {
    world
        .tenantctl(args)
        .env("AWS_ENDPOINT_URL", store.url())
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "eu-test-1")
        .env("AWS_ACCESS_KEY_ID", store::KEY)
        .env("AWS_SECRET_ACCESS_KEY", store::SECRET)
}

/// Rows that make more than one part of an upload.
fn large(world: &World) {
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.seed(Model::Schema, "acme", 7);
    world.sql(
        "SET session_replication_role = replica; \
         INSERT INTO tenant_acme.events (stream, stream_version, type, payload) \
         SELECT 'large', n, 'thing.happened', jsonb_build_object('text', repeat(md5(n::text), 800)) \
         FROM generate_series(1000, 2600) AS n",
    );
}

#[test]
fn an_archive_is_one_object_or_many_and_comes_back() {
    let (world, store) = (World::new(), Store::start());
    large(&world);
    let expected = world.contents(Model::Schema, "acme");
    let export = ["export", "acme", "-O", "s3://backups/eu/acme.tar", "--compress", "none"];
    let made = with(&world, &store, &[&export[..], &["-o", "json"]].concat()).run().ok().json();
    let size = made["archive"]["size"].as_u64().unwrap();
    assert!(size > 40_000_000, "{size}");
    // One object, in parts, and none of them left.
    assert_eq!(store.keys(), ["backups/eu/acme.tar"]);
    assert!(store.count("PUT", "partNumber=3") > 0, "{:?}", store.requests());
    assert_eq!(store.uploads(), 0);
    let taken = with(&world, &store, &export).run().code(4);
    assert!(taken.stderr().contains("is there already"), "{}", taken.transcript());
    let import = ["import", "s3://backups/eu/acme.tar", "--as", "pooled", "--isolation", "shared"];
    with(&world, &store, &import).run().ok();
    assert_eq!(world.contents(Model::Shared, "pooled"), expected);
    // An object for each file: the manifest comes last.
    with(&world, &store, &["export", "acme", "-O", "s3://backups/many/"]).run().ok();
    assert_eq!(store.requests().last().unwrap(), "PUT /backups/many/manifest.json");
    assert!(store.keys().contains(&"backups/many/tables/users/00001.copy.gz".to_owned()));
    with(&world, &store, &["export", "acme", "-O", "s3://backups/many"]).run().code(4);
    with(&world, &store, &["import", "s3://backups/many", "--as", "again"]).run().ok();
    assert_eq!(world.contents(Model::Schema, "again"), expected);
    // What is damaged there is refused as anywhere.
    let before = catalog(&world);
    store.damage("backups/many/tables/users/00001.copy.gz");
    let damaged =
        with(&world, &store, &["import", "s3://backups/many", "--as", "new"]).run().code(1);
    assert!(damaged.stderr().contains("SHA-256"), "{}", damaged.transcript());
    let missing =
        with(&world, &store, &["import", "s3://backups/none.tar", "--as", "new"]).run().code(1);
    assert!(missing.stderr().contains("error[not-found]"), "{}", missing.transcript());
    let missing =
        with(&world, &store, &["import", "s3://backups/none", "--as", "new"]).run().code(1);
    assert!(missing.stderr().contains("no whole archive"), "{}", missing.transcript());
    assert_eq!(catalog(&world), before);
    with(&world, &store, &["export", "acme", "-O", "s3://backups"]).run().code(64);
    with(&world, &store, &["export", "acme", "-O", "gs://backups/acme"]).run().code(64);
}

#[test]
fn a_backup_is_kept_there_and_leaves_nothing_here() {
    let (world, store) = (World::new(), Store::start());
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.seed(Model::Schema, "acme", 7);
    let expected = world.contents(Model::Schema, "acme");
    let own = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| with(&world, &store, args).env("TMPDIR", own.path()).run();
    run(&["backup", "acme", "-O", "s3://backups/acme"]).ok();
    assert_eq!(store.keys(), ["backups/acme/manifest.json", "backups/acme/tenant.dump"]);
    let taken = run(&["backup", "acme", "-O", "s3://backups/acme"]).code(4);
    assert!(taken.stderr().contains("is there already"), "{}", taken.transcript());
    run(&["backup", "acme", "-O", "s3://backups/acme.tar"]).code(64);
    run(&["restore", "s3://backups/acme", "--verify"]).ok();
    run(&["restore", "s3://backups/acme", "--as", "again"]).ok();
    assert_eq!(world.contents(Model::Schema, "again"), expected);
    assert_eq!(own.path().read_dir().unwrap().count(), 0);
    store.damage("backups/acme/tenant.dump");
    let damaged = run(&["restore", "s3://backups/acme", "--as", "new"]).code(1);
    assert!(damaged.stderr().contains("SHA-256"), "{}", damaged.transcript());
}

#[test]
fn what_is_refused_leaves_nothing_and_tells_no_secret() {
    let (world, store) = (World::new(), Store::start());
    large(&world);
    let export = ["export", "acme", "-O", "s3://backups/acme.tar", "--compress", "none"];
    store.trouble(Trouble::SecondPart);
    let refused = with(&world, &store, &export).run().code(1);
    assert!(refused.stderr().contains("s3:PutObject"), "{}", refused.transcript());
    assert_eq!((store.uploads(), store.keys()), (0, Vec::new()), "{:?}", store.requests());
    store.trouble(Trouble::None);
    let stranger = with(&world, &store, &export).env("AWS_ACCESS_KEY_ID", "stranger").run().code(1);
    assert!(!stranger.transcript().contains(store::SECRET), "{}", stranger.transcript());
    let forged =
        with(&world, &store, &export).env("AWS_SECRET_ACCESS_KEY", "guessed").run().code(1);
    assert!(!forged.transcript().contains("guessed"), "{}", forged.transcript());
    let plain = with(&world, &store, &export).env("AWS_ALLOW_HTTP", "false").run().code(1);
    assert!(plain.stderr().contains("AWS_ALLOW_HTTP"), "{}", plain.transcript());
    assert_eq!(store.keys(), Vec::<String>::new());
    // A store that answers late is asked again.
    store.trouble(Trouble::Busy(2));
    with(&world, &store, &export).run().ok();
    assert_eq!(store.keys(), ["backups/acme.tar"]);
}
