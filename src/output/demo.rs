//! The demo for people: scenes as they happen, then what came of it.

use super::progress::duration;
use super::style::Style;
use super::{findings, human};
use crate::model::count;
use crate::model::tenant::{Isolation, Tenant};
use crate::report::{Demo, End, Kept, Outcome, Provisioned, Report, Scene, Trial, Verified};

/// How far the scenes of a chapter stand to the right.
const INDENT: &str = "  ";

/// From here on two columns of text stand side by side.
const WIDE: usize = 78;

/// One scene, on lines of its own.
pub fn scene(scene: &Scene, style: &Style) -> String {
    match scene {
        Scene::Chapter(title) => format!("\n{}\n", style.strong(title)),
        Scene::Server { version, directory, took } => {
            let text = format!(
                "PostgreSQL {version}, started in {}\nin {}, without a TCP port\n",
                duration(*took),
                directory.display()
            );
            indented(&text)
        }
        Scene::Prepared { statement, why } => {
            beside(&format!("{statement};"), &format!("-- {why}"), style)
        }
        Scene::File { path, what } => beside(&path.display().to_string(), what, style),
        Scene::Command { line, answer, .. } => command(line, answer, style),
        Scene::Trial(trial) => self::trial(trial, style),
    }
}

/// A text and, where there is room, a remark on it.
fn beside(text: &str, remark: &str, style: &Style) -> String {
    let width = INDENT.len() + console::measure_text_width(text) + 2 + remark.len();
    if width > style.width {
        return format!("{INDENT}{text}\n");
    }
    format!("{INDENT}{text}  {}\n", style.faint(remark))
}

fn command(line: &str, answer: &Report, style: &Style) -> String {
    let prompt = format!("{INDENT}{} {}\n", style.faint("$"), style.strong(line));
    let text = match answer {
        Report::Provisioned(answer) => provisioned(answer),
        Report::Findings(answer) => audited(answer, &style.narrower(2 * INDENT.len())),
        other => human::render(other, &style.narrower(2 * INDENT.len())),
    };
    prompt + &indented(&indented(&text))
}

/// `create` in two lines: the demo shows four.
fn provisioned(answer: &Provisioned) -> String {
    let word = match answer.outcome {
        Outcome::Created => "created",
        Outcome::Finished => "finished",
        Outcome::Repaired => "put right",
        Outcome::Unchanged => "nothing to do",
    };
    let version = answer.version.map_or_else(String::new, |version| format!(", now at V{version}"));
    let tenant = &answer.tenant;
    format!(
        "{word} in {}: {}{version}\n{}\n",
        duration(answer.took),
        count(answer.steps.len(), "step"),
        place(tenant)
    )
}

/// `verify-rls` without the list of what it could not probe: the demo shows it three times.
fn audited(answer: &Verified, style: &Style) -> String {
    let mut text = findings::found(answer, style);
    let silent = answer.report.not_probed.len();
    if silent > 0 {
        text.push_str(&format!("{} not probed; verify-rls says which\n", count(silent, "attempt")));
    }
    text
}

fn place(tenant: &Tenant) -> String {
    let (placement, role) = (&tenant.placement, tenant.role());
    match tenant.isolation {
        Isolation::Database => format!("database {}, role {role}", placement.database),
        Isolation::Schema => format!("schema {}, role {role}", placement.schema),
        Isolation::Shared => {
            format!("rows in schema {} behind row-level security, role {role}", placement.schema)
        }
    }
}

fn trial(trial: &Trial, style: &Style) -> String {
    let mark = if trial.held { style.good("✓") } else { style.bad("✗") };
    let outcome = if trial.sqlstate.is_some() { "refused" } else { &trial.answer };
    let outcome = if trial.held { outcome.to_owned() } else { style.bad(outcome) };
    // What counts is the last statement that does something.
    let ends_nothing = |statement: &&String| *statement != "COMMIT";
    let spoken = trial.statements.iter().rfind(ends_nothing).map_or("", String::as_str);
    let tenant = trial.tenant.as_ref().map_or_else(String::new, |tenant| format!(" for {tenant}"));
    let mut detail = vec![format!("{}{tenant}> {spoken}", trial.role)];
    if let Some(sqlstate) = &trial.sqlstate {
        detail.push(format!("ERROR {sqlstate}: {}", trial.answer));
    }
    // What does not fit is cut: `-o json` has it whole.
    let room = style.width.saturating_sub(INDENT.len() * 2);
    let detail: String = detail
        .iter()
        .map(|line| style.faint(&console::truncate_str(line, room, "…")) + "\n")
        .collect();
    format!("{INDENT}{mark} {}: {outcome}\n{}", trial.claim, indented(&indented(&detail)))
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{INDENT}{line}\n") })
        .collect()
}

