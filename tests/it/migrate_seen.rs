//! What is seen and heard of `migrate`: events, summaries, metrics, and how a fleet stands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::fleet::Fleet;
use crate::harness::{Outcome, World};

const TAGS: (&str, &str) = ("V2__tags.sql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n");

/// Three tenants, of which `dog` cannot be migrated.
fn with_a_failure() -> Fleet {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.sql("CREATE TABLE tenant_dog.tags ()");
    fleet
}

/// `event` of each line, with the tenant or target that it is about.
fn words(events: &[Value]) -> Vec<String> {
    let of = |event: &Value, key: &str| event[key].as_str().map(str::to_owned);
    let whose = |event: &Value| of(event, "tenant").or(of(event, "target")).unwrap_or_default();
    let word = |event: &Value| format!("{} {}", event["event"].as_str().unwrap(), whose(event));
    events.iter().map(|event| word(event).trim_end().to_owned()).collect()
}

#[track_caller]
fn stream(outcome: &Outcome) -> Vec<Value> {
    let events = outcome.ndjson();
    for event in &events {
        assert_eq!(event["format"], 1, "{event}");
        let at = event["at"].as_str().unwrap();
        assert!(at.ends_with('Z') && at.parse::<jiff::Timestamp>().is_ok(), "{at}");
    }
    events
}

#[test]
fn a_run_is_a_stream_of_events() {
    let fleet = with_a_failure();
    let up = |args: &[&str]| fleet.tenantctl(["migrate", "up", "-o", "ndjson"]).args(args).run();
    let first = up(&["--jobs", "1"]).code(3);
    let events = stream(&first);
    let told = words(&events);
    assert_eq!(told.len(), 8, "{}", first.transcript());
    assert_eq!((told[0].as_str(), told[7].as_str()), ("run_started", "run_done"));
    // The next may be sent while the server works on the one before.
    let at = |word: String| told.iter().position(|other| *other == word).unwrap();
    for id in ["cat", "dog", "elk"] {
        assert!(at(format!("target_started {id}")) < at(format!("target {id}")), "{told:?}");
    }
    assert_eq!((&events[0]["what"], &events[0]["targets"]), (&"migrate".into(), &3.into()));
    let last = &events[7];
    assert_eq!(events[0]["run"], last["run"]);
    assert_eq!(last["verdict"], "partial", "{last}");
    assert_eq!(last["summary"]["failed"], 1, "{last}");
    assert!(last["duration_ms"].is_u64(), "{last}");
    let dog = &events[at("target dog".to_owned())];
    assert_eq!(dog["error"]["sqlstate"], "42P07");
    // The story is told to people as ever.
    assert!(first.stderr().contains("failed dog: "), "{}", first.transcript());

    // A line of the stream is an element of `targets[]`.
    fleet.sql("DROP TABLE tenant_dog.tags");
    let document = fleet.status(&[]).run().ok().json();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut of_stream = keys(dog);
    of_stream.retain(|key| !["format", "event", "at"].contains(&key.as_str()));
    assert_eq!(of_stream, keys(&document["targets"][0]));

    // Whoever needed nothing has a line as well.
    let second = stream(&up(&["--jobs", "1"]).ok());
    let expected =
        ["run_started", "target_started dog", "target dog", "target cat", "target elk", "run_done"];
    assert_eq!(words(&second), expected);
    assert_eq!(words(&stream(&up(&["--check"]).ok())).last().unwrap(), "run_done");
}

#[test]
fn events_are_written_when_they_happen() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration("V2__title.sql", "ALTER TABLE notes ADD COLUMN title text;\n");
    let mut holder = fleet.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE tenant_dog.notes");
    let up = ["migrate", "up", "-o", "ndjson", "--lock-timeout", "60s"];
    let running = fleet.tenantctl(up).spawn();
    // The last line may not be whole yet.
    let seen = || -> Vec<String> {
        let so_far = running.stdout_so_far();
        let whole = so_far.lines().filter_map(|line| serde_json::from_str(line).ok());
        words(&whole.collect::<Vec<Value>>())
    };
    while !["target cat", "target_started dog"].iter().all(|word| seen().contains(&(*word).into()))
    {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!seen().contains(&"target dog".to_owned()));
    holder.sql("ROLLBACK");
    let done = running.wait().ok();
    assert_eq!(words(&stream(&done)).last().unwrap(), "run_done");
}

