//! What libpq is told by its environment, and never by arguments, which everybody can read.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;

use crate::error::{Code, Error};
use crate::model::connection::{
    ConnectionSettings, Host, Password, RootCertificate, Server, TargetSessionAttrs,
};

/// The variables of one program.
pub(super) struct Surroundings {
    variables: Vec<(&'static str, OsString)>,
    /// Lives as long as the program does.
    _passfile: Option<tempfile::NamedTempFile>,
}

impl Surroundings {
    /// Says where to connect, as whom and how; `options` are added to those of the user.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] when a password file cannot be written.
    pub(super) fn of(settings: &ConnectionSettings, options: &str) -> Result<Self, Error> {
        let mut variables = place(settings);
        variables.extend(tls(settings));
        let theirs = settings.options.clone().unwrap_or_default();
        variables.push(("PGOPTIONS", format!("{theirs} {options}").trim().to_owned().into()));
        let mut passfile = None;
        match &settings.password {
            Password::Missing => {}
            // The environment of a process is its user's alone, and nothing is left on the disk.
            Password::Given(secret) => variables.push(("PGPASSWORD", secret.expose().into())),
            Password::LookedUp(_) => {
                let file = write_passfile(settings)?;
                variables.push(("PGPASSFILE", file.path().into()));
                passfile = Some(file);
            }
        }
        Ok(Self { variables, _passfile: passfile })
    }

    /// The variables, by name.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_os_str()))
    }
}

fn place(settings: &ConnectionSettings) -> Vec<(&'static str, OsString)> {
    let each = |spell: &dyn Fn(&Server) -> String| {
        settings.servers.iter().map(spell).collect::<Vec<_>>().join(",")
    };
    let host = each(&|server| match &server.host {
        Host::Tcp { name, .. } => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let address = each(&|server| match &server.host {
        Host::Tcp { address: Some(address), .. } => address.to_string(),
        Host::Tcp { address: None, .. } | Host::Unix(_) => String::new(),
    });
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGHOST", host.into()),
        ("PGPORT", each(&|server| server.port.to_string()).into()),
        ("PGUSER", settings.user.clone().into()),
        ("PGDATABASE", settings.database.clone().into()),
        ("PGAPPNAME", settings.application_name.clone().into()),
    ];
    if !address.trim_matches(',').is_empty() {
        variables.push(("PGHOSTADDR", address.into()));
    }
    if settings.target_session_attrs != TargetSessionAttrs::Any {
        variables.push(("PGTARGETSESSIONATTRS", settings.target_session_attrs.word().into()));
    }
    if let Some(limit) = settings.connect_timeout {
        variables.push(("PGCONNECT_TIMEOUT", limit.as_secs().max(2).to_string().into()));
    }
    variables
}

fn tls(settings: &ConnectionSettings) -> Vec<(&'static str, OsString)> {
    let tls = &settings.tls;
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGSSLMODE", tls.mode.word().into()),
        ("PGSSLMINPROTOCOLVERSION", tls.min_version.word().into()),
        ("PGSSLSNI", if tls.server_name_indication { "1" } else { "0" }.into()),
        ("PGCHANNELBINDING", settings.channel_binding.word().into()),
    ];
    if let Some(newest) = tls.max_version {
        variables.push(("PGSSLMAXPROTOCOLVERSION", newest.word().into()));
    }
    match &tls.root_certificate {
        Some(RootCertificate::File(path)) => variables.push(("PGSSLROOTCERT", path.into())),
        Some(RootCertificate::System) => variables.push(("PGSSLROOTCERT", "system".into())),
        None => {}
    }
    let files = [("PGSSLCERT", &tls.client_certificate), ("PGSSLKEY", &tls.client_key)];
    variables
        .extend(files.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?.into()))));
    variables
}

/// A password file with what is known of each server, readable by its owner alone from its first
/// moment on.
fn write_passfile(settings: &ConnectionSettings) -> Result<tempfile::NamedTempFile, Error> {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let lines = settings.servers.iter().filter_map(|server| {
        let password = settings.password_for(server)?;
        Some(format!(
            "{}:{}:*:{}:{}\n",
            escaped(&server.passfile_host()),
            server.port,
            escaped(&settings.user),
            escaped(password.expose())
        ))
    });
    let text: String = lines.collect();
    let attempt =
        |error: std::io::Error| Error::new(Code::Io, "write a password file").because(error);
    let mut file = tempfile::NamedTempFile::new().map_err(attempt)?;
    file.write_all(text.as_bytes()).map_err(attempt)?;
    file.flush().map_err(attempt)?;
    Ok(file)
}