/// What came of the demo, and what to do next.
pub(super) fn closing(demo: &Demo, style: &Style) -> String {
    let trials = demo.trials().count();
    let held = demo.trials().filter(|trial| trial.held).count();
    let created = demo
        .scenes
        .iter()
        .filter(|scene| matches!(scene, Scene::Command { answer: Report::Provisioned(_), .. }));
    let verdict = format!("{held} of {trials} attempts ended as isolation promises");
    let verdict = if held == trials { style.good(&verdict) } else { style.bad(&verdict) };
    let mut text = format!(
        "{INDENT}{} in 3 models in {}\n{INDENT}{verdict}\n",
        count(created.count(), "tenant"),
        duration(demo.took)
    );
    match &demo.end {
        End::Removed => {
            text.push_str(&format!("{INDENT}the server is stopped, and its files are removed\n"));
            text.push_str(&next(demo, style));
        }
        End::Left(directory) => text.push_str(&format!(
            "{INDENT}{}: the server is stopped, and {} is left behind\n",
            style.attention("warning"),
            directory.display()
        )),
        End::Kept(kept) => text.push_str(&self::kept(demo, kept, style)),
    }
    text
}

fn next(demo: &Demo, style: &Style) -> String {
    let lines = [
        ("tenantctl demo --keep", "the same, and the server stays"),
        ("export DATABASE_URL=…", "your own: postgres://user@host/database"),
        ("tenantctl doctor", "what works there, and what is missing"),
        ("tenantctl create acme --dry-run", "the plan and its SQL; nothing is done"),
    ];
    let mut text = format!("\n{}\n{}", style.strong("What next"), alias(demo));
    for (command, what) in lines {
        let what = style.faint(what);
        if style.width < WIDE {
            text.push_str(&format!("{INDENT}{command}\n{INDENT}{INDENT}{what}\n"));
        } else {
            text.push_str(&format!("{INDENT}{command:<34}{what}\n"));
        }
    }
    text
}

/// Makes the following lines work where the program is not installed.
fn alias(demo: &Demo) -> String {
    demo.program
        .as_ref()
        .map_or_else(String::new, |path| format!("{INDENT}alias tenantctl={}\n", path.display()))
}

fn kept(demo: &Demo, kept: &Kept, style: &Style) -> String {
    let mut text =
        format!("{INDENT}the server runs on: process {}, {}\n", kept.pid, kept.directory.display());
    text.push_str(&format!("\n{}\n{}", style.strong("Use it"), alias(demo)));
    text.push_str(&format!("{INDENT}export TENANTCTL_CONFIG={}\n", kept.config.display()));
    for command in ["tenantctl list", "tenantctl create echo --dry-run", "tenantctl migrate status"]
    {
        text.push_str(&format!("{INDENT}{command}\n"));
    }
    text.push_str(&format!("\n{}\n", style.strong("Connect")));
    text.push_str(&format!(
        "{INDENT}{}\n",
        style.faint("# the operator; tenantctl needs no more than this")
    ));
    text.push_str(&format!("{INDENT}export DATABASE_URL='{}'\n", kept.operator));
    for tenant in &kept.tenants {
        let remark = match tenant.isolation {
            Isolation::Shared => {
                format!("# {}: BEGIN; SET LOCAL app.tenant_id = '{}';", tenant.id, tenant.key)
            }
            Isolation::Schema | Isolation::Database => {
                format!("# {}, as its application", tenant.id)
            }
        };
        text.push_str(&format!("{INDENT}{}\n", style.faint(&remark)));
        text.push_str(&format!("{INDENT}psql '{}'\n", tenant.url));
    }
    text.push_str(&format!("\n{}\n", style.strong("Stop it, and remove its files")));
    text.push_str(&format!("{INDENT}{}\n", kept.stop));
    text
}
