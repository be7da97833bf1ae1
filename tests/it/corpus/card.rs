//! The scorecard, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tenantctl::audit::Severity;
use tenantctl::pg::server::Version;

use super::design::{Mechanism, Model};
use super::score::{Judged, Share, Verdict, accused, coverage, precision, recall};
use super::stage::Auditor;

/// How one tool did on one server.
pub(super) fn card(
    version: &Version,
    auditor: Auditor,
    results: &[Judged],
    mechanisms: &BTreeMap<String, Mechanism>,
) -> String {
    let mut text = String::new();
    let who = match auditor {
        Auditor::Superuser => "a superuser",
        Auditor::Operator => "an operator (CREATEROLE, member of the application's roles)",
    };
    let took: Duration = results.iter().map(|result| result.took).sum();
    let count = results.len();
    writeln!(text, "## PostgreSQL {version}, as {who}\n").unwrap();
    writeln!(
        text,
        "{count} designs; {:.0} ms each.\n",
        took.as_secs_f64() * 1000.0 / f64::from(u32::try_from(count.max(1)).unwrap())
    )
    .unwrap();
    writeln!(text, "| | recall, critical and high | medium found | sound accused | precision |")
        .unwrap();
    writeln!(text, "|---|---|---|---|---|").unwrap();
    row(&mut text, "all", results, |_| true);
    for model in [Model::Shared, Model::Schema, Model::Database] {
        row(&mut text, model.word(), results, |result| result.model == model);
    }
    row(&mut text, "names of tenantctl", results, |result| result.managed);
    row(&mut text, "names of others", results, |result| !result.managed);
    row(&mut text, "tuned on", results, |result| !result.held_out);
    row(&mut text, "held out", results, |result| result.held_out);
    writeln!(text, "\n| severity | found |\n|---|---|").unwrap();
    for severity in [Severity::Critical, Severity::High, Severity::Medium] {
        let of = results
            .iter()
            .filter(|result| result.leak.as_ref().is_some_and(|(_, wanted)| *wanted == severity));
        writeln!(text, "| {severity} | {} |", Share::of(of, Judged::caught)).unwrap();
    }
    writeln!(text, "\n| mechanism | designs | found | seen by |\n|---|---|---|---|").unwrap();
    for (id, one) in coverage(mechanisms, results) {
        let what = format!("{} {id}: {}", one.mechanism.group, one.mechanism.title);
        match &one.mechanism.absent {
            Some(why) => writeln!(text, "| {what} | - | - | {why} |").unwrap(),
            None => {
                writeln!(
                    text,
                    "| {what} | {} | {} | {} |",
                    one.designs,
                    one.found,
                    one.seen.word()
                )
                .unwrap();
            }
        }
    }
    let wrong: Vec<_> = results.iter().filter(|result| result.wrong()).collect();
    if !wrong.is_empty() {
        writeln!(text, "\nMissed, made light of, or accused:\n").unwrap();
        for result in wrong {
            writeln!(text, "- {}", result.line()).unwrap();
        }
    }
    text.push('\n');
    text
}

fn row(text: &mut String, name: &str, results: &[Judged], belongs: impl Fn(&Judged) -> bool) {
    let some: Vec<&Judged> = results.iter().filter(|result| belongs(result)).collect();
    let medium = some.iter().copied().filter(|result| !result.sound() && !result.grave());
    writeln!(
        text,
        "| {name} | {} | {} | {} | {} |",
        recall(some.iter().copied()),
        Share::of(medium, Judged::caught),
        accused(some.iter().copied()),
        precision(some.iter().copied()),
    )
    .unwrap();
}

/// Several tools on the same designs.
pub(super) fn beside(tools: &[(&str, Vec<Judged>)]) -> String {
    let mut text = String::new();
    let count = tools.first().map_or(0, |(_, results)| results.len());
    writeln!(text, "{count} designs.\n").unwrap();
    writeln!(
        text,
        "| | recall, critical and high | medium found | sound accused | precision | ms each |"
    )
    .unwrap();
    writeln!(text, "|---|---|---|---|---|---|").unwrap();
    for (name, results) in tools {
        write_tool(&mut text, name, &results.iter().collect::<Vec<_>>());
    }
    for model in [Model::Shared, Model::Schema, Model::Database] {
        for (name, results) in tools {
            let some: Vec<&Judged> = results.iter().filter(|one| one.model == model).collect();
            write_tool(&mut text, &format!("{}: {name}", model.word()), &some);
        }
    }
    for (name, results) in tools {
        let broken = results.iter().filter(|one| matches!(one.verdict, Verdict::Broken(_)));
        for result in broken {
            writeln!(text, "\n{name} gave no answer: {}", result.line()).unwrap();
        }
    }
    text
}

fn write_tool(text: &mut String, name: &str, results: &[&Judged]) {
    let took: Duration = results.iter().map(|result| result.took).sum();
    let medium = results.iter().copied().filter(|result| !result.sound() && !result.grave());
    let count = f64::from(u32::try_from(results.len().max(1)).unwrap());
    writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {:.0} |",
        recall(results.iter().copied()),
        Share::of(medium, Judged::caught),
        accused(results.iter().copied()),
        precision(results.iter().copied()),
        took.as_secs_f64() * 1000.0 / count,
    )
    .unwrap();
}
