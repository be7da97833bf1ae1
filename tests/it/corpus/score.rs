//! What was found and what was not, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use tenantctl::audit::Severity;

use super::design::{Design, Family, Mechanism, Model};
use super::tool::{Answer, Seen};

/// How a tool did on one design.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) family: String,
    pub(super) design: String,
    pub(super) model: Model,
    pub(super) managed: bool,
    pub(super) held_out: bool,
    /// The leak's mechanism and the least that it must be called; none for a sound design.
    pub(super) leak: Option<(String, Severity)>,
    pub(super) names: Vec<String>,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

/// Whether a tool was right.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The leak is named, as grave as it is.
    Found(Seen),
    /// The leak is named, and made light of.
    Light(Severity),
    /// The leak is not named; what is said instead.
    Missed(Vec<String>),
    /// The sound design is left alone; findings below `high` do not count.
    Quiet,
    /// The sound design is accused.
    Accused(Vec<String>),
    /// There was no answer.
    Broken(String),
}

impl Judged {
    /// Whether a leak that must be found was.
    pub(super) fn caught(&self) -> bool {
        matches!(self.verdict, Verdict::Found(_))
    }

    pub(super) fn grave(&self) -> bool {
        self.leak.as_ref().is_some_and(|(_, wanted)| *wanted >= Severity::High)
    }

    pub(super) fn sound(&self) -> bool {
        self.leak.is_none()
    }

    pub(super) fn accused(&self) -> bool {
        self.sound() && matches!(self.verdict, Verdict::Accused(_))
    }

    /// Whether somebody must look at it.
    pub(super) fn wrong(&self) -> bool {
        !matches!(self.verdict, Verdict::Found(_) | Verdict::Quiet)
    }

    pub(super) fn line(&self) -> String {
        let what = match &self.leak {
            Some((mechanism, wanted)) => format!("{wanted} {mechanism}"),
            None => "sound".to_owned(),
        };
        let got = match &self.verdict {
            Verdict::Found(seen) => format!("found ({})", seen.word()),
            Verdict::Light(severity) => format!("only {severity}"),
            Verdict::Missed(said) if said.is_empty() => "missed".to_owned(),
            Verdict::Missed(said) => format!("missed; said {}", said.join("; ")),
            Verdict::Quiet => "quiet".to_owned(),
            Verdict::Accused(said) => format!("accused: {}", said.join("; ")),
            Verdict::Broken(why) => format!("no answer: {why}"),
        };
        format!("{}/{} [{what}; {}]: {got}", self.family, self.design, self.names.join(" or "))
    }
}

/// Compares an answer with the truth.
pub(super) fn judge(family: &Family, design: &Design, answer: &Answer) -> Judged {
    let said = || {
        answer
            .claims
            .iter()
            .filter(|claim| claim.severity >= Severity::High)
            .map(|claim| format!("{} {} {}", claim.severity, claim.rule, claim.names.join("/")))
            .collect::<Vec<_>>()
    };
    let verdict = if let Some(why) = &answer.broken {
        Verdict::Broken(why.clone())
    } else if let Some(wanted) = design.wanted() {
        // Between critical and high judgement may differ, not between them and the rest.
        let least = wanted.min(Severity::High);
        let named: Vec<_> = answer
            .claims
            .iter()
            .filter(|claim| claim.names_one_of(&design.names))
            .filter(|claim| design.rules.is_empty() || design.rules.contains(&claim.rule))
            .collect();
        let enough: Vec<_> =
            named.iter().filter(|claim| claim.severity >= least).copied().collect();
        match named.iter().map(|claim| claim.severity).max() {
            None => Verdict::Missed(said()),
            Some(highest) if enough.is_empty() => Verdict::Light(highest),
            Some(_) => Verdict::Found(Seen::by(enough)),
        }
    } else {
        let said = answer.claims.iter().filter(|claim| claim.severity >= Severity::High);
        let said: Vec<_> = said
            .map(|claim| {
                let names = claim.names.join("/");
                format!("{} {} {names}: {}", claim.severity, claim.rule, claim.message)
            })
            .collect();
        if said.is_empty() { Verdict::Quiet } else { Verdict::Accused(said) }
    };
    Judged {
        family: family.name.clone(),
        design: design.name.clone(),
        model: family.model,
        managed: family.managed,
        held_out: family.held_out,
        leak: design.leak.clone().zip(design.wanted()),
        names: design.names.clone(),
        verdict,
        took: answer.took,
    }
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) part: usize,
    pub(super) whole: usize,
}

impl Share {
    pub(super) fn of<'r>(
        results: impl IntoIterator<Item = &'r Judged>,
        holds: impl Fn(&Judged) -> bool,
    ) -> Self {
        let mut share = Self::default();
        for result in results {
            share.whole += 1;
            share.part += usize::from(holds(result));
        }
        share
    }

    /// From 0 to 1; of nothing, all.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    pub(super) fn ratio(self) -> f64 {
        if self.whole == 0 { 1.0 } else { self.part as f64 / self.whole as f64 }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.whole == 0 {
            return f.pad("-");
        }
        f.pad(&format!("{}/{} ({:.0} %)", self.part, self.whole, self.ratio() * 100.0))
    }
}

/// Leaks of `high` and `critical` that were found.
pub(super) fn recall<'r>(results: impl IntoIterator<Item = &'r Judged>) -> Share {
    Share::of(results.into_iter().filter(|result| result.grave()), Judged::caught)
}

/// Sound designs that were accused.
pub(super) fn accused<'r>(results: impl IntoIterator<Item = &'r Judged>) -> Share {
    Share::of(results.into_iter().filter(|result| result.sound()), Judged::accused)
}

/// Of the designs that are said to leak gravely, those that do.
pub(super) fn precision<'r>(results: impl IntoIterator<Item = &'r Judged> + Clone) -> Share {
    let right = recall(results.clone()).part;
    let wrong = accused(results).part;
    Share { part: right, whole: right + wrong }
}

/// A mechanism as the corpus saw it: how many designs show it, how many were found, by whom.
pub(super) struct Coverage<'m> {
    pub(super) mechanism: &'m Mechanism,
    pub(super) designs: usize,
    pub(super) found: usize,
    pub(super) seen: Seen,
}

/// Mechanisms by id.
pub(super) fn coverage<'m>(
    mechanisms: &'m BTreeMap<String, Mechanism>,
    results: &[Judged],
) -> BTreeMap<&'m str, Coverage<'m>> {
    mechanisms
        .iter()
        .map(|(id, mechanism)| {
            let shown: Vec<_> = results
                .iter()
                .filter(|result| result.leak.as_ref().is_some_and(|(leak, _)| leak == id))
                .collect();
            let mut seen = Seen::default();
            for result in &shown {
                if let Verdict::Found(by) = result.verdict {
                    seen.read |= by.read;
                    seen.tried |= by.tried;
                }
            }
            let found = shown.iter().filter(|result| result.caught()).count();
            (id.as_str(), Coverage { mechanism, designs: shown.len(), found, seen })
        })
        .collect()
}
