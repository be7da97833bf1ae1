//! Snapshots of what a user sees, without what changes from run to run.
//!
//! Set `INSTA_UPDATE=always` to accept what the tests see.

use super::World;

/// What no two runs share, as regular expressions and what stands for it.
///
/// Durations are redacted only as messages write them, with a space (`240 ms`): `30s` is a
/// setting, and stays.
const VOLATILE: [(&str, &str); 9] = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[UUID]"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?", "[NOW]"),
    (r"\b\d+(\.\d+)? (µs|ms|s|min)\b", "[TIME]"),
    (r#""(\w+_ms)": ?\d+(\.\d+)?"#, r#""$1": "[TIME]""#),
    (r"(/[\w/.-]*)?/tenantctl-pg-\w{6}", "[SERVER]"),
    (r"(%2F[\w%.-]*)?%2Ftenantctl-pg-\w{6}", "[SERVER]"),
    (r"\b(pid[ =:]+)\d+", "$1[PID]"),
    (r"\b(127\.0\.0\.1|localhost):\d+", "$1:[PORT]"),
    (r"\bport=\d+", "port=[PORT]"),
];

/// The directories of a world.
pub(super) fn redactions_of(world: &World) -> Vec<(String, &'static str)> {
    let literal = |path: std::path::PathBuf| {
        let mut pattern = String::new();
        for character in path.to_string_lossy().chars() {
            if !character.is_alphanumeric() && character != '/' {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern
    };
    vec![(literal(world.work_dir()), "[WORK]"), (literal(world.home()), "[HOME]")]
}

/// Compares a text with the snapshot of that name.
#[track_caller]
pub(super) fn compare(name: &str, text: &str, redactions: &[(String, &'static str)]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, substitute) in redactions {
        settings.add_filter(pattern, *substitute);
    }
    for (pattern, substitute) in VOLATILE {
        settings.add_filter(pattern, substitute);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}