#[test]
fn a_stream_that_cannot_begin_ends_with_the_error() {
    let fleet = Fleet::of_schemas(&["cat"]);
    let up = ["migrate", "up", "-o", "ndjson", "--tenant", "nobody"];
    let events = stream(&fleet.run(up).code(1));
    assert_eq!(words(&events), ["error"]);
    assert_eq!(events[0]["error"]["code"], "not-found");
    // Other commands answer with one line, too.
    let shown = fleet.run(["show", "nobody", "-o", "ndjson"]).code(1).ndjson();
    assert_eq!(shown[0]["error"]["code"], "not-found");
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration(TAGS.0, TAGS.1);
    let pipe = "\"$0\" migrate up -o ndjson --jobs 1 | head -n 1";
    let shell = Command::new("/bin/sh")
        .args(["-c", pipe, env!("CARGO_BIN_EXE_tenantctl")])
        .current_dir(fleet.work_dir())
        .env("HOME", fleet.home())
        .output()
        .unwrap();
    let story = String::from_utf8(shell.stderr).unwrap();
    assert_eq!(String::from_utf8(shell.stdout).unwrap().lines().count(), 1, "{story}");
    assert!(!story.contains("panic") && !story.contains("error"), "{story}");
    for id in ["cat", "dog", "elk"] {
        assert_eq!(fleet.history(&format!("tenant_{id}")), ["1 notes", "2 tags"]);
    }
}

#[test]
fn a_failing_run_leaves_a_summary_and_metrics() {
    let fleet = with_a_failure();
    fs::write(fleet.path("fleet.prom"), "old\n").unwrap();
    let files = ["--summary-md", "summary.md", "--metrics-file", "fleet.prom"];
    fleet.up(&["--jobs", "1"]).args(files).run().code(3);
    let read = |file: &str| fs::read_to_string(fleet.path(file)).unwrap();
    fleet.snapshot("migrate_up_summary", &read("summary.md"));
    let metrics = read("fleet.prom");
    for line in [
        "tenantctl_tenants{cluster=\"main\",isolation=\"schema\",status=\"failed\",version=\"1\"} 1",
        "tenantctl_tenants{cluster=\"main\",isolation=\"schema\",status=\"up-to-date\",version=\"2\"} 2",
        "tenantctl_run_targets{status=\"failed\"} 1",
        "tenantctl_run_targets{status=\"applied\"} 2",
        "tenantctl_run_success 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    // Nothing is left of the file that was renamed, and others may read the one that is there.
    let names: Vec<_> = fs::read_dir(fleet.work_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tenantctl"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    let mode = fs::metadata(fleet.path("fleet.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);

    fleet.sql("DROP TABLE tenant_dog.tags");
    fleet.up(&files).run().ok();
    assert!(read("summary.md").starts_with("## migrate up: 3 tenants up to date\n"));
    assert!(read("fleet.prom").contains("\ntenantctl_run_success 1\n"));
}

#[test]
fn a_run_that_fails_before_it_begins_leaves_them_too() {
    let fleet = Fleet::of_schemas(&["cat"]);
    let files = ["--summary-md", "summary.md", "--metrics-file", "fleet.prom"];
    fleet.up(&["--tenant", "nobody"]).args(files).run().code(1);
    let summary = fs::read_to_string(fleet.path("summary.md")).unwrap();
    assert!(summary.starts_with("## migrate up: failed after "), "{summary}");
    assert!(summary.contains("`error[not-found]`"), "{summary}");
    let metrics = fs::read_to_string(fleet.path("fleet.prom")).unwrap();
    assert!(metrics.contains("\ntenantctl_run_success 0\n"), "{metrics}");
}

#[test]
fn an_interrupted_run_leaves_a_summary() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration("V2__title.sql", "ALTER TABLE notes ADD COLUMN title text;\n");
    let mut holder = fleet.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE tenant_cat.notes");
    let up = ["migrate", "up", "--jobs", "1", "--lock-timeout", "60s", "--summary-md", "s.md"];
    let mut running = fleet.tenantctl(up).spawn();
    let waits = "SELECT 1 FROM pg_locks WHERE NOT granted";
    running.wait_until("the lock is waited for", || !fleet.rows(waits).is_empty());
    let begun = fs::read_to_string(fleet.path("s.md")).unwrap();
    assert!(begun.starts_with("## migrate up: not ended\n"), "{begun}");
    running.interrupt();
    while !running.stderr_so_far().contains("interrupted") {
        thread::sleep(Duration::from_millis(10));
    }
    holder.sql("ROLLBACK");
    running.wait().code(130);
    let summary = fs::read_to_string(fleet.path("s.md")).unwrap();
    assert!(summary.starts_with("## migrate up: interrupted, 1 of 2 tenants done\n"), "{summary}");
}

