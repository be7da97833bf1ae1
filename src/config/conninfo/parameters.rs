//! Every parameter that libpq knows: its variable, and what tenantctl makes of it.
//!
//! A parameter that cannot be honoured is refused with the reason. Silence would be worse: most of
//! them make a connection safer.

use std::collections::BTreeMap;

use crate::error::{Code, Error};
use crate::model::connection::Origin;

use super::Pair;

/// What tenantctl makes of a parameter.
#[derive(Clone, Copy)]
pub(super) enum Support {
    /// It has its effect.
    Honoured,
    /// As `Honoured`, and its value is never shown or taken from the command line.
    Secret,
    /// It has no effect here, and none is missed.
    Accepted,
    /// Only these values can be had; the rest is refused for a reason.
    Only(&'static [&'static str], &'static str),
    /// It cannot be had at all.
    Refused(&'static str),
}

/// One row of libpq's table.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) support: Support,
}

const fn row(name: &'static str, variable: Option<&'static str>, support: Support) -> Parameter {
    Parameter { name, variable, support }
}

const NO_CRL: &str = "revocation lists are not checked by the TLS library in use; \
                      put short-lived certificates on the server, or a proxy that checks in front";
const NO_GSS: &str = "GSSAPI is not supported; use a password, a client certificate or a proxy";
const NO_OAUTH: &str = "OAuth is not supported; use a password or a client certificate";
const NO_SCRAM_KEYS: &str = "SCRAM keys are not supported; give the password itself";

