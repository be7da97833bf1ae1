//! Three isolation models on a PostgreSQL of its own: the use cases as a user would run them, and
//! then what one tenant's application can see of another's.
//!
//! Nothing here is a second implementation, and nothing is told that was not observed: every scene
//! holds the report that the command would have answered, or the server's own words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Context, CreateOptions, Selection, Sets, UpOptions, VerifyOptions};
use crate::audit::Fix;
use crate::config::conninfo::{self, Environment, Source};
use crate::config::{Fleet, Request, Sources};
use crate::error::{Code, Error};
use crate::migrations::embedded;
use crate::model::ident::Ident;
use crate::model::interrupt::Interrupt;
use crate::model::migration::MigrationSet;
use crate::model::tenant::{ClusterName, Isolation, Tenant, TenantId};
use crate::pg::server::{Options, SUPERUSER, Server};
use crate::pg::{self, Answer, Servers};
use crate::report::event::{Event, Observer};
use crate::report::{Demo, End, Kept, KeptTenant, Report, Scene, Trial, Verdict};
use crate::sql;
use crate::sql::{Literal, Sql};

/// The database of the registry, the schemas and the shared tables.
const DATABASE: &str = "app";
/// The role that tenantctl works as.
const OPERATOR: &str = "platform";
/// The cluster's name in the configuration.
const CLUSTER: &str = "demo";

/// The tenants: two of them share their tables, so that there is a neighbour to look for.
const TENANTS: [(&str, Isolation); 4] = [
    ("acme", Isolation::Database),
    ("bolt", Isolation::Schema),
    ("corp", Isolation::Shared),
    ("dime", Isolation::Shared),
];

/// The migration that the demo adds, for tenants that share their tables.
const SHARED_MIGRATION: &str = "\
-- Invoices. tenantctl binds the table to the current tenant before the application may use it.
CREATE TABLE invoices (
    tenant_id  uuid        NOT NULL REFERENCES organisations (tenant_id),
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    number     text        NOT NULL CHECK (btrim(number) <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, number)
);

CREATE TRIGGER invoices_touch BEFORE UPDATE ON invoices
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER invoices_audit AFTER INSERT OR UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION record_audit();
";

/// The same for a tenant that is alone in its schema.
const TENANT_MIGRATION: &str = "\
-- Invoices.
CREATE TABLE invoices (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    number     text        NOT NULL UNIQUE CHECK (btrim(number) <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE TRIGGER invoices_touch BEFORE UPDATE ON invoices
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER invoices_audit AFTER INSERT OR UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION record_audit();
";

/// Plays the demo on a server that it starts, and stops that server unless it is kept. `tell` is
/// called with each scene as soon as it has happened.
///
/// # Errors
///
/// [`Code::ToolMissing`] when no PostgreSQL is installed; `interrupted` between two scenes; and
/// whatever the use cases answer. The server does not survive a failure.
pub async fn demo(
    keep: bool,
    observer: &dyn Observer,
    interrupt: &Interrupt,
    tell: impl Fn(&Scene),
) -> anyhow::Result<Report> {
    let started = Instant::now();
    observer.on(&Event::Working { what: "starting a PostgreSQL of its own" });
    let server = blocking(|| Server::launch(&Options::default())).await??;
    let stage = Stage { server: &server, observer: Hushed(observer), interrupt, tell };
    let played = stage.play(started).await;
    observer.on(&Event::Working { what: "stopping the server" });
    let ended = match played {
        Ok((scenes, tenants)) if keep => {
            kept(server, &tenants).map(|kept| (scenes, End::Kept(kept)))
        }
        played => {
            let directory = server.socket_dir().to_owned();
            blocking(move || drop(server)).await?;
            let end = if directory.exists() { End::Left(directory) } else { End::Removed };
            match played {
                Ok((scenes, _)) => Ok((scenes, end)),
                Err(error) => Err(after(error, &end)),
            }
        }
    };
    observer.on(&Event::RunDone);
    let (scenes, end) = ended?;
    let demo = Demo { scenes, end, program: hidden_program(), took: started.elapsed() };
    Ok(Report::Demo(Box::new(demo)))
}

/// This program, unless a shell would find one of its name: straight from a build it does not.
fn hidden_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = program.file_name()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    (!found).then_some(program)
}

/// Says what is left of a demo that did not come to its end. There is nothing to go on with, so
/// hints on how to resume an interrupted command are taken away.
fn after(error: anyhow::Error, end: &End) -> anyhow::Error {
    let left = match end {
        End::Left(directory) => {
            format!("the demo's server is stopped; remove {}", directory.display())
        }
        _ => "nothing is left of the demo: its server is stopped, its files are removed".to_owned(),
    };
    match error.downcast::<Error>() {
        Ok(mut typed) => {
            if typed.code == Code::Interrupted {
                typed.hints.clear();
            }
            typed.hint(left).into()
        }
        Err(other) => other,
    }
}

/// Runs what blocks beside the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Bug, "run the demo's server").because(error))
}