#[test]
fn a_file_that_cannot_be_written_stops_a_run_before_it_begins() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration(TAGS.0, TAGS.1);
    for files in [["--summary-md", "nowhere/s.md"], ["--metrics-file", "nowhere/f.prom"]] {
        let refused = fleet.up(&files).run().code(1);
        assert_eq!(refused.json()["error"]["code"], "io", "{}", refused.transcript());
        assert!(refused.stderr().contains("nowhere/"), "{}", refused.transcript());
        assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    }
    // A directory is no file.
    fleet.up(&["--metrics-file", "."]).run().code(1);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
}

#[test]
fn metrics_say_how_the_fleet_stands() {
    let fleet = with_a_failure();
    fleet.up(&["--tenant", "cat"]).run().ok();
    fleet.sql("DROP SCHEMA tenant_elk CASCADE");
    // A tenant that is missing is a number to be alerted on, no failure of who asks.
    fleet.run(["metrics"]).ok().snapshot("metrics");
    let document = fleet.run(["metrics", "-o", "json"]).ok().json();
    let tenants = &document["metrics"][0];
    assert_eq!(
        (&tenants["name"], &tenants["type"]),
        (&"tenantctl_tenants".into(), &"gauge".into())
    );
    assert_eq!(tenants["samples"].as_array().unwrap().len(), 3, "{tenants}");
    fleet.run(["migrate", "status", "--metrics-file", "f.prom"]).code(3);
    let written = fs::read_to_string(fleet.path("f.prom")).unwrap();
    assert_eq!(fleet.run(["metrics"]).ok().stdout(), written);
}

#[test]
fn the_status_of_a_fleet_is_a_histogram() {
    let ids: Vec<String> = (10..36).map(|id| format!("t{id}")).collect();
    let declared: String = ids
        .iter()
        .map(|id| format!("[[tenants]]\nid = \"{id}\"\nisolation = \"schema\"\n"))
        .collect();
    let fleet = Fleet::with(World::new(), &declared);
    let schemas: String = ids
        .iter()
        .filter(|id| *id != "t35")
        .map(|id| {
            format!(
                "CREATE ROLE tenant_{id}_owner; GRANT tenant_{id}_owner TO platform; \
                 CREATE SCHEMA tenant_{id} AUTHORIZATION tenant_{id}_owner;"
            )
        })
        .collect();
    fleet.sql(&schemas);
    fleet.up(&["--exclude", "t10"]).run().code(3);
    fleet.migration(TAGS.0, TAGS.1);
    let most = ["--exclude", "t10", "--exclude", "t11", "--exclude", "t12"];
    fleet.up(&most).run().code(3);
    let status = |args: &[&str]| {
        let status = fleet.tenantctl(["migrate", "status"]).args(args);
        status.env("COLUMNS", "80").run().code(3)
    };
    status(&[]).snapshot("migrate_status_of_a_fleet");
    let document = fleet.status(&[]).run().code(3).json();
    let versions: Vec<_> = document["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["version"].as_i64(), one["tenants"].as_i64().unwrap()))
        .collect();
    assert_eq!(versions, [(None, 1), (Some(1), 2), (Some(2), 22)]);
    assert_eq!(document["head"]["schema"], 2);
}
