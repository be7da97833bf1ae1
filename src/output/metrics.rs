//! How the fleet stands as metrics, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::json::FORMAT;
use crate::report::{MigrationRun, Status, TargetReport, Verb, Verdict};

/// Metrics of one name.
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<Sample>,
}

/// A value and what tells it from the others of its name.
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Family {
    fn new(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, samples }
    }

    fn single(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(name, help, vec![Sample { labels: Vec::new(), value }])
    }
}

/// How the tenants of an answer stand: `tenantctl metrics`.
pub(super) fn fleet(answer: &MigrationRun) -> String {
    text(&fleet_families(answer))
}

/// As [`fleet`], for scripts.
pub(super) fn fleet_json(answer: &MigrationRun) -> Value {
    let families: Vec<Value> = fleet_families(answer)
        .iter()
        .map(|family| {
            let sample = |sample: &Sample| {
                let labels: BTreeMap<&str, &str> =
                    sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                json!({"labels": labels, "value": sample.value})
            };
            json!({
                "name": family.name,
                "help": family.help,
                "type": TYPE,
                "samples": family.samples.iter().map(sample).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"format": FORMAT, "metrics": families})
}

/// What `--metrics-file` keeps of a command: how the tenants stand, and how the run went.
pub(super) fn of_command(
    answer: Result<&MigrationRun, &anyhow::Error>,
    verdict: Option<Verdict>,
    took: Duration,
    ended: jiff::Timestamp,
) -> String {
    let mut families = answer.map(fleet_families).unwrap_or_default();
    let is_run = answer.map_or(true, |answer| answer.verb == Verb::Up && !answer.check);
    if is_run {
        families.extend(answer.ok().map(run_targets));
        families.push(Family::single(
            "tenantctl_run_success",
            "Whether the last run did all that it was asked for.",
            f64::from(u8::from(verdict == Some(Verdict::Done))),
        ));
        families.push(Family::single(
            "tenantctl_run_duration_seconds",
            "How long the last run took.",
            took.as_secs_f64(),
        ));
        families.push(Family::single(
            "tenantctl_run_timestamp_seconds",
            "When the last run ended, in seconds since 1970.",
            ended.as_duration().as_secs_f64(),
        ));
    }
    text(&families)
}

fn fleet_families(answer: &MigrationRun) -> Vec<Family> {
    let mut tenants: BTreeMap<[String; 4], usize> = BTreeMap::new();
    for target in &answer.targets {
        let key = [
            target.placement.cluster.to_string(),
            target.isolation.to_string(),
            standing(target.status).to_owned(),
            version(target),
        ];
        *tenants.entry(key).or_default() += 1;
    }
    let tenants = tenants
        .into_iter()
        .map(|([cluster, isolation, status, version], number)| Sample {
            labels: vec![
                ("cluster", cluster),
                ("isolation", isolation),
                ("status", status),
                ("version", version),
            ],
            value: whole(number),
        })
        .collect();
    let heads = answer.heads.iter().map(|(isolation, head)| Sample {
        labels: vec![("isolation", isolation.to_string())],
        #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other number")]
        value: head.0 as f64,
    });
    vec![
        Family::new(
            "tenantctl_tenants",
            "Tenants by cluster, isolation model, status and version.",
            tenants,
        ),
        Family::new(
            "tenantctl_migrations_head",
            "The newest version of the migration files.",
            heads.collect(),
        ),
    ]
}

/// How a tenant stands, whether or not a run has just brought it there.
fn standing(status: Status) -> &'static str {
    match status {
        Status::Applied => Status::UpToDate.word(),
        other => other.word(),
    }
}

fn version(target: &TargetReport) -> String {
    match target.to {
        Some(version) => version.to_string(),
        None if target.version_is_known() => "none".to_owned(),
        None => "unknown".to_owned(),
    }
}

/// Every status, also those that no target has: a series that comes and goes cannot be alerted on.
fn run_targets(answer: &MigrationRun) -> Family {
    let samples = Status::ALL
        .iter()
        .map(|status| Sample {
            labels: vec![("status", status.word().to_owned())],
            value: whole(answer.targets.iter().filter(|target| target.status == *status).count()),
        })
        .collect();
    Family::new("tenantctl_run_targets", "Tenants of the last run by what came of them.", samples)
}

#[expect(clippy::cast_precision_loss, reason = "no fleet has 2^52 tenants")]
fn whole(number: usize) -> f64 {
    number as f64
}

/// All are values of this moment.
const TYPE: &str = "gauge";

fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, help, samples } in families {
        if samples.is_empty() {
            continue;
        }
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {TYPE}\n"));
        for Sample { labels, value } in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::{failed, row};
    use super::*;
    use crate::model::migration::Version;
    use crate::model::tenant::Isolation;

    fn answer() -> MigrationRun {
        let mut cat = row("cat", Status::Applied);
        cat.to = Some(Version(2));
        let mut elk = row("elk", Status::UpToDate);
        elk.to = Some(Version(2));
        let mut fox = row("fox", Status::Pending);
        fox.pending = vec![Version(2)];
        let gone = row("gnu", Status::Missing);
        let mut run = MigrationRun::new(Verb::Up, vec![cat, elk, fox, gone, failed("dog", "tags")]);
        run.heads.insert(Isolation::Schema, Version(2));
        run
    }

    #[test]
    fn a_run_in_the_text_format() {
        let ended = jiff::Timestamp::from_millisecond(1_790_000_000_250).unwrap();
        let took = Duration::from_millis(1_500);
        let text = of_command(Ok(&answer()), Some(Verdict::Partial), took, ended);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_run_that_never_began_says_so() {
        let error = anyhow::anyhow!("no server");
        let text = of_command(Err(&error), None, Duration::ZERO, jiff::Timestamp::UNIX_EPOCH);
        assert!(text.contains("\ntenantctl_run_success 0\n"), "{text}");
        assert!(!text.contains("tenantctl_tenants"), "{text}");
    }

    #[test]
    fn a_status_is_no_run() {
        let mut answer = answer();
        answer.verb = Verb::Status;
        let text = of_command(Ok(&answer), None, Duration::ZERO, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(text, fleet(&answer));
        assert!(!text.contains("_run_"), "{text}");
    }

    #[test]
    fn labels_cannot_break_out() {
        let sample = Sample { labels: vec![("cluster", "a\"b\\c\nd".to_owned())], value: 1.0 };
        let text = text(&[Family::new("x", "An x.", vec![sample])]);
        assert_eq!(text, "# HELP x An x.\n# TYPE x gauge\nx{cluster=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
