#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::credential::Logins;
use crate::model::desired::Credential;
use crate::model::observed::{MembershipFacts, OperatorReach};
use crate::model::tenant::TenantId;
use crate::plan::properties::server;
use crate::plan::{Change, Plan, Reach};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn name(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

const DAY: i64 = 86_400;

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_secs(days * DAY)
}

/// A server with a registry beside it, on which plans are carried out.
#[derive(Clone, Debug)]
struct Stage {
    logins: Logins,
    rows: BTreeMap<Ident, Issued>,
    /// Who knows which password: the verifier that each login has.
    verifiers: BTreeMap<Ident, String>,
}

impl Stage {
    fn new(version: i32) -> Self {
        let facts = LoginFacts {
            login: true,
            connection_limit: 5,
            operator: OperatorReach { set: true, inherit: false },
            settings: BTreeMap::from([(
                Some(name("app")),
                BTreeMap::from([("search_path".to_owned(), "tenant_acme".to_owned())]),
            )]),
            ..LoginFacts::default()
        };
        let logins = Logins {
            server: server(version),
            now: at(0),
            facts: BTreeMap::from([(name("r"), facts)]),
            members: BTreeMap::new(),
        };
        Self { logins, rows: BTreeMap::new(), verifiers: BTreeMap::new() }
    }

    fn pair(&self) -> Pair {
        let login = |login: Ident| Login {
            facts: self.logins.facts.get(&login).cloned(),
            issued: self.rows.get(&login).cloned(),
            name: login,
        };
        Pair { first: login(name("r")), second: login(name("r-b")) }
    }

    fn carry_out(&mut self, plan: &Plan) {
        for step in &plan.steps {
            let facts = &mut self.logins.facts;
            match &step.change {
                Change::CreateLogin { name, .. } => {
                    let new = LoginFacts {
                        login: true,
                        inherit: true,
                        connection_limit: -1,
                        ..LoginFacts::default()
                    };
                    assert!(facts.insert(name.clone(), new).is_none());
                }
                Change::GrantRole { role, member, inherit } => {
                    if member.as_str() == self.logins.server.operator {
                        facts.get_mut(role).unwrap().operator.set = true;
                    } else {
                        let inherit = *inherit && self.logins.server.membership_options();
                        let grant = MembershipFacts { set: true, inherit, inherits_from: None };
                        self.logins.members.insert((role.clone(), member.clone()), grant);
                    }
                }
                Change::LimitConnections { role, limit } => {
                    facts.get_mut(role).unwrap().connection_limit = *limit;
                }
                Change::MirrorSetting { login, database, setting, value } => {
                    let settings = &mut facts.get_mut(login).unwrap().settings;
                    let here = settings.entry(database.clone()).or_default();
                    here.insert(setting.clone(), value.clone());
                }
                Change::ResetForRole { role, database, setting } => {
                    let settings = &mut facts.get_mut(role).unwrap().settings;
                    settings.get_mut(database).unwrap().remove(setting).unwrap();
                }
                Change::IssuePassword { login, credential, until } => {
                    facts.get_mut(login).unwrap().validity = *until;
                    self.verifiers.insert(login.clone(), credential.verifier.clone());
                }
                Change::EndPassword { login, until } => {
                    facts.get_mut(login).unwrap().validity = *until;
                    if *until == Validity::Ended {
                        self.verifiers.remove(login);
                    }
                }
                other => panic!("{other:?} is no step of a credential"),
            }
        }
    }

    fn announce(&mut self, change: &Changeover) {
        let row = Issued {
            login: change.login.clone(),
            role: name("r"),
            state: IssuedState::Issuing,
            issued: Some(self.logins.now),
            until: change.until,
            replaces_until: change.replaces.as_ref().map(|(_, end)| *end),
        };
        self.rows.insert(change.login.clone(), row);
    }

    fn record(&mut self, change: &Changeover) {
        self.rows.get_mut(&change.login).unwrap().state = IssuedState::Current;
        if let Some((old, end)) = &change.replaces {
            let row = self.rows.entry(old.clone()).or_insert_with(|| Issued {
                login: old.clone(),
                role: name("r"),
                state: IssuedState::Replaced,
                issued: None,
                until: *end,
                replaces_until: None,
            });
            (row.state, row.until) = (IssuedState::Replaced, *end);
        }
    }

    /// Does what is asked for, and stops after so many of its four moments.
    fn run(&mut self, wish: Wish, verifier: &str, moments: usize) -> Option<Turn> {
        let tenant = TenantId::new("acme").unwrap();
        let pair = self.pair();
        let turn = decide(&pair, wish, self.logins.now).unwrap();
        match &turn {
            Turn::Nothing(_) => {}
            Turn::Record(change) => self.record(change),
            Turn::Issue(change) => {
                let plan = prepare(&tenant, Reach::Tenant, &pair, change.next, &self.logins);
                if moments > 0 {
                    self.carry_out(&plan.unwrap());
                }
                if moments > 1 {
                    self.announce(change);
                }
                if moments > 2 {
                    let credential = Credential { verifier: verifier.to_owned() };
                    let turns = [(change.clone(), credential)];
                    self.carry_out(&activate(&tenant, Reach::Tenant, &turns, &self.logins));
                }
                if moments > 3 {
                    self.record(change);
                }
            }
        }
        (moments > 3).then_some(turn)
    }

    /// Whether somebody who has this password gets in.
    fn lets_in(&self, verifier: &str) -> bool {
        self.verifiers.iter().any(|(login, has)| {
            has == verifier && self.logins.facts[login].validity.holds(self.logins.now)
        })
    }
}

const ISSUE: Wish = Wish::Issue { valid_for: None };

