//! A server on which one design after the other stands alone.

use std::fmt::Write as _;

use super::design::{Design, Family};
use crate::harness::{OPERATOR, Session, World};

/// What every server holds between two designs, apart from the templates.
const DATABASES: &str = "('postgres', 'template0', 'template1')";

/// Who looks at a design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auditor {
    /// A superuser.
    Superuser,
    /// CREATEROLE, and a member of every role that the design has and that is no superuser.
    Operator,
}

pub(super) struct Stage {
    /// Makes and drops databases and roles: one session for all designs.
    hand: Session,
    pub(super) world: World,
    pub(super) major: u32,
}

impl Stage {
    pub(super) fn on(world: World) -> Self {
        let major = world.server().version().major();
        let hand = world.session("postgres", "postgres");
        let mut stage = Self { hand, world, major };
        stage.strike();
        stage
    }

    /// Makes a design, and tenants.toml for whoever audits it; or says why it cannot be made.
    pub(super) fn build(
        &mut self,
        family: &Family,
        design: &Design,
        auditor: Auditor,
    ) -> Result<(), String> {
        for database in &family.databases {
            self.hand.sql(&format!("CREATE DATABASE \"{database}\""));
        }
        for script in [&family.base, &design.sql] {
            self.play(&family.databases[0], script)?;
        }
        let user = match auditor {
            Auditor::Superuser => "postgres",
            Auditor::Operator => {
                let memberships = self.memberships();
                self.hand.sql(&memberships);
                OPERATOR
            }
        };
        let url = self.world.url(&family.databases[0], user);
        self.world.file("tenants.toml", &family.config(design, &url));
        Ok(())
    }

    /// Runs a script as psql would, from the family's first database on.
    fn play(&self, database: &str, script: &str) -> Result<(), String> {
        let run = |database: &str, sql: &str| {
            let mut session = self.world.session(database, "postgres");
            session
                .attempt(sql)
                .map(drop)
                .map_err(|why| format!("{}: {}", why.sqlstate, why.message))
        };
        let script = self.placed(script);
        let mut database = database.to_owned();
        let mut part = String::new();
        for line in script.lines() {
            if let Some(next) = line.strip_prefix("\\connect ") {
                run(&database, &std::mem::take(&mut part))?;
                next.trim().trim_matches('"').clone_into(&mut database);
            } else {
                writeln!(part, "{line}").unwrap();
            }
        }
        run(&database, &part)
    }

    /// With the server's directory where a script says `:socket`.
    fn placed(&self, script: &str) -> String {
        script.replace(":socket", &self.world.server().socket_dir().display().to_string())
    }

    fn memberships(&mut self) -> String {
        let roles = self.hand.rows(
            "SELECT quote_ident(rolname) FROM pg_roles
             WHERE oid >= 16384 AND rolname <> 'platform' AND NOT rolsuper",
        );
        let roles: Vec<String> = roles.into_iter().flatten().collect();
        if roles.is_empty() {
            return String::new();
        }
        format!("GRANT {} TO {OPERATOR}", roles.join(", "))
    }

    /// Whether tenants cross, as the exploit of a design shows: what answers nothing crosses by
    /// running, and an error is no.
    pub(super) fn crosses(&self, family: &Family, design: &Design) -> Option<bool> {
        let exploit = design.exploit.as_ref()?;
        let (database, login, context) = family.entrance(design);
        let mut session = self.world.session(database, login);
        if !context.is_empty() {
            session.sql(context);
        }
        let answer = session.attempt(&self.placed(exploit));
        Some(answer.is_ok_and(|rows| rows.last().is_none_or(|row| row[0] == "t")))
    }

    /// Takes everything away again.
    pub(super) fn strike(&mut self) {
        let session = &mut self.hand;
        let databases = session.rows(&format!(
            "SELECT quote_ident(datname) FROM pg_database WHERE datname NOT IN {DATABASES}"
        ));
        for database in databases.into_iter().flatten() {
            session.sql(&format!("ALTER DATABASE {database} IS_TEMPLATE false"));
            session.sql(&format!("DROP DATABASE {database} WITH (FORCE)"));
        }
        let roles = session.rows(
            "SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384 AND rolname <> 'platform'",
        );
        let roles: Vec<String> = roles.into_iter().flatten().collect();
        if !roles.is_empty() {
            let roles = roles.join(", ");
            session.sql(&format!("DROP OWNED BY {roles}; DROP ROLE {roles}"));
        }
    }
}
