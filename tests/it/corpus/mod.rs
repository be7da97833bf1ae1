//! The corpus: database designs that leak, and ones that nearly do, judged by `verify-rls`.
//!
//! `tests/corpus` holds them; `scripts/corpus` prints how tenantctl does, `scripts/corpus-peers` how
//! others do. What a design claims is true: exploits cross where they must, and nowhere else.

mod busy;
mod card;
mod design;
mod peers;
mod score;
mod stage;
mod tool;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{World, installations};

use self::design::{Design, Family, families, mechanisms};
use self::peers::Peers;
use self::score::{Judged, accused, judge, recall};
use self::stage::{Auditor, Stage};
use self::tool::Answer;

/// How many servers share the work: whoever audits waits now and then, so one more than there are
/// cores.
fn lanes() -> usize {
    thread::available_parallelism().map_or(2, usize::from) + 1
}

/// What must be found of leaks that are high or critical, among the designs that rules were written
/// for.
const RECALL: f64 = 0.95;

/// And among those that were written apart.
const RECALL_APART: f64 = 0.95;

/// Shows every design to somebody, each alone on its server; answers in the order of the designs.
fn tour<T: Send>(
    families: &[Family],
    auditor: Auditor,
    world: impl Fn() -> World + Sync,
    look: impl Fn(&Stage, &Family, &Design, Result<(), String>) -> T + Sync,
) -> Vec<T> {
    let only = std::env::var("TENANTCTL_CORPUS_ONLY").unwrap_or_default();
    let shown: Vec<(&Family, &Design)> = families
        .iter()
        .flat_map(|family| family.designs.iter().map(move |design| (family, design)))
        .filter(|(family, design)| format!("{}/{}", family.name, design.name).contains(&only))
        .collect();
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(Vec::new());
    let visit = || {
        let mut stage = Stage::on(world());
        // Design by design, so that no server is left with a whole family when the others are done.
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some((family, design)) = shown.get(turn) else { return };
            if stage.major >= family.since.max(design.since) && stage.major <= design.until {
                let built = stage.build(family, design, auditor);
                let answer = look(&stage, family, design, built);
                stage.strike();
                seen.lock().unwrap().push((turn, answer));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..lanes().min(shown.len()) {
            scope.spawn(visit);
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|(place, _)| *place);
    seen.into_iter().map(|(_, answer)| answer).collect()
}

/// What `verify-rls` says about every design, and whether tenants cross as the design claims.
fn audited(
    families: &[Family],
    auditor: Auditor,
    world: impl Fn() -> World + Sync,
) -> (Vec<Judged>, Vec<String>) {
    let seen = tour(families, auditor, world, |stage, family, design, built| {
        let place = format!("{}/{}", family.name, design.name);
        if let Err(why) = built {
            let answer = Answer { broken: Some(why.clone()), ..Answer::default() };
            return (
                judge(family, design, &answer),
                Some(format!("{place} cannot be made: {why}")),
            );
        }
        let judged = judge(family, design, &tool::tenantctl(stage));
        // An exploit changes things, so the audit comes first.
        let crosses = stage.crosses(family, design);
        let lie = crosses.filter(|crosses| *crosses != design.leak.is_some());
        (judged, lie.map(|crosses| format!("{place}: tenants cross is {crosses}")))
    });
    let (results, lies): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    (results, lies.into_iter().flatten().collect())
}

fn complaints<'r>(results: impl IntoIterator<Item = &'r Judged>) -> String {
    results.into_iter().filter(|one| one.wrong()).map(|one| one.line() + "\n").collect()
}

#[test]
fn the_corpus_is_well_formed() {
    let families = families();
    let mechanisms = mechanisms();
    let mut shown = BTreeSet::new();
    for family in &families {
        let mut names = BTreeSet::new();
        assert!(family.about.ends_with('.'), "{}", family.name);
        for design in &family.designs {
            let place = format!("{}/{}", family.name, design.name);
            assert!(names.insert(&design.name), "{place} is there twice");
            if let Some(leak) = &design.leak {
                assert!(mechanisms.contains_key(leak), "{place}: no mechanism {leak}");
                assert!(design.severity.is_some() && !design.names.is_empty(), "{place}");
                shown.insert(leak.clone());
            } else {
                assert!(design.names.is_empty() && design.severity.is_none(), "{place}");
            }
        }
        let sound = family.designs.iter().filter(|design| design.leak.is_none()).count();
        assert!(sound > 0, "{} has no sound design", family.name);
    }
    for (id, mechanism) in &mechanisms {
        let shown = shown.contains(id);
        assert!(!(shown && mechanism.absent.is_some()), "{id}: shown or absent, not both");
    }
    let count = families.iter().map(|family| family.designs.len()).sum::<usize>();
    assert!(count >= 90, "{count} designs");
}

/// Exploits cross in every leak and in no sound design: a corpus that is wrong about its designs
/// measures nothing. Nearly every leak is found, and no sound design is accused.
#[test]
fn what_the_corpus_claims_is_true_and_the_audit_says_so() {
    let families = families();
    let (results, lies) = audited(&families, Auditor::Superuser, World::new);
    assert!(lies.is_empty(), "{}", lies.join("\n"));
    let found = recall(results.iter().filter(|one| !one.held_out));
    let apart = recall(results.iter().filter(|one| one.held_out));
    let wrong = accused(&results);
    assert!(wrong.part == 0, "{}", complaints(results.iter().filter(|one| one.sound())));
    let short = found.ratio() < RECALL || apart.ratio() < RECALL_APART;
    assert!(!short, "recall is {found}, apart {apart}\n{}", complaints(&results));
}

/// What `scripts/corpus` runs: on every server at hand, as `TENANTCTL_CORPUS_AS` says. The card goes
/// to the file that `TENANTCTL_CORPUS_CARD` names.
#[test]
#[ignore = "a measurement: scripts/corpus"]
fn scorecard() {
    let families = families();
    let mechanisms = mechanisms();
    let auditors = match std::env::var("TENANTCTL_CORPUS_AS").as_deref() {
        Ok("superuser") => vec![Auditor::Superuser],
        Ok("operator") => vec![Auditor::Operator],
        _ => vec![Auditor::Superuser, Auditor::Operator],
    };
    let mut card = String::new();
    for installation in installations() {
        for &auditor in &auditors {
            let (results, lies) = audited(&families, auditor, || World::on(installation.bin_dir()));
            for lie in lies {
                card += &format!("**Wrong about itself:** {lie}\n\n");
            }
            card += &card::card(installation.version(), auditor, &results, &mechanisms);
        }
    }
    write_card(&card);
}

/// What `scripts/corpus-peers` runs: the same designs, shown to others.
#[test]
#[ignore = "a measurement: scripts/corpus-peers"]
fn beside_peers() {
    let families = families();
    let peers = Peers::at_hand();
    let shown = tour(&families, Auditor::Superuser, World::new, |stage, family, design, built| {
        if let Err(why) = built {
            panic!("{}/{} cannot be made: {why}", family.name, design.name);
        }
        let mut said = vec![("tenantctl verify-rls", tool::tenantctl(stage))];
        said.extend(peers.ask(stage, family, design));
        said.into_iter()
            .map(|(name, answer)| (name, judge(family, design, &answer)))
            .collect::<Vec<_>>()
    });
    let mut tools: Vec<(&str, Vec<Judged>)> = Vec::new();
    for (name, judged) in shown.into_iter().flatten() {
        match tools.iter_mut().find(|(known, _)| *known == name) {
            Some((_, results)) => results.push(judged),
            None => tools.push((name, vec![judged])),
        }
    }
    write_card(&card::beside(&tools));
}

fn write_card(card: &str) {
    let place = std::env::var_os("TENANTCTL_CORPUS_CARD").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("corpus.md"),
        PathBuf::from,
    );
    std::fs::write(place, card).unwrap();
}
