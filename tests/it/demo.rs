//! `tenantctl demo`: what it shows is so, and nothing stays behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{World, on_every_version};

/// A temporary directory that the server's account may enter, to see what is made in it.
fn watched() -> TempDir {
    let directory = tempfile::Builder::new().prefix("tctl-demo-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    directory
}

fn left_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_demo_shows_three_models_apart_on_every_version() {
    on_every_version(|world| {
        let place = watched();
        let outcome = world
            .tenantctl(["demo", "-o", "json"])
            .env("TENANTCTL_PG_BIN", world.server().bin_dir())
            .env("TMPDIR", place.path())
            .run()
            .ok();
        let demo = outcome.json();
        assert_eq!(demo["server"]["version"], world.server().version().to_string());
        let trials = demo["trials"].as_array().unwrap();
        assert!(trials.len() >= 8 && trials.iter().all(|trial| trial["held"] == true), "{demo:#}");
        let commands = demo["commands"].as_array().unwrap();
        let answers = |line: &str| -> Vec<&Value> {
            let typed = commands.iter().filter(|one| one["command"] == line);
            typed.map(|one| &one["answer"]).collect()
        };
        let listed = answers("tenantctl list")[0]["tenants"].as_array().unwrap();
        let models: Vec<&Value> = listed.iter().map(|tenant| &tenant["isolation"]).collect();
        assert_eq!(models, ["database", "schema", "shared", "shared"]);
        assert_eq!(answers("tenantctl migrate up")[0]["summary"]["ok"], 4);
        // Whole, then broken by hand, then mended by the statements that the audit printed.
        let found: Vec<bool> = answers("tenantctl verify-rls")
            .iter()
            .map(|answer| answer["findings"].as_array().unwrap().is_empty())
            .collect();
        assert_eq!(found, [true, false, true]);
        assert_eq!(left_in(place.path()), Vec::<PathBuf>::new());
    });
}

#[test]
fn people_read_a_story_and_quiet_ones_its_end() {
    let world = World::new();
    let story = world.run(["demo"]).ok();
    let text = story.stdout();
    for line in [
        "  $ tenantctl create acme --isolation database\n",
        "  ✓ dime reads the same table: 0 rows\n",
        "  ✓ bolt connects to acme's database: refused\n",
        "  the server is stopped, and its files are removed\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    // Who waits for long on a busy machine is told that it goes on.
    let told: Vec<&str> =
        story.stderr().lines().filter(|line| !line.starts_with("still working")).collect();
    assert_eq!(told, Vec::<&str>::new());
    let quiet = world.run(["demo", "--quiet"]).ok();
    assert!(quiet.stdout().starts_with("  4 tenants in 3 models"), "{}", quiet.stdout());
}

#[test]
fn a_kept_server_answers_until_it_is_stopped() {
    let world = World::new();
    let place = watched();
    let demo = world
        .tenantctl(["demo", "--keep", "-o", "json"])
        .env("TMPDIR", place.path())
        .run()
        .ok()
        .json();
    let kept = &demo["kept"];
    let config = kept["config"].as_str().unwrap();
    let list = world.run(["list", "--config", config, "-o", "json"]).ok().json();
    assert_eq!(list["tenants"].as_array().unwrap().len(), 4);
    // A tenant's connection string is its application's.
    let url = kept["tenants"]["bolt"].as_str().unwrap();
    assert!(url.ends_with("user=app_tenant_bolt"), "{url}");
    drop(world.run(["create", "echo", "--config", config]).ok());

    let stop = kept["stop"].as_str().unwrap();
    assert!(Command::new("/bin/sh").args(["-c", stop]).status().unwrap().success());
    eventually("its files are removed", || left_in(place.path()).is_empty());
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let world = World::new();
    let place = watched();
    let mut running = world.tenantctl(["demo"]).env("TMPDIR", place.path()).spawn();
    running.wait_until("the server's directory is made", || !left_in(place.path()).is_empty());
    running.interrupt();
    let outcome = running.wait().code(130);
    assert!(outcome.stderr().contains("nothing is left of the demo"), "{}", outcome.stderr());
    assert_eq!(left_in(place.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_demo_leaves_nothing() {
    let world = World::new();
    let place = watched();
    let mut running = world.tenantctl(["demo"]).env("TMPDIR", place.path()).spawn();
    running.wait_until("the configuration is written", || {
        left_in(place.path()).first().is_some_and(|server| server.join("tenants.toml").exists())
    });
    running.kill();
    running.wait().signal(9).stdout();
    eventually("its files are removed", || left_in(place.path()).is_empty());
}

#[test]
fn without_a_server_the_demo_says_how_to_get_one() {
    let world = World::new();
    let outcome =
        world.tenantctl(["demo"]).env("TENANTCTL_PG_BIN", world.path("nowhere")).run().code(1);
    assert!(outcome.stderr().contains("TENANTCTL_PG_BIN"), "{}", outcome.stderr());
}

#[test]
fn the_demo_touches_no_fleet_of_the_user() {
    let world = World::new();
    world.config("");
    for flag in ["--config=tenants.toml", "--database-url=postgres:///app", "--migrations=."] {
        let outcome = world.run(["demo", flag]).code(64);
        assert!(outcome.stderr().contains("a fleet of its own"), "{}", outcome.stderr());
    }
    drop(world.run(["demo", "-q"]).ok());
    let registry = "SELECT count(*) FROM pg_namespace WHERE nspname = 'tenantctl'";
    assert_eq!(world.rows(registry), [["0"]]);
}
