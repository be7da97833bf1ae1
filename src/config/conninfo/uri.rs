//! Reads `postgresql://user@host1:5432,[::1]:5433/database?sslmode=require`: libpq's URI form.
//!
//! A complaint never quotes the text: with a stray `/` or `@` in a password, any part of a URI may
//! be a piece of it. For the same reason two texts that libpq would read are refused: see
//! [`parse`].

use super::{Malformed, Pair};

const HINT: &str =
    "percent-encode what is special in a URL: %40 for @, %2F for /, %3A for :, %3F for ?";

/// Whether a text means to be a URI at all.
pub(super) fn is_uri(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// Splits a URI into its parameters.
///
/// libpq would take `u:12/x@host/db` for host `u`, port 12, database `x@host/db`, and `u:a@b@host`
/// for host `b@host`. Both are passwords that were not encoded, and would be shown in messages as
/// the name of a database or host: they are refused.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, Malformed> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let mut pairs = Vec::new();
    let (login, rest) = match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    };
    if let Some(login) = login {
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
        push(&mut pairs, "user", decode(user, "user")?);
        push(&mut pairs, "password", decode(password.unwrap_or_default(), "password")?);
    }
    let (location, query) =
        rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (hosts, database) =
        location.split_once('/').map_or((location, None), |(hosts, rest)| (hosts, Some(rest)));
    if location.contains('@') {
        return Err(Malformed::new("an \"@\" stands where no \"@\" can be").hint(HINT));
    }
    push_hosts(&mut pairs, hosts)?;
    push(&mut pairs, "dbname", decode(database.unwrap_or_default(), "database")?);
    for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        pairs.push(query_parameter(part)?);
    }
    Ok(pairs)
}

/// An absent part of a URI leaves the parameter to the environment.
fn push(pairs: &mut Vec<Pair>, name: &str, value: String) {
    if !value.is_empty() {
        pairs.push(Pair { name: name.to_owned(), value });
    }
}

/// Makes the lists that `host` and `port` hold in the keyword form, in step with each other.
fn push_hosts(pairs: &mut Vec<Pair>, text: &str) -> Result<(), Malformed> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for item in text.split(',') {
        let (host, port) = if let Some(rest) = item.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or_else(|| {
                Malformed::new("the IPv6 address does not end").hint("write it as [::1]:5432")
            })?;
            if address.is_empty() {
                return Err(Malformed::new("the IPv6 address is empty"));
            }
            let port = match rest.strip_prefix(':') {
                Some(port) => port,
                None if rest.is_empty() => "",
                None => return Err(Malformed::new("something follows the IPv6 address")),
            };
            (address, port)
        } else {
            item.split_once(':').unwrap_or((item, ""))
        };
        let port = decode(port, "port")?;
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::new("the port is not a number").hint(HINT));
        }
        hosts.push(decode(host, "host")?);
        ports.push(port);
    }
    if hosts.iter().any(|host| !host.is_empty()) || hosts.len() > 1 {
        push(pairs, "host", hosts.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        push(pairs, "port", ports.join(","));
    }
    Ok(())
}

fn query_parameter(part: &str) -> Result<Pair, Malformed> {
    let Some((name, value)) = part.split_once('=') else {
        return Err(Malformed::new("a parameter after \"?\" has no value")
            .hint("write ?name=value&name=value")
            .hint(HINT));
    };
    if value.contains('=') {
        return Err(Malformed::new("a parameter after \"?\" holds a second \"=\"")
            .hint("percent-encode an \"=\" inside a value as %3D"));
    }
    let (name, value) = (decode(name, "name of a parameter")?, decode(value, "parameter")?);
    // JDBC's way to say it, which libpq understands too.
    if name == "ssl" && value == "true" {
        return Ok(Pair { name: "sslmode".to_owned(), value: "require".to_owned() });
    }
    Ok(Pair { name, value })
}

fn decode(text: &str, part: &str) -> Result<String, Malformed> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|&digit| char::from(digit).to_digit(16));
        match (digit(), digit()) {
            (Some(0), Some(0)) => {
                return Err(Malformed::new(format!("the {part} holds %00")));
            }
            // Two hexadecimal digits always fit.
            (Some(high), Some(low)) => bytes.extend(u8::try_from(high * 16 + low)),
            _ => {
                return Err(Malformed::new(format!(
                    "a \"%\" in the {part} is not followed by two hexadecimal digits"
                ))
                .hint("write the \"%\" itself as %25"));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Malformed::new(format!("the {part} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::model::connection::percent_encode;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|pair| (pair.name, pair.value)).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn every_part_is_found() {
        assert_eq!(
            read(
                "postgresql://ad%6Din:p%40ss@db.internal:6432/app?sslmode=require&options=-c%20a%3Db"
            ),
            owned(&[
                ("user", "admin"),
                ("password", "p@ss"),
                ("host", "db.internal"),
                ("port", "6432"),
                ("dbname", "app"),
                ("sslmode", "require"),
                ("options", "-c a=b"),
            ])
        );
    }

    #[test]
    fn absent_parts_are_left_to_the_environment() {
        assert_eq!(read("postgres://"), []);
        assert_eq!(read("postgres:///app"), owned(&[("dbname", "app")]));
        assert_eq!(read("postgres://?host=/tmp"), owned(&[("host", "/tmp")]));
        assert_eq!(read("postgres://u@"), owned(&[("user", "u")]));
    }

    #[test]
    fn hosts_and_ports_stay_in_step() {
        assert_eq!(
            read("postgres://a,b:5433,[2001:db8::1]:5434/x"),
            owned(&[("host", "a,b,2001:db8::1"), ("port", ",5433,5434"), ("dbname", "x")])
        );
        assert_eq!(read("postgres://%2Frun%2Fpg:1"), owned(&[("host", "/run/pg"), ("port", "1")]));
        assert_eq!(read("postgres://[::1]"), owned(&[("host", "::1")]));
    }

    #[test]
    fn a_password_that_was_not_encoded_is_refused_and_not_shown() {
        for text in [
            "postgres://u:hun/ter2@host/db",
            "postgres://u:12/hunter2@host/db",
            "postgres://u:hun@ter2@host/db",
            "postgres://u:hun%ter2@host/db",
            "postgres://u:hun%00ter2@host/db",
            "postgres://hunter2:hunter2",
            "postgres://host?hunter2",
        ] {
            let complaint = parse(text).err().unwrap();
            assert!(!format!("{complaint:?}").contains("ter2"), "{text}: {complaint:?}");
        }
    }

    #[test]
    fn jdbc_s_ssl_is_understood() {
        assert_eq!(read("postgres://?ssl=true"), owned(&[("sslmode", "require")]));
    }

    proptest! {
        #[test]
        fn an_encoded_value_comes_back(
            user in "[^\0]{1,20}", password in "[^\0]{1,20}", database in "[^\0]{1,20}",
        ) {
            let text = format!(
                "postgres://{}:{}@h/{}",
                percent_encode(&user), percent_encode(&password), percent_encode(&database),
            );
            prop_assert_eq!(read(&text), owned(&[
                ("user", &user), ("password", &password), ("host", "h"), ("dbname", &database),
            ]));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _result = parse(&format!("postgres://{text}"));
        }
    }
}
