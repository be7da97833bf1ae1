//! Who judges a design: tenantctl, and what else there is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tenantctl::audit::Severity;

use super::stage::Stage;

/// What a tool says about a design.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) claims: Vec<Claim>,
    pub(super) took: Duration,
    /// Why there is no answer.
    pub(super) broken: Option<String>,
}

/// One finding of any tool.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) rule: String,
    pub(super) severity: Severity,
    /// The objects that it names.
    pub(super) names: Vec<String>,
    /// Whether it was observed, not only read.
    pub(super) observed: bool,
    pub(super) message: String,
}

impl Claim {
    /// Whether it names one of these objects: quotes and argument lists aside.
    pub(super) fn names_one_of(&self, wanted: &[String]) -> bool {
        self.names.iter().any(|name| wanted.iter().any(|one| plain(one) == plain(name)))
    }
}

/// A name without quotes and arguments.
fn plain(name: &str) -> String {
    name.split('(').next().unwrap_or_default().replace('"', "")
}

/// `tenantctl verify-rls`, both engines.
pub(super) fn tenantctl(stage: &Stage) -> Answer {
    let started = Instant::now();
    let outcome = stage.world.run(["verify-rls", "-o", "json", "-q"]);
    let took = started.elapsed();
    let Ok(answer) = serde_json::from_str::<Value>(outcome.stdout()) else {
        return Answer { took, broken: Some(outcome.transcript()), ..Answer::default() };
    };
    let Some(findings) = answer["findings"].as_array() else {
        return Answer { took, broken: Some(outcome.transcript()), ..Answer::default() };
    };
    let claims = findings
        .iter()
        .map(|finding| Claim {
            rule: text(&finding["rule"]),
            severity: finding["severity"].as_str().unwrap().parse().unwrap(),
            names: [&finding["object"]["name"], &finding["object"]["parent"]]
                .into_iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            observed: finding["evidence"] == "probe",
            message: text(&finding["message"]),
        })
        .collect();
    Answer { claims, took, broken: None }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The engines that saw something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) read: bool,
    pub(super) tried: bool,
}

impl Seen {
    pub(super) fn by<'c>(claims: impl IntoIterator<Item = &'c Claim>) -> Self {
        let seen: BTreeSet<bool> = claims.into_iter().map(|claim| claim.observed).collect();
        Self { read: seen.contains(&false), tried: seen.contains(&true) }
    }

    pub(super) fn word(self) -> &'static str {
        match (self.read, self.tried) {
            (true, true) => "both",
            (true, false) => "static",
            (false, true) => "probe",
            (false, false) => "-",
        }
    }
}
