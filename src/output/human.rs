//! Answers for people: complete without colour, within the width of the screen.

use super::compared::compared;
use super::findings::findings;
use super::layout::{table, version};
use super::migration::migration;
use super::progress::duration;
use super::rollout::rollout;
use super::style::Style;
use crate::model::count;
use crate::report::{
    Configuration, Doctor, Health, Listed, Outcome, Planned, Provisioned, Report, Source, Tenants,
};

pub(super) fn render(report: &Report, style: &Style) -> String {
    match report {
        Report::Provisioned(answer) => provisioned(answer, style),
        Report::Planned(answer) => planned(answer, style),
        Report::Credentials(answer) => super::credentials::human(answer, style),
        Report::Settled(answer) => super::settled::human(answer, style),
        Report::Adopted(answer) => super::adopted::human(answer, style),
        Report::CredentialList(answer) => super::credentials::list(answer, style),
        Report::Tenants(answer) => tenants(answer, style),
        Report::Tenant(answer) => tenant(answer, style),
        Report::Migration(answer) => migration(answer, style),
        Report::Moved(answer) => super::moved::human(answer, style),
        Report::Erasing(answer) => super::erased::human(answer, style),
        Report::Moves(answer) => super::moved::moves(answer, style),
        Report::Runs(answer) => super::runs::runs(answer, style),
        Report::Run(answer) => super::runs::run(answer, style),
        Report::Pruned(answer) => super::pruned::human(answer, style),
        Report::Lived(answer) => super::lived::human(answer, style),
        Report::Log(answer) => super::trail::log(answer, style),
        Report::LogVerified(answer) => super::trail::verified(answer, style),
        Report::Metrics(answer) => super::metrics::fleet(answer),
        Report::Rewritten(answer) => super::rewritten::human(answer, style),
        Report::Rollout(answer) => rollout(answer, style),
        Report::Compared(answer) => compared(answer, style),
        Report::Findings(answer) => findings(answer, style),
        Report::Matrix(answer) => super::matrix::human(answer, style),
        Report::Rule(rule) => super::explained::human(rule, style),
        Report::Rules(rules) => super::explained::list(rules, style),
        Report::Linted(answer) => super::linted::human(answer, style),
        Report::NewMigration(answer) => super::new_migration::human(answer, style),
        Report::Doctor(answer) => doctor(answer, style),
        Report::Configuration(answer) => configuration(answer, style),
        Report::Demo(answer) => super::demo::closing(answer, style),
        Report::Drill(answer) => super::drilled::human(answer, style),
        Report::Transferred(answer) => super::transferred::human(answer, style),
        Report::Text(text) => text.clone(),
    }
}

fn provisioned(answer: &Provisioned, style: &Style) -> String {
    let tenant = &answer.tenant;
    let id = style.strong(tenant.id.as_str());
    let took = duration(answer.took);
    let mut text = match answer.outcome {
        Outcome::Created => format!("created tenant {id} in {took}\n"),
        Outcome::Finished => format!("finished tenant {id} in {took}\n"),
        Outcome::Repaired => {
            format!("put right {} of tenant {id} in {took}\n", count(answer.steps.len(), "thing"))
        }
        Outcome::Unchanged => format!("nothing to do: tenant {id} is as it should be\n"),
    };
    text.push_str(&facts(&Listed::new(tenant.clone(), answer.version, None)));
    for credential in &answer.credentials {
        // Only `-o json` shows a password; people get a file.
        text.push_str(&format!("  {:<10} {}\n", "password", credential.role));
    }
    if let Some(file) = &answer.credentials_file {
        text.push_str(&format!("  {:<10} written to {} (0600)\n", "password", file.display()));
    }
    for note in &answer.notes {
        text.push_str(&format!("{}: {note}\n", style.attention("note")));
    }
    text
}