fn rotate(grace: i64, now: bool) -> Wish {
    Wish::Rotate { max_age: None, grace: days(grace), now, valid_for: None }
}

#[test]
fn both_passwords_work_during_the_grace_and_the_new_one_after_it() {
    for version in [140_000, 180_000] {
        let mut stage = Stage::new(version);
        stage.run(ISSUE, "one", 4);
        stage.logins.now = at(DAY);
        stage.run(rotate(7, false), "two", 4);
        assert!(stage.lets_in("one") && stage.lets_in("two"));
        // A second time within the grace does nothing.
        assert!(matches!(stage.run(rotate(7, false), "x", 4), Some(Turn::Nothing(_))));
        stage.logins.now = at(9 * DAY);
        assert!(!stage.lets_in("one") && stage.lets_in("two"));
        stage.run(rotate(7, false), "three", 4);
        assert!(stage.lets_in("two") && stage.lets_in("three"));
        // Urgently: nothing but the new one.
        stage.run(rotate(7, true), "four", 4);
        assert_eq!(
            ["one", "two", "three", "four"].map(|old| stage.lets_in(old)),
            [false, false, false, true]
        );
        let (first, second) = (&stage.logins.facts[&name("r")], &stage.logins.facts[&name("r-b")]);
        assert_eq!(first.connection_limit, second.connection_limit);
        let settings = &second.settings;
        assert_eq!(settings[&Some(name("app"))], first.settings[&Some(name("app"))]);
        assert_eq!(settings[&None]["role"], "r");
    }
}

#[test]
fn only_what_is_old_is_rotated() {
    let mut stage = Stage::new(150_000);
    stage.run(ISSUE, "one", 4);
    let aged = |grace| Wish::Rotate {
        max_age: Some(days(90)),
        grace: days(grace),
        now: false,
        valid_for: Some(days(100)),
    };
    stage.logins.now = at(89 * DAY);
    assert!(matches!(stage.run(aged(1), "x", 4), Some(Turn::Nothing(_))));
    stage.logins.now = at(90 * DAY);
    assert!(matches!(stage.run(aged(200), "two", 4), Some(Turn::Issue(_))));
    // The old one has its grace still when the new one is old: nobody is locked out unasked.
    stage.logins.now = at(185 * DAY);
    let error = decide(&stage.pair(), aged(1), stage.logins.now).unwrap_err();
    assert_eq!(error.code, Code::Refused);
}

#[test]
fn a_role_that_somebody_uses_is_given_no_first_password() {
    let mut stage = Stage::new(150_000);
    stage.logins.facts.get_mut(&name("r")).unwrap().sessions = 2;
    assert_eq!(decide(&stage.pair(), ISSUE, at(0)).unwrap_err().code, Code::Refused);
    // A rotation leaves them theirs until the grace is over.
    let Turn::Issue(change) = decide(&stage.pair(), rotate(7, false), at(0)).unwrap() else {
        panic!("nothing to do")
    };
    assert_eq!(change.login, name("r-b"));
    assert_eq!(change.replaces, Some((name("r"), Validity::Until(at(7 * DAY)))));
}

#[test]
fn a_role_of_somebody_else_is_not_taken_for_a_login() {
    let mut stage = Stage::new(150_000);
    stage.logins.facts.insert(name("r-b"), LoginFacts::default());
    let tenant = TenantId::new("acme").unwrap();
    let taken =
        prepare(&tenant, Reach::Tenant, &stage.pair(), Which::Second, &stage.logins).unwrap_err();
    assert_eq!(taken.code, Code::OwnershipConflict);
}

proptest! {
    /// Whoever was given the current password gets in, whenever the run that replaces it dies; the
    /// next run ends it, and everybody who was told the new password gets in.
    #[test]
    fn no_death_locks_anybody_out(
        version in prop::sample::select(vec![140_000, 150_000, 160_000, 180_000]),
        rounds in prop::collection::vec((0_usize..5, 0_i64..12, prop::option::of(1_i64..400)), 1..12),
    ) {
        let mut stage = Stage::new(version);
        stage.run(ISSUE, "first", 4);
        let (mut told, mut number) = ("first".to_owned(), 0);
        for (moments, wait, valid_for) in rounds {
            stage.logins.now = stage.logins.now.checked_add(days(wait)).unwrap();
            let wish = Wish::Rotate {
                max_age: None,
                grace: days(3),
                now: false,
                valid_for: valid_for.map(|days| self::days(1000 + days)),
            };
            number += 1;
            let verifier = format!("p{number}");
            let before = stage.clone();
            let due = matches!(
                decide(&stage.pair(), wish, stage.logins.now),
                Ok(Turn::Issue(_) | Turn::Record(_))
            );
            let turn = stage.run(wish, &verifier, moments);
            prop_assert!(stage.lets_in(&told), "{before:?} {moments}");
            // The sink has it before the server does: who dies in between tells nobody for good.
            if stage.lets_in(&verifier) {
                told = verifier;
            }
            if turn.is_none() {
                number += 1;
                let verifier = format!("p{number}");
                let again = stage.run(wish, &verifier, 4);
                prop_assert!(!due || !matches!(again, Some(Turn::Nothing(_))), "{before:?}");
                if moments > 2 && matches!(again, Some(Turn::Issue(_))) {
                    prop_assert!(false, "what had arrived was issued anew");
                }
                prop_assert!(stage.lets_in(&told));
                if stage.lets_in(&verifier) {
                    told = verifier;
                }
            }
            let current = stage.rows.values().filter(|row| row.state == IssuedState::Current);
            prop_assert_eq!(current.count(), 1);
        }
    }
}
