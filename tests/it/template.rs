//! Databases of tenants are copies of a template that has every migration already.

use std::time::Duration;

use crate::harness::{World, on_every_version};

const CONFIG: &str =
    "[isolation.database]\ntemplate = \"always\"\nreadonly_role = \"reader_{tenant}\"\n";

/// Owners, grants, default privileges and functions of everything in a database, `who` for the
/// names that differ between tenants.
fn shape(world: &World, id: &str) -> Vec<Vec<String>> {
    let database = format!("tenant_{id}");
    let mut shape = world.rows_in(
        &database,
        "SELECT 'relation', c.relkind::text, c.relname::text, c.relowner::regrole::text, c.relacl::text \
         FROM pg_class c WHERE c.relnamespace = 'app'::regnamespace AND c.relkind <> 'i' \
         UNION ALL SELECT 'function', '', p.oid::regprocedure::text, p.proowner::regrole::text, p.proacl::text \
         FROM pg_proc p WHERE p.pronamespace = 'app'::regnamespace \
         UNION ALL SELECT 'schema', '', nspname::text, nspowner::regrole::text, nspacl::text \
         FROM pg_namespace WHERE nspname = 'app' \
         UNION ALL SELECT 'default', d.defaclobjtype::text, d.defaclnamespace::regnamespace::text, \
                d.defaclrole::regrole::text, d.defaclacl::text FROM pg_default_acl d \
         UNION ALL SELECT 'database', '', '', d.datdba::regrole::text, d.datacl::text \
         FROM pg_database d WHERE d.datname = current_database() \
         UNION ALL SELECT 'setting', '', '', '', s.setconfig::text FROM pg_db_role_setting s \
                JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database() \
         UNION ALL SELECT 'history', version::text, name, checksum, '' FROM app.refinery_schema_history \
         ORDER BY 1, 2, 3, 4, 5",
    );
    for value in shape.iter_mut().flatten() {
        *value = value.replace(id, "who");
    }
    shape
}

fn templates(world: &World) -> Vec<Vec<String>> {
    world.rows(
        "SELECT datname, datistemplate, datallowconn FROM pg_database \
         WHERE datname LIKE 'tenantctl_template_%' ORDER BY 1",
    )
}

fn create(world: &World, id: &str) -> String {
    let done = world.run(["create", id, "--isolation", "database"]).ok();
    done.transcript()
}

#[test]
fn a_copied_tenant_is_what_a_migrated_one_is() {
    on_every_version(|world| {
        world.config(CONFIG);
        create(&world, "first");
        assert!(templates(&world).is_empty(), "the first tenant needs no template");
        let second = create(&world, "second");
        assert!(second.contains("as a copy of tenantctl_template_"), "{second}");
        assert_eq!(templates(&world).len(), 1);
        assert_eq!(templates(&world)[0][1..], ["t", "f"]);
        let third = create(&world, "third");
        assert!(!third.contains("V1"), "{third}");
        let expected = shape(&world, "first");
        assert!(expected.len() > 20);
        assert_eq!(shape(&world, "second"), expected);
        assert_eq!(shape(&world, "third"), expected);
        // Nothing of a tenant's is left with the role that owned it in the template.
        for id in ["second", "third"] {
            let left = world.rows(&format!(
                "SELECT s.classid::regclass, s.deptype FROM pg_shdepend s \
                 JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.refobjid \
                 WHERE d.datname = 'tenant_{id}' AND r.rolname = 'tenantctl_template_owner'"
            ));
            assert!(left.is_empty(), "{left:?}");
        }
        let again = world.run(["create", "third", "--isolation", "database"]).ok();
        assert!(again.transcript().contains("nothing to do"), "{}", again.transcript());
    });
}

#[test]
fn a_changed_set_makes_a_new_template_and_drops_the_old_one() {
    let world = World::new();
    world.config(
        "[isolation.database]\ntemplate = \"always\"\n[migrations]\ndatabase = \"migrations\"\n",
    );
    world.file("migrations/V1__notes.sql", "CREATE TABLE notes (id int PRIMARY KEY);");
    create(&world, "first");
    create(&world, "second");
    let old = templates(&world);
    assert_eq!(old.len(), 1);
    world.file("migrations/V2__tags.sql", "CREATE TABLE tags (id int PRIMARY KEY);");
    create(&world, "third");
    let new = templates(&world);
    assert_eq!(new.len(), 1);
    assert_ne!(new, old);
    let count = "SELECT count(*) FROM app.refinery_schema_history";
    assert_eq!(world.rows_in("tenant_third", count), [["2"]]);
    assert_eq!(world.rows_in("tenant_second", count), [["1"]]);
}

#[test]
fn no_template_is_made_where_none_is_wanted() {
    let world = World::new();
    create(&world, "first");
    create(&world, "second");
    assert!(templates(&world).is_empty(), "a small set is faster applied than copied");
    world.config("[isolation.database]\ntemplate = \"never\"\n");
    create(&world, "third");
    assert!(templates(&world).is_empty());
}

#[test]
fn a_create_that_is_killed_anywhere_is_finished_by_the_next() {
    let reference = World::new();
    reference.config(CONFIG);
    create(&reference, "first");
    let expected = shape(&reference, "first");
    let world = World::new();
    world.config(CONFIG);
    create(&world, "first");
    for at in 0..24_u32 {
        // Later kills meet a finished template; a new one is begun every other time.
        if at % 2 == 0
            && let Some([name, ..]) = templates(&world).first().map(Vec::as_slice)
        {
            world.sql_in("postgres", &format!("ALTER DATABASE {name} IS_TEMPLATE false"));
        }
        let id = format!("victim{at}");
        let mut running = world.tenantctl(["create", &id, "--isolation", "database"]).spawn();
        std::thread::sleep(Duration::from_millis(40 + u64::from(at) * 25));
        running.kill();
        drop(running.wait());
        create(&world, &id);
        assert_eq!(shape(&world, &id), expected, "killed after {} ms", 40 + at * 25);
    }
    let left = world.rows("SELECT datname FROM pg_database WHERE datname LIKE 'tenantctl%'");
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn many_that_want_the_same_template_at_once_all_get_their_copy() {
    let world = World::new();
    world.config(CONFIG);
    create(&world, "first");
    let running: Vec<_> = (0..6)
        .map(|at| {
            let id = format!("tenant{at}");
            world.tenantctl(["create", &id, "--isolation", "database"]).spawn()
        })
        .collect();
    for one in running {
        drop(one.wait().ok());
    }
    assert_eq!(templates(&world).len(), 1);
    assert_eq!(shape(&world, "tenant5"), shape(&world, "first"));
}