/// Where the demo plays.
struct Stage<'a, T: Fn(&Scene)> {
    server: &'a Server,
    observer: Hushed<'a>,
    interrupt: &'a Interrupt,
    tell: T,
}

/// Passes on what is being done, for a spinner; what was done is told by scenes.
struct Hushed<'a>(&'a dyn Observer);

impl Observer for Hushed<'_> {
    fn on(&self, event: &Event<'_>) {
        if matches!(event, Event::Working { .. } | Event::StepStarted { .. }) {
            self.0.on(event);
        }
    }
}

impl<T: Fn(&Scene)> Stage<'_, T> {
    async fn play(&self, started: Instant) -> anyhow::Result<(Vec<Scene>, Vec<Tenant>)> {
        let mut scenes = Vec::new();
        self.tell(&mut scenes, Scene::Chapter("A server, and an operator who is no superuser"))?;
        let server = Scene::Server {
            version: self.server.version().to_string(),
            directory: self.server.socket_dir().to_owned(),
            took: started.elapsed(),
        };
        self.tell(&mut scenes, server)?;
        self.prepare(&mut scenes).await?;
        let config = self.configure()?;

        let sources = Sources { config: Some(config), ..Sources::default() };
        let fleet = Fleet::load(&sources, &Environment::bare())?;
        let servers = super::servers(&fleet, "demo");
        let chapter = "Tenants: a database, a schema, and two in shared tables";
        self.tell(&mut scenes, Scene::Chapter(chapter))?;
        let sets = Sets::load(&fleet)?;
        let cx = self.context(&fleet, &servers, &sets);
        let mut tenants = Vec::new();
        for (id, isolation) in TENANTS {
            tenants.push(self.create(&mut scenes, &cx, id, isolation).await?);
        }
        let answer = super::list(&cx, &Selection::default()).await?;
        self.command(&mut scenes, "tenantctl list", answer)?;

        self.tell(&mut scenes, Scene::Chapter("A migration for all of them"))?;
        self.add_migration(&mut scenes)?;
        let sets = Sets::load(&fleet)?;
        let cx = self.context(&fleet, &servers, &sets);
        let answer = super::up(&cx, &up_options()).await?;
        self.command(&mut scenes, "tenantctl migrate up", answer)?;

        let chapter = "What an application sees of the other tenants";
        self.tell(&mut scenes, Scene::Chapter(chapter))?;
        for attempt in attempts(&tenants)? {
            let trial = self.attempt(attempt).await?;
            self.tell(&mut scenes, Scene::Trial(trial))?;
        }
        self.prove(&mut scenes, &cx).await?;
        self.tell(&mut scenes, Scene::Chapter("What came of it"))?;
        Ok((scenes, tenants))
    }

    /// Audits the fleet, breaks it, and mends it with the statements that the audit prints.
    async fn prove(&self, scenes: &mut Vec<Scene>, cx: &Context<'_>) -> anyhow::Result<()> {
        self.tell(scenes, Scene::Chapter("The same, audited: every table, role and policy"))?;
        self.audit(scenes, cx, Verdict::Done).await?;
        let superuser = self.connections(SUPERUSER)?;
        let session = superuser.dedicated(&cluster()?, Some(&Ident::new(DATABASE)?)).await?;
        let slip = sql!("ALTER TABLE app.invoices DISABLE ROW LEVEL SECURITY");
        self.run(scenes, &session, &slip, "somebody slips").await?;
        for statement in self.audit(scenes, cx, Verdict::No).await? {
            self.run(scenes, &session, &statement, "the fix that it printed").await?;
        }
        self.audit(scenes, cx, Verdict::Done).await?;
        Ok(())
    }

    /// Runs `verify-rls`, and returns the statements that it says to run.
    async fn audit(
        &self,
        scenes: &mut Vec<Scene>,
        cx: &Context<'_>,
        expected: Verdict,
    ) -> anyhow::Result<Vec<Sql>> {
        let answer = super::verify(cx, &VerifyOptions::default()).await?;
        let mut fixes = Vec::new();
        if let Report::Findings(verified) = &answer {
            for finding in &verified.report.findings {
                match &finding.fix {
                    Fix::Sql(statements) => fixes.extend(statements.clone()),
                    Fix::Advice(_) => {}
                }
            }
        }
        let line = "tenantctl verify-rls".to_owned();
        self.tell(scenes, Scene::Command { line, answer, expected })?;
        Ok(fixes)
    }

    /// Runs a statement that prepares, breaks or mends something.
    async fn run(
        &self,
        scenes: &mut Vec<Scene>,
        session: &pg::Session,
        statement: &Sql,
        why: &'static str,
    ) -> anyhow::Result<()> {
        if let Answer::Refused(answer) = pg::trial(session, statement).await? {
            let error = Error::new(Code::Server, format!("run {statement}")).answered(answer);
            return Err(error.into());
        }
        let statement = statement.as_str().to_owned();
        self.tell(scenes, Scene::Prepared { statement, why })?;
        Ok(())
    }

    /// Tells a scene, and hears a wish to stop.
    fn tell(&self, scenes: &mut Vec<Scene>, scene: Scene) -> Result<(), Error> {
        if self.interrupt.is_raised() {
            return Err(Error::new(Code::Interrupted, "the demo was interrupted"));
        }
        // Whatever spins on the screen makes room.
        self.observer.0.on(&Event::RunDone);
        (self.tell)(&scene);
        scenes.push(scene);
        Ok(())
    }

    fn command(&self, scenes: &mut Vec<Scene>, line: &str, answer: Report) -> Result<(), Error> {
        let line = line.to_owned();
        self.tell(scenes, Scene::Command { line, answer, expected: Verdict::Done })
    }

    fn context<'b>(
        &'b self,
        fleet: &'b Fleet,
        servers: &'b Arc<Servers>,
        sets: &'b Sets,
    ) -> Context<'b> {
        let observer = &self.observer;
        Context { fleet, servers, sets, observer, interrupt: self.interrupt, asked: "demo" }
    }

    /// Makes the operator and its database, the only steps that take a superuser.
    async fn prepare(&self, scenes: &mut Vec<Scene>) -> anyhow::Result<()> {
        let superuser = self.connections(SUPERUSER)?;
        if self.server.version().major() < 15 {
            // Only the template's owner can close what every new database would leave open.
            let template = Ident::new("template1")?;
            let session = superuser.dedicated(&cluster()?, Some(&template)).await?;
            let close = sql!("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
            self.run(scenes, &session, &close, "in template1; 15 and newer do").await?;
        }
        let session = superuser.dedicated(&cluster()?, Some(&Ident::new(SUPERUSER)?)).await?;
        let (operator, database) = (Ident::new(OPERATOR)?, Ident::new(DATABASE)?);
        let statements = [
            (sql!("CREATE ROLE {} LOGIN CREATEROLE CREATEDB", operator), "for tenantctl"),
            (sql!("CREATE DATABASE {}", database), "registry, schemas, shared tables"),
            (sql!("GRANT CREATE ON DATABASE {} TO {}", database, operator), "it may make schemas"),
        ];
        for (statement, why) in statements {
            self.run(scenes, &session, &statement, why).await?;
        }
        Ok(())
    }

    /// Writes what a team would have: a configuration file, and its migrations beside it.
    fn configure(&self) -> Result<PathBuf, Error> {
        self.put_set("shared", &embedded::shared()?)?;
        self.put_set("tenant", &embedded::tenant()?)?;
        let text = format!(
            "# The fleet of `tenantctl demo`: it goes away when its server is stopped.\n\
             [clusters.{CLUSTER}]\n\
             url = \"{}\"\n\n\
             [migrations]\n\
             shared = \"migrations/shared\"\n\
             schema = \"migrations/tenant\"\n\
             database = \"migrations/tenant\"\n",
            self.server.url(DATABASE, OPERATOR)
        );
        self.server.put(Path::new(crate::config::fleet::FILE), &text)
    }

    fn put_set(&self, name: &str, set: &MigrationSet) -> Result<(), Error> {
        for migration in set.migrations() {
            let file = format!("{}.sql", migration.stem());
            self.server.put(&Path::new("migrations").join(name).join(file), &migration.sql)?;
        }
        Ok(())
    }

    async fn create(
        &self,
        scenes: &mut Vec<Scene>,
        cx: &Context<'_>,
        id: &str,
        isolation: Isolation,
    ) -> anyhow::Result<Tenant> {
        let mut request = Request::new(TenantId::new(id)?);
        request.isolation = Some(isolation);
        let options = CreateOptions {
            if_not_exists: false,
            dry_run: false,
            credentials_file: None,
            show_credentials: false,
            lock_wait: WAIT,
            limits: LIMITS,
        };
        let answer = super::create(cx, request, &options).await?;
        let Report::Provisioned(provisioned) = &answer else {
            return Err(Error::new(Code::Bug, "create a tenant and be told about it").into());
        };
        let tenant = provisioned.tenant.clone();
        self.command(scenes, &format!("tenantctl create {id} --isolation {isolation}"), answer)?;
        Ok(tenant)
    }

    /// Adds a migration to both directories, as a developer would.
    fn add_migration(&self, scenes: &mut Vec<Scene>) -> Result<(), Error> {
        let next = embedded::tenant()?.head().map_or(1, |head| head.0 + 1);
        let files = [
            ("shared", SHARED_MIGRATION, "table invoices, with a tenant_id"),
            ("tenant", TENANT_MIGRATION, "table invoices, for one tenant"),
        ];
        for (set, text, what) in files {
            let path = Path::new("migrations").join(set).join(format!("V{next}__invoices.sql"));
            self.server.put(&path, text)?;
            self.tell(scenes, Scene::File { path, what })?;
        }
        Ok(())
    }

    /// Connections of one role, as an application's pool would make them.
    fn connections(&self, role: &str) -> Result<Servers, Error> {
        let source = Source::File(config_in(self.server.socket_dir()));
        let url = self.server.url(DATABASE, role);
        let settings = conninfo::resolve(&url, &source, &Environment::bare())?;
        Ok(Servers::new([(cluster()?, settings, 1)], "demo"))
    }

    async fn attempt(&self, attempt: Attempt) -> Result<Trial, Error> {
        let Attempt { claim, role, tenant, database, statements, expected } = attempt;
        let servers = self.connections(role.as_str())?;
        let answer = match servers.dedicated(&cluster()?, Some(&database)).await {
            Ok(session) => last_answer(&session, &statements).await?,
            Err(Error { answer: Some(answer), .. }) => Answer::Refused(*answer),
            Err(error) => return Err(error),
        };
        let mut shown: Vec<String> =
            statements.iter().map(|statement| statement.as_str().to_owned()).collect();
        if shown.is_empty() {
            shown.push(format!("\\connect {database}"));
        }
        let held = expected.met_by(&answer);
        let (answer, sqlstate) = in_words(answer);
        Ok(Trial { claim, role, tenant, statements: shown, answer, sqlstate, held })
    }
}

