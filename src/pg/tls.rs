//! TLS by libpq's rules, on the operating system's TLS library.
//!
//! A connector takes tens of milliseconds to build (it reads the system's trust store), so one is
//! built per target and cloned per connection. [`Witnessed`] says whether TLS was really spoken,
//! which the driver keeps to itself.

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use native_tls::{Certificate, Protocol, TlsConnector, TlsConnectorBuilder};
use postgres_native_tls::{MakeTlsConnector, TlsStream, set_postgresql_alpn};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use crate::error::{Code, Error};
use crate::model::connection::{
    ConnectionSettings, Origin, RootCertificate, Server, SslMode, SslNegotiation, TlsVersion,
};

use super::identity;

/// Builds the connector of a target; none when the target never speaks TLS.
pub(super) fn connector(settings: &ConnectionSettings) -> Result<Option<MakeTlsConnector>, Error> {
    let tls = &settings.tls;
    if tls.mode == SslMode::Disable || settings.servers.iter().all(Server::is_unix) {
        return Ok(None);
    }
    let mut builder = TlsConnector::builder();
    trust(&mut builder, settings)?;
    if let Some(identity) = identity::read(settings)? {
        builder.identity(identity);
    }
    builder.min_protocol_version(Some(protocol(tls.min_version)));
    builder.max_protocol_version(tls.max_version.map(protocol));
    builder.use_sni(tls.server_name_indication);
    if tls.negotiation == SslNegotiation::Direct {
        set_postgresql_alpn(&mut builder);
    }
    builder.build().map(MakeTlsConnector::new).map(Some).map_err(|error| {
        Error::new(Code::Config, "set up TLS")
            .because(error)
            .hint("check that sslkey belongs to sslcert, and the ssl_*_protocol_version")
    })
}

/// Decides which certificates are believed.
///
/// As in libpq a root certificate that exists is used in every mode, so that `require` with one
/// means `verify-ca`. Stricter than libpq: one that was named and does not exist is a failure in
/// every mode, where libpq would silently check nothing below `verify-ca`.
fn trust(builder: &mut TlsConnectorBuilder, settings: &ConnectionSettings) -> Result<(), Error> {
    let mode = settings.tls.mode;
    let root = match &settings.tls.root_certificate {
        Some(RootCertificate::System) => return Ok(()),
        Some(RootCertificate::File(file)) => Some(file),
        None => None,
    };
    let named = settings.origin("sslrootcert") != &Origin::Default;
    match root {
        Some(file) if file.exists() => {
            let pem = fs::read(file).map_err(|error| identity::unreadable(file, error))?;
            let roots = Certificate::stack_from_pem(&pem).unwrap_or_default();
            if roots.is_empty() {
                return Err(Error::new(
                    Code::Config,
                    format!("find a certificate in {}", file.display()),
                )
                .hint("sslrootcert must hold certificates in PEM form"));
            }
            builder.disable_built_in_roots(true);
            for root in roots {
                builder.add_root_certificate(root);
            }
            builder.danger_accept_invalid_hostnames(mode != SslMode::VerifyFull);
            Ok(())
        }
        _ if named || mode >= SslMode::VerifyCa => {
            let file = root.map_or_else(
                || "~/.postgresql/root.crt".to_owned(),
                |file| file.display().to_string(),
            );
            Err(Error::new(
                Code::Config,
                format!("check the server's certificate: root certificate {file} does not exist"),
            )
            .hint("name the authority's certificate with sslrootcert=FILE")
            .hint("or trust the authorities of this system with sslrootcert=system"))
        }
        // Encrypted, with whoever answers: what libpq does below verify-ca.
        _ => {
            builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true);
            Ok(())
        }
    }
}

fn protocol(version: TlsVersion) -> Protocol {
    match version {
        TlsVersion::V1 => Protocol::Tlsv10,
        TlsVersion::V1_1 => Protocol::Tlsv11,
        TlsVersion::V1_2 => Protocol::Tlsv12,
        TlsVersion::V1_3 => Protocol::Tlsv13,
    }
}

/// A connector that remembers whether a handshake was begun with it.
#[derive(Clone)]
pub(super) struct Witnessed<T> {
    inner: T,
    begun: Arc<AtomicBool>,
}

impl Witnessed<MakeTlsConnector> {
    /// Watches one connection attempt.
    pub(super) fn new(inner: MakeTlsConnector) -> Self {
        Self { inner, begun: Arc::default() }
    }

    /// Shares what is remembered.
    pub(super) fn begun(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.begun)
    }
}

impl MakeTlsConnect<Socket> for Witnessed<MakeTlsConnector> {
    type Stream = TlsStream<Socket>;
    type TlsConnect = Witnessed<postgres_native_tls::TlsConnector>;
    type Error = native_tls::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, native_tls::Error> {
        let inner =
            <MakeTlsConnector as MakeTlsConnect<Socket>>::make_tls_connect(&mut self.inner, host)?;
        Ok(Witnessed { inner, begun: Arc::clone(&self.begun) })
    }
}

impl TlsConnect<Socket> for Witnessed<postgres_native_tls::TlsConnector> {
    type Stream = TlsStream<Socket>;
    type Error = native_tls::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, native_tls::Error>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        self.begun.store(true, Ordering::Relaxed);
        self.inner.connect(stream)
    }
}