/// libpq's parameters (PostgreSQL 18), sorted by name.
pub(super) const PARAMETERS: &[Parameter] = {
    use Support::{Accepted, Honoured, Only, Refused, Secret};
    &[
        row("application_name", Some("PGAPPNAME"), Honoured),
        row("channel_binding", Some("PGCHANNELBINDING"), Honoured),
        row(
            "client_encoding",
            Some("PGCLIENTENCODING"),
            Only(&["utf8", "utf-8", "unicode", "auto"], "sessions always speak UTF8"),
        ),
        row("connect_timeout", Some("PGCONNECT_TIMEOUT"), Honoured),
        row("dbname", Some("PGDATABASE"), Honoured),
        row("fallback_application_name", None, Accepted),
        row("gssdelegation", Some("PGGSSDELEGATION"), Only(&["0"], NO_GSS)),
        row("gssencmode", Some("PGGSSENCMODE"), Only(&["disable", "prefer"], NO_GSS)),
        row("gsslib", Some("PGGSSLIB"), Accepted),
        row("host", Some("PGHOST"), Honoured),
        row("hostaddr", Some("PGHOSTADDR"), Honoured),
        row("keepalives", None, Honoured),
        row("keepalives_count", None, Honoured),
        row("keepalives_idle", None, Honoured),
        row("keepalives_interval", None, Honoured),
        row("krbsrvname", Some("PGKRBSRVNAME"), Accepted),
        row("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Honoured),
        row("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Accepted),
        row(
            "min_protocol_version",
            Some("PGMINPROTOCOLVERSION"),
            Only(&["3.0"], "protocol 3.0 is spoken, which every server understands"),
        ),
        row("oauth_client_id", None, Refused(NO_OAUTH)),
        row("oauth_client_secret", None, Refused(NO_OAUTH)),
        row("oauth_issuer", None, Refused(NO_OAUTH)),
        row("oauth_scope", None, Refused(NO_OAUTH)),
        row("options", Some("PGOPTIONS"), Honoured),
        row("passfile", Some("PGPASSFILE"), Honoured),
        row("password", Some("PGPASSWORD"), Secret),
        row("port", Some("PGPORT"), Honoured),
        row(
            "replication",
            None,
            Only(&["0", "false", "off", "no"], "replication sessions cannot run what is needed"),
        ),
        row(
            "require_auth",
            Some("PGREQUIREAUTH"),
            Refused(
                "the way of authentication cannot be restricted; \
                 channel_binding=require with sslmode=verify-full insists on SCRAM",
            ),
        ),
        row(
            "requirepeer",
            Some("PGREQUIREPEER"),
            Refused(
                "the owner of a unix socket is not checked; \
                 name a socket directory that only the server's user can write to",
            ),
        ),
        row("scram_client_key", None, Refused(NO_SCRAM_KEYS)),
        row("scram_server_key", None, Refused(NO_SCRAM_KEYS)),
        row("service", Some("PGSERVICE"), Honoured),
        row("servicefile", Some("PGSERVICEFILE"), Honoured),
        row("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Honoured),
        row("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Honoured),
        row("sslcert", Some("PGSSLCERT"), Honoured),
        row(
            "sslcertmode",
            Some("PGSSLCERTMODE"),
            Only(
                &["allow", "disable"],
                "whether the server asked for the certificate cannot be seen; \
                 let pg_hba.conf demand it with clientcert=verify-full",
            ),
        ),
        row("sslcompression", Some("PGSSLCOMPRESSION"), Accepted),
        row("sslcrl", Some("PGSSLCRL"), Refused(NO_CRL)),
        row("sslcrldir", Some("PGSSLCRLDIR"), Refused(NO_CRL)),
        row("sslkey", Some("PGSSLKEY"), Honoured),
        row(
            "sslkeylogfile",
            None,
            Refused("TLS keys are not written to files; debug with a session that has no secrets"),
        ),
        row("sslmode", Some("PGSSLMODE"), Honoured),
        row("sslnegotiation", Some("PGSSLNEGOTIATION"), Honoured),
        row("sslpassword", None, Secret),
        row("sslrootcert", Some("PGSSLROOTCERT"), Honoured),
        row("sslsni", Some("PGSSLSNI"), Honoured),
        row("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Honoured),
        row("tcp_user_timeout", None, Honoured),
        row("user", Some("PGUSER"), Honoured),
    ]
};

/// Finds a parameter by libpq's name.
pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}

/// The known name that a misspelt one is nearest to, when one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.trim().to_ascii_lowercase();
    PARAMETERS
        .iter()
        .map(|parameter| (distance(&name, parameter.name), parameter.name))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .map(|(_, nearest)| nearest)
}

/// Levenshtein's distance: how many letters to insert, remove or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *slot;
            left = replaced.min(left + 1).min(*slot + 1);
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// One value and who gave it.
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// What has been given so far. Whoever comes first stays: sources are added by precedence.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<&'static str, Given>);

impl Parameters {
    /// Adds what one source says, where nobody said anything before.
    ///
    /// `place` names the source in the complaint about parameters that libpq does not know.
    pub(super) fn add(
        &mut self,
        pairs: Vec<Pair>,
        origin: &Origin,
        place: &str,
    ) -> Result<(), Error> {
        let mut unknown = Vec::new();
        let mut hints = Vec::new();
        // Within one string the last word wins.
        let mut said = BTreeMap::new();
        let mut after_secret = None;
        for pair in pairs {
            if let Some(parameter) = find(&pair.name) {
                said.insert(parameter.name, pair.value);
                after_secret =
                    matches!(parameter.support, Support::Secret).then_some(parameter.name);
            } else if let (Some(secret), None) = (after_secret, nearest(&pair.name)) {
                // Most likely the rest of a password that was not quoted or encoded.
                unknown.push(format!("right after {secret}"));
                hints.push(format!("quote or percent-encode the value of {secret}"));
            } else {
                hints.extend(
                    nearest(&pair.name)
                        .map(|near| format!("did you mean {near:?} instead of {:?}?", pair.name)),
                );
                unknown.push(format!("{:?}", pair.name));
            }
        }
        if !unknown.is_empty() {
            let noun = if unknown.len() == 1 { "parameter" } else { "parameters" };
            let mut error = Error::new(
                Code::Config,
                format!("read {place}: unknown {noun} {}", unknown.join(", ")),
            );
            error.hints = hints;
            return Err(error);
        }
        for (name, value) in said {
            self.0.entry(name).or_insert_with(|| Given { value, origin: origin.clone() });
        }
        Ok(())
    }

    /// Adds one value, where nobody said anything before.
    pub(super) fn add_one(&mut self, name: &'static str, value: &str, origin: Origin) {
        self.0.entry(name).or_insert_with(|| Given { value: value.to_owned(), origin });
    }

    /// What was given, empty or not.
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// What was given, where an empty value means the default.
    pub(super) fn filled(&self, name: &str) -> Option<&Given> {
        self.get(name).filter(|given| !given.value.is_empty())
    }

    /// Who gave what.
    pub(super) fn origins(&self) -> BTreeMap<&'static str, Origin> {
        self.0
            .iter()
            .filter(|(_, given)| !given.value.is_empty())
            .map(|(name, given)| (*name, given.origin.clone()))
            .collect()
    }

    /// Refuses what cannot be honoured, with the reason.
    pub(super) fn check_support(&self) -> Result<(), Error> {
        for parameter in PARAMETERS {
            let Some(given) = self.filled(parameter.name) else { continue };
            let why = match parameter.support {
                Support::Refused(why) => why,
                Support::Only(words, why)
                    if !words.iter().any(|word| word.eq_ignore_ascii_case(&given.value)) =>
                {
                    why
                }
                _ => continue,
            };
            let shown = match parameter.support {
                Support::Only(..) => format!("{}={}", parameter.name, given.value),
                _ => parameter.name.to_owned(),
            };
            return Err(Error::new(
                Code::Config,
                format!("honour {shown} from {}: {why}", given.origin),
            )
            .hint(format!("remove {} there", parameter.name)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_name_twice() {
        assert!(PARAMETERS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        assert_eq!(nearest("sslmod"), Some("sslmode"));
        assert_eq!(nearest("user "), Some("user"));
        assert_eq!(nearest("database"), None);
        assert_eq!(nearest("zzz"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