/// How long the demo's commands wait for each other: there is nobody else.
const WAIT: Duration = Duration::from_secs(30);
const LIMITS: pg::Limits = pg::Limits { lock: Duration::from_secs(5), statement: None };

fn up_options() -> UpOptions {
    UpOptions { lock_wait: WAIT, limits: LIMITS, ..UpOptions::default() }
}

fn cluster() -> Result<ClusterName, Error> {
    ClusterName::new(CLUSTER)
}

fn config_in(directory: &Path) -> PathBuf {
    directory.join(crate::config::fleet::FILE)
}

/// Something that an application tries, and what isolation promises.
struct Attempt {
    claim: &'static str,
    role: Ident,
    tenant: Option<TenantId>,
    database: Ident,
    /// Run in order; without any, connecting is what is tried.
    statements: Vec<Sql>,
    expected: Expected,
}

/// What isolation promises.
enum Expected {
    /// So many rows are read.
    Rows(usize),
    /// So many rows are written.
    Written(u64),
    /// The server refuses, for want of a privilege.
    Refused,
}

impl Expected {
    fn met_by(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Rows(expected), Answer::Rows(rows)) => rows.len() == *expected,
            (Self::Written(expected), Answer::Done(written)) => written == expected,
            // Insufficient privilege: row-level security answers with it too.
            (Self::Refused, Answer::Refused(answer)) => answer.sqlstate == "42501",
            _ => false,
        }
    }
}

