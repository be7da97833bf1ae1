//! Tiers that the server enforces, and tenants that deviate from them.

use crate::harness::{Proxy, World, on_every_version};

const TIERS: &str = "
[isolation.shared]
role = \"app_{tenant}\"
[tiers.free]
connection_limit = 2
statement_timeout = \"11s\"
idle_in_transaction_session_timeout = \"1min\"
settings = { jit = \"off\" }
[tiers.pro]
connection_limit = 9
statement_timeout = \"31s\"
work_mem = \"8MB\"
";

const FLEET: [(&str, &str); 3] =
    [("acme", "schema"), ("globex", "shared"), ("initech", "database")];

fn fleet(world: &World) {
    world.config(TIERS);
    for (tenant, isolation) in FLEET {
        world.run(["create", tenant, "--isolation", isolation, "--tier", "free"]).ok();
    }
}

/// What new sessions of a tenant's login get: its limit, and settings as they log in.
fn enforced(world: &World, tenant: &str, login: &str) -> Vec<String> {
    let database = if tenant == "initech" { "tenant_initech" } else { "app" };
    let limit = format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{login}'");
    let mut facts = world.rows(&limit).remove(0);
    let settings = "SELECT current_setting('statement_timeout'), current_setting('work_mem'), \
                    current_setting('idle_in_transaction_session_timeout'), current_setting('jit')";
    facts.extend(world.session(database, login).rows(settings).remove(0));
    facts
}

fn login(tenant: &str) -> String {
    if tenant == "globex" { "app_globex".into() } else { format!("app_tenant_{tenant}") }
}

#[test]
fn tenants_come_to_their_tier_and_what_it_no_longer_says_is_reset() {
    on_every_version(|world| {
        fleet(&world);
        // Second logins are limited alike.
        world.run(["credentials", "rotate", "acme", "--show", "-q"]).ok();
        // What nobody's tier ever said is somebody else's.
        world.sql("ALTER ROLE app_tenant_acme SET application_name = 'by hand'");
        let free = ["2", "11s", "4MB", "1min", "off"];
        for (tenant, _) in FLEET {
            assert_eq!(enforced(&world, tenant, &login(tenant)), free, "{tenant}");
        }
        world.run(["set", "--check"]).ok();
        let preview =
            world.run(["set", "--selector", "tier=free", "--tier", "pro", "--dry-run"]).ok();
        assert!(
            preview.stdout().contains("3 tenants differ; nothing is done"),
            "{}",
            preview.transcript()
        );
        assert_eq!(enforced(&world, "acme", "app_tenant_acme"), free);

        let set = ["set", "--selector", "tier=free", "--tier", "pro", "--label", "wave=canary"];
        world.run(set.into_iter().chain(["--region", "eu"])).ok();
        let pro = ["9", "31s", "8MB", "0", "on"];
        for (tenant, _) in FLEET {
            assert_eq!(enforced(&world, tenant, &login(tenant)), pro, "{tenant}");
        }
        assert_eq!(enforced(&world, "acme", "app_tenant_acme-b"), pro);
        assert_eq!(
            world.session("app", "app_tenant_acme").rows("SHOW application_name"),
            [["by hand"]]
        );
        let rows = world.rows("SELECT DISTINCT tier, region, labels FROM tenantctl.tenants");
        assert_eq!(rows, [["pro", "eu", "{\"wave\": \"canary\"}"]]);
        world.run(["set", "--check"]).ok();
        world.run(["verify-rls", "--fail-on", "info"]).ok();

        // Somebody turns a knob, and a tier loses one.
        world.sql("ALTER ROLE app_tenant_acme CONNECTION LIMIT 100");
        world.sql("ALTER DATABASE tenant_initech SET statement_timeout = 0");
        let check = world.run(["set", "--check", "-o", "json"]).code(2).json();
        assert_eq!(check["summary"]["differs"], 2, "{check:#}");
        assert_eq!(
            check["targets"][0]["changes"],
            serde_json::json!(["limit app_tenant_acme to 9 connections"])
        );
        world.config(&TIERS.replace("work_mem = \"8MB\"\n", ""));
        let mended = world.run(["set", "-o", "json"]).ok().json();
        assert_eq!(mended["summary"]["set"], 3, "{mended:#}");
        for (tenant, _) in FLEET {
            assert_eq!(enforced(&world, tenant, &login(tenant)), ["9", "31s", "4MB", "0", "on"]);
        }
        world.run(["set", "acme", "--no-tier", "--remove-label", "wave"]).ok();
        assert_eq!(enforced(&world, "acme", "app_tenant_acme"), ["-1", "0", "4MB", "0", "on"]);
        world.run(["audit", "verify"]).ok();
    });
}

#[test]
fn what_the_operator_may_not_set_is_told_with_the_statement() {
    let world = World::new();
    world.config("[tiers.pro]\nstatement_timeout = \"31s\"\ntemp_file_limit = \"1GB\"\n");
    world.run(["create", "acme"]).ok();
    world.run(["set", "acme", "--tier", "pro"]).code(1).snapshot("set_not_permitted");
    // What it may is done.
    let timeout = world.session("app", "app_tenant_acme").rows("SHOW statement_timeout");
    assert_eq!(timeout, [["31s"]]);
    let json = world.run(["set", "acme", "-o", "json"]).code(1).json();
    let statements = json["targets"][0]["not_permitted"].as_array().unwrap();
    assert_eq!(statements.len(), 1, "{json:#}");
    world.sql(statements[0].as_str().unwrap());
    world.run(["set", "acme"]).ok().snapshot("set_unchanged");
    world.run(["set", "--check", "-q"]).ok();
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = World::new();
    world.config("[tiers.pro]\nconnection_limit = 3\n");
    world.run(["create", "acme"]).ok();
    world.run(["create", "globex", "--isolation", "shared", "--tier", "pro"]).ok();
    let everybody = world.run(["set", "--tier", "pro"]).code(64);
    assert!(everybody.stderr().contains("say whom to change"), "{}", everybody.transcript());
    let unknown = world.run(["set", "acme", "--tier", "gold"]).code(1);
    assert!(unknown.stderr().contains("tiers: pro"), "{}", unknown.transcript());
    let moved = world.run(["set", "acme", "--region", "us"]).code(4);
    assert!(moved.stdout().contains("which is in eu, not in us"), "{}", moved.transcript());
    // A role that all tenants use is nobody's to limit.
    let shared = world.run(["set", "globex"]).ok();
    assert!(
        shared.stdout().contains("its role app_rw serves every tenant: no limits apply"),
        "{}",
        shared.transcript()
    );
    world.sql("DROP OWNED BY app_tenant_acme; DROP ROLE app_tenant_acme");
    let partial = world.run(["set", "-o", "json"]).code(3).json();
    assert_eq!(partial["targets"][0]["error"]["code"], "not-found", "{partial:#}");
}

#[test]
fn a_set_that_is_killed_is_finished_by_the_next() {
    let world = World::new();
    world.config(TIERS);
    world.run(["create", "acme", "--tier", "free"]).ok();
    world.run(["create", "initech", "--isolation", "database", "--tier", "free"]).ok();
    let tiers = ["pro", "free"];
    let mut at = 0;
    loop {
        let (tier, expected) = match tiers[at % 2] {
            "pro" => ("pro", ["9", "31s", "8MB", "0", "on"]),
            free => (free, ["2", "11s", "4MB", "1min", "off"]),
        };
        let proxy = Proxy::start(&world, Some(at));
        let text = std::fs::read_to_string(world.path("tenants.toml")).unwrap();
        let through = text.replacen(&world.operator_url(), &proxy.operator_url(&world), 1);
        let file = world.file("through.toml", &through);
        let set = ["set", "acme", "initech", "--tier", tier];
        let config = ["-c", file.to_str().unwrap()];
        let victim = world.tenantctl(set.into_iter().chain(config)).spawn();
        proxy.aim_at(victim.pid());
        let was_killed = victim.wait().transcript().contains("signal: 9");
        world.run(set).ok();
        for tenant in ["acme", "initech"] {
            assert_eq!(enforced(&world, tenant, &login(tenant)), expected, "{at}: {tenant}");
        }
        world.run(["set", "--check", "-q"]).ok();
        if !was_killed {
            break;
        }
        at += 1;
    }
    assert!(at > 15, "{at} requests");
    world.run(["audit", "verify"]).ok();
}
