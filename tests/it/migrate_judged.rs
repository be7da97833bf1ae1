//! What `migrate up` refuses before it touches anything: files that break the standards, and plans
//! that no longer hold.

use crate::fleet::{Fleet, statuses};

const TITLE: &str = "ALTER TABLE notes ADD COLUMN title text;\n";

#[test]
fn files_that_break_the_standards_are_refused_unless_they_are_allowed() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.create("fox", "database");
    fleet.migration("V2__title.sql", TITLE);
    fleet.migration("V3__drop.sql", "ALTER TABLE notes DROP COLUMN title;\n");
    let up = |args: &[&str]| fleet.tenantctl(["migrate", "up"]).args(args).run();
    let refused = up(&[]).code(4);
    for said in ["V3__drop.sql:1", "ban-drop-column", "--allow-lint", "tenantctl:allow RULE"] {
        assert!(refused.stderr().contains(said), "{said}: {}", refused.transcript());
    }
    // Nothing was touched, and no run was begun.
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    fleet.tenantctl(["runs", "show", "last"]).run().code(1);
    // Only what is pending is judged.
    up(&["--to", "2"]).ok();
    up(&["--allow-lint"]).ok();
    assert_eq!(fleet.history("tenant_dog"), ["1 notes", "2 title", "3 drop"]);

    // A database of its own is judged when it is visited.
    fleet.migration("V4__drop.sql", "DROP TABLE notes;\n");
    let only = up(&["--tenant", "fox"]).code(4);
    assert!(only.transcript().contains("V4__drop.sql"), "{}", only.transcript());
    let reason = "-- tenantctl:allow ban-drop-table nobody reads it any more\n";
    fleet.migration("V4__drop.sql", &format!("{reason}DROP TABLE notes;\n"));
    up(&[]).ok();
}

#[test]
fn a_plan_is_followed_or_refused_when_anything_has_moved() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration("V2__title.sql", TITLE);
    let plan = |args: &[&str]| {
        fleet.tenantctl(["migrate", "plan", "-O", "plan.json"]).args(args).run().ok();
    };
    let follow = || fleet.tenantctl(["migrate", "up", "plan.json", "-o", "json"]).run();
    plan(&["--exclude", "elk"]);
    assert_eq!(statuses(&follow().ok()), ["cat applied", "dog applied"]);
    assert_eq!(fleet.history("tenant_elk"), ["1 notes"]);
    // What it was made for is done.
    let stale = follow().code(4);
    assert!(stale.transcript().contains("cat"), "{}", stale.transcript());

    plan(&[]);
    fleet.migration("V2__title.sql", &TITLE.replace("text", "varchar"));
    follow().code(4);
    fleet.migration("V2__title.sql", TITLE);
    fleet.migration("V3__more.sql", "CREATE TABLE more (id uuid PRIMARY KEY);\n");
    let stale = follow().code(4);
    assert!(stale.transcript().contains("V3__more"), "{}", stale.transcript());
    assert_eq!(fleet.history("tenant_elk"), ["1 notes"]);
    plan(&[]);
    assert_eq!(statuses(&follow().ok()), ["cat applied", "dog applied", "elk applied"]);
}