fn facts(listed: &Listed) -> String {
    let tenant = &listed.tenant;
    let roles: Vec<&str> = tenant.roles.iter().map(crate::model::ident::Ident::as_str).collect();
    let mut facts = vec![
        ("uuid", tenant.uuid.to_string()),
        ("isolation", tenant.isolation.to_string()),
        ("cluster", tenant.placement.cluster.to_string()),
        ("database", tenant.placement.database.as_str().to_owned()),
        ("schema", tenant.placement.schema.as_str().to_owned()),
        ("role", roles.join(", ")),
        ("version", version(listed.version)),
        ("state", tenant.state.to_string()),
    ];
    let optional = [("tier", &tenant.tier), ("region", &tenant.region), ("unread", &listed.unread)];
    for (name, value) in optional {
        facts.extend(value.as_ref().map(|value| (name, value.clone())));
    }
    if tenant.key != tenant.uuid.to_string() {
        facts.push(("key", tenant.key.clone()));
    }
    if !tenant.labels.is_empty() {
        let labels: Vec<String> =
            tenant.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        facts.push(("labels", labels.join(" ")));
    }
    if let Some(password) = &listed.password {
        facts.push(("password", super::credentials::known(password)));
    }
    facts.iter().map(|(name, value)| format!("  {name:<10} {value}\n")).collect()
}

fn tenant(listed: &Listed, style: &Style) -> String {
    format!("{}\n{}", style.strong(listed.tenant.id.as_str()), facts(listed))
}