/// What is tried: reading and writing across every wall, after something was put behind one.
fn attempts(tenants: &[Tenant]) -> Result<Vec<Attempt>, Error> {
    let [acme, bolt, corp, dime] = tenants else {
        return Err(Error::new(Code::Bug, "find the demo's tenants"));
    };
    let setting = |tenant: &Tenant| {
        sql!("SELECT {}.set_tenant_context({})", tenant.placement.schema, Literal(&tenant.key))
    };
    let read = |tenant: &Tenant| sql!("SELECT number FROM {}.invoices", tenant.placement.schema);
    let shared = |claim, tenant: Option<&Tenant>, statements: Vec<Sql>, expected| {
        let mut script = vec![sql!("BEGIN")];
        script.extend(tenant.map(setting));
        script.extend(statements);
        Attempt {
            claim,
            role: corp.role().clone(),
            tenant: tenant.map(|tenant| tenant.id.clone()),
            database: corp.placement.database.clone(),
            statements: script,
            expected,
        }
    };
    let schema = &corp.placement.schema;
    let organisation = sql!(
        "INSERT INTO {}.organisations (tenant_id, name) VALUES ({}.current_tenant_id(), 'Corp')",
        schema,
        schema
    );
    let invoice = sql!(
        "INSERT INTO {}.invoices VALUES ({}.current_tenant_id(), DEFAULT, 'C-1')",
        schema,
        schema
    );
    let forged =
        sql!("INSERT INTO {}.invoices VALUES ({}, DEFAULT, 'C-2')", schema, Literal(&corp.key));
    let written = {
        let statements = vec![organisation, invoice];
        let mut attempt =
            shared("corp writes an invoice", Some(corp), statements, Expected::Written(1));
        attempt.statements.push(sql!("COMMIT"));
        attempt
    };
    let own = |claim, tenant: &Tenant, database: &Tenant, statements, expected| Attempt {
        claim,
        role: tenant.role().clone(),
        tenant: None,
        database: database.placement.database.clone(),
        statements,
        expected,
    };
    let refused = Expected::Refused;
    Ok(vec![
        written,
        shared("corp reads it back", Some(corp), vec![read(corp)], Expected::Rows(1)),
        shared("dime reads the same table", Some(dime), vec![read(dime)], Expected::Rows(0)),
        shared("dime writes in corp's name", Some(dime), vec![forged], Expected::Refused),
        shared("a session without a tenant reads", None, vec![read(corp)], Expected::Rows(0)),
        shared("corp reads bolt's schema", Some(corp), vec![read(bolt)], Expected::Refused),
        own("bolt reads the shared tables", bolt, bolt, vec![read(corp)], Expected::Refused),
        own("bolt connects to acme's database", bolt, acme, Vec::new(), refused),
    ])
}

