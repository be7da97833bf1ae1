//! verify-rls scratch
use crate::harness::*;
#[test]
fn scratch() {
    on_every_version(|world| {
    world.config("[isolation.shared]\nschema=\"app\"\nrole=\"app_rw\"\nlogin_role=\"pool\"\nreadonly_role=\"app_ro\"\n[isolation.schema]\nlogin_role=\"pool\"\n");
    world.sql("CREATE ROLE pool LOGIN");
    for (id, m) in [("ann","shared"),("bob","shared"),("cat","schema"),("dan","schema"),("eve","database"),("fay","database")] {
        let o = world.run(["create", id, "--isolation", m]);
        let _ = o.ok();
    }
    let o = world.run(["verify-rls"]);
    println!("{}", o.transcript());
    let o = world.run(["verify-rls", "-o", "json"]);
    for n in o.json()["not_probed"].as_array().unwrap() { println!("{n}"); }
    });
}