/// A column's name, whether it is shown, and what it says of a tenant.
type Column = (&'static str, bool, fn(&Listed) -> String);

fn tenants(answer: &Tenants, style: &Style) -> String {
    if answer.tenants.is_empty() {
        return "no tenants\nmake one with: tenantctl create acme\n".to_owned();
    }
    // A column that says the same of every tenant only takes room.
    let first = answer.tenants.first().map(|listed| &listed.tenant.placement.cluster);
    let clusters =
        answer.tenants.iter().any(|listed| Some(&listed.tenant.placement.cluster) != first);
    let tiers = answer.tenants.iter().any(|listed| listed.tenant.tier.is_some());
    let ages = answer.tenants.iter().any(|listed| listed.password.is_some());
    let columns: [Column; 9] = [
        ("id", true, |listed| listed.tenant.id.to_string()),
        ("isolation", true, |listed| listed.tenant.isolation.to_string()),
        ("cluster", clusters, |listed| listed.tenant.placement.cluster.to_string()),
        ("database", true, |listed| listed.tenant.placement.database.as_str().to_owned()),
        ("schema", true, |listed| listed.tenant.placement.schema.as_str().to_owned()),
        ("tier", tiers, |listed| listed.tenant.tier.clone().unwrap_or_else(|| "-".to_owned())),
        ("version", true, |listed| match &listed.unread {
            Some(_) => "?".to_owned(),
            None => version(listed.version),
        }),
        ("password", ages, |listed| super::credentials::known_age(listed.password.as_ref())),
        ("state", true, |listed| listed.tenant.state.to_string()),
    ];
    let shown = || columns.iter().filter(|(_, shown, _)| *shown);
    let header: Vec<&str> = shown().map(|(name, ..)| *name).collect();
    let rows = answer
        .tenants
        .iter()
        .map(|listed| shown().map(|(_, _, cell)| cell(listed)).collect())
        .collect();
    let mut text = table(&header, rows, style);
    if answer.source == Source::Declared {
        text.push_str("from tenants.toml: there is no registry\n");
    }
    let mut unread: Vec<&String> =
        answer.tenants.iter().filter_map(|listed| listed.unread.as_ref()).collect();
    unread.sort_unstable();
    unread.dedup();
    for error in unread {
        text.push_str(&format!("{}: {error}\n", style.attention("version unknown")));
    }
    text
}

fn planned(answer: &Planned, style: &Style) -> String {
    let id = style.strong(answer.tenant.id.as_str());
    if answer.steps.is_empty() {
        let mut text = format!("nothing to do: tenant {id} is as it should be\n");
        text.push_str(&notes(&answer.notes, style));
        return text;
    }
    let mut text = format!(
        "plan for tenant {id} ({} at {}), nothing is done:\n",
        answer.tenant.isolation, answer.tenant.placement
    );
    let mut site = "";
    for (at, step) in answer.steps.iter().enumerate() {
        if site != step.site {
            site = &step.site;
            text.push_str(&format!("\n{}\n", style.faint(&format!("-- {site}"))));
        }
        let mut hazards = String::new();
        for hazard in &step.hazards {
            hazards.push_str(&format!(" [{}]", style.attention(hazard.word())));
        }
        text.push_str(&format!("{:>3}. {}{hazards}\n", at + 1, step.what));
        for statement in &step.statements {
            text.push_str(&format!("     {}\n", style.faint(&format!("{statement};"))));
        }
    }
    text.push('\n');
    text.push_str(&notes(&answer.notes, style));
    let hazards: Vec<&str> = answer.hazards.iter().map(|hazard| hazard.word()).collect();
    let hazards = if hazards.is_empty() { "none".to_owned() } else { hazards.join(", ") };
    text.push_str(&format!("{}, hazards: {hazards}\n", count(answer.steps.len(), "step")));
    text
}

fn notes(notes: &[String], style: &Style) -> String {
    notes.iter().map(|note| format!("{}: {note}\n", style.attention("note"))).collect()
}

fn doctor(answer: &Doctor, style: &Style) -> String {
    let mut text = String::new();
    let mut subject = None;
    for check in &answer.checks {
        if subject != Some(&check.subject) {
            text.push_str(&format!("{}\n", style.strong(&check.subject)));
            subject = Some(&check.subject);
        }
        let word = match check.health {
            Health::Ok => style.good("ok     "),
            Health::Warning => style.attention("warning"),
            Health::Failed => style.bad("failed "),
        };
        text.push_str(&format!("  {word}  {}: {}\n", check.name, check.detail));
        if let Some(hint) = &check.hint {
            text.push_str(&format!("           {}: {hint}\n", style.attention("hint")));
        }
    }
    let of = |health| answer.checks.iter().filter(|check| check.health == health).count();
    text.push_str(&format!(
        "{}, {}, {} failed\n",
        count(answer.checks.len(), "check"),
        count(of(Health::Warning), "warning"),
        of(Health::Failed)
    ));
    text
}

/// What a value's origin is called when it is the configuration file.
const FILE_ITSELF: &str = "the file";

fn configuration(answer: &Configuration, style: &Style) -> String {
    let file = answer.file.as_ref().map_or_else(
        || "none: a URL or the environment names the only cluster".to_owned(),
        |path| path.display().to_string(),
    );
    let mut text = format!("file  {file}\n");
    for cluster in &answer.clusters {
        text.push_str(&format!("\n{}", style.strong(&format!("cluster {}", cluster.name))));
        if let Some(region) = &cluster.region {
            text.push_str(&format!(", region {region}"));
        }
        text.push_str(&format!(", up to {}\n", count(cluster.max_connections, "connection")));
        let rows = cluster
            .parameters
            .iter()
            .map(|shown| {
                let origin = shown.origin.to_string();
                // The file's path stands above already.
                let origin = if origin == file { FILE_ITSELF.to_owned() } else { origin };
                vec![shown.parameter.to_owned(), shown.value.clone(), origin]
            })
            .collect();
        text.push_str(&table(&["parameter", "value", "from"], rows, style));
        for warning in &cluster.warnings {
            text.push_str(&format!("{}: {warning}\n", style.attention("warning")));
        }
    }
    text.push('\n');
    let rows = answer
        .values
        .iter()
        .map(|shown| vec![shown.path.clone(), shown.value.clone(), shown.origin.to_string()])
        .collect();
    text.push_str(&table(&["setting", "value", "from"], rows, style));
    text
}