/// Runs statements in order. The answer is the last one's, or the first refusal; what ends a
/// transaction answers nothing.
async fn last_answer(session: &pg::Session, statements: &[Sql]) -> Result<Answer, Error> {
    let mut last = Answer::Done(0);
    for statement in statements {
        let answer = pg::trial(session, statement).await?;
        if matches!(answer, Answer::Refused(_)) {
            return Ok(answer);
        }
        if statement.as_str() != "COMMIT" {
            last = answer;
        }
    }
    Ok(last)
}

fn in_words(answer: Answer) -> (String, Option<String>) {
    match answer {
        Answer::Rows(rows) => (crate::model::count(rows.len(), "row"), None),
        Answer::Done(written) => {
            let written = usize::try_from(written).unwrap_or(usize::MAX);
            (format!("{} written", crate::model::count(written, "row")), None)
        }
        Answer::Refused(answer) => (answer.message, Some(answer.sqlstate)),
    }
}

/// Lets the server run on, and collects what its user needs.
fn kept(server: Server, tenants: &[Tenant]) -> anyhow::Result<Kept> {
    let operator = server.url(DATABASE, OPERATOR);
    let tenants = tenants
        .iter()
        .map(|tenant| KeptTenant {
            id: tenant.id.clone(),
            isolation: tenant.isolation,
            key: tenant.key.clone(),
            url: server.url(tenant.placement.database.as_str(), tenant.role().as_str()),
        })
        .collect();
    let kept = server.keep()?;
    Ok(Kept {
        config: config_in(&kept.directory),
        stop: kept.stop_command(),
        pid: kept.pid,
        directory: kept.directory,
        operator,
        tenants,
    })
}
