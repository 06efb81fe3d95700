//! Who asks, and how it makes sure of whom.

use super::LONGEST_HEAD;
use super::error::HttpCause;
use super::error::HttpError;
use super::url::Url;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;
use ureq::http::HeaderValue;
use ureq::tls::Certificate;
use ureq::tls::ClientCert;
use ureq::tls::PrivateKey;
use ureq::tls::RootCerts;
use ureq::tls::TlsConfig;

/// Bytes of a file of certificates; all public CAs together have a quarter of it.
const LONGEST_PEM: u64 = 1 << 20;

/// Bytes of a user name, password or token; no server takes longer headers.
const LONGEST_SECRET: usize = 4 << 10;

/// Idle connections to one server; a client asks one thing at a time.
const IDLE_CONNECTIONS: usize = 2;

/// How a [`super::Client`] presents itself. Never shown in messages.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// User name and password (RFC 7617).
    Basic {
        /// Without a colon.
        username: String,
        /// Any text.
        password: String,
    },
    /// A token, as `Authorization: Bearer …` (RFC 6750).
    Bearer(String),
    /// A key that is all of `Authorization`, as MISP wants it.
    Key(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
            Self::Key(_) => "Key(…)",
        })
    }
}

/// The certificate by which a client is known, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those that lead to its CA, in this order.
    pub certificate: PathBuf,
    /// Its private key, unencrypted: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// What a [`super::Client`] is made of.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The server. Credentials, of whatever kind, go to its origin alone.
    pub url: Url,
    /// How the client presents itself.
    pub credentials: Credentials,
    /// The certificate by which it is known; `None`: it has none. May come on top of credentials.
    pub certificate: Option<ClientCertificate>,
    /// PEM file of the CAs that the server's certificate may come from, instead of the public
    /// ones; `None`: the public ones, as Mozilla lists them.
    pub ca: Option<PathBuf>,
    /// Whether requests may cross the network unencrypted. Loopback needs no permission.
    pub allow_clear: bool,
    /// From the look-up of the name to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// Between two pieces of data.
    pub read_timeout: Duration,
    /// From the request to the last byte of the answer, redirects included.
    pub overall_timeout: Duration,
}

impl ClientOptions {
    /// A server far away on a bad day.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
    /// Servers that search first answer late.
    pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
    /// Long enough for a gigabyte over a slow line.
    pub const OVERALL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

    /// Options for the server at `url`: no credentials, public CAs, no clear text.
    pub const fn new(url: Url) -> Self {
        Self {
            url,
            credentials: Credentials::None,
            certificate: None,
            ca: None,
            allow_clear: false,
            connect_timeout: Self::CONNECT_TIMEOUT,
            read_timeout: Self::READ_TIMEOUT,
            overall_timeout: Self::OVERALL_TIMEOUT,
        }
    }

    /// Reads the files and makes what sends.
    pub(super) fn prepare(&self) -> Result<Prepared, HttpError> {
        let fail = |what| HttpError::new(&self.url, HttpCause::Options(what));
        let roots = match &self.ca {
            Some(path) => RootCerts::new_with_certs(&read_roots(path).map_err(fail)?),
            None => RootCerts::WebPki,
        };
        let certificate = match &self.certificate {
            Some(files) => Some(read_identity(files).map_err(fail)?),
            None => None,
        };
        let has_certificate = certificate.is_some();
        let own = self.agent(roots.clone(), certificate);
        let foreign = match has_certificate {
            true => self.agent(roots, None),
            false => own.clone(),
        };
        Ok(Prepared {
            own,
            foreign,
            authorization: self.authorization().map_err(fail)?,
        })
    }

    fn agent(&self, roots: RootCerts, certificate: Option<ClientCert>) -> Agent {
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .client_cert(certificate)
            .build();
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("watchpost/", env!("CARGO_PKG_VERSION")))
            .proxy(ureq::Proxy::try_from_env())
            .tls_config(tls)
            .timeout_resolve(Some(self.connect_timeout))
            .timeout_connect(Some(self.connect_timeout))
            .timeout_per_read(Some(self.read_timeout))
            .timeout_per_write(Some(self.read_timeout))
            .timeout_recv_response(Some(self.read_timeout))
            .max_response_header_size(LONGEST_HEAD)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .build()
            .into()
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let value = match &self.credentials {
            Credentials::None => return Ok(None),
            Credentials::Basic { username, password } => {
                check_secret("user name", username)?;
                check_secret("password", password)?;
                if username.contains(':') {
                    return Err("the user name holds a colon, which HTTP cannot carry".to_owned());
                }
                format!(
                    "Basic {}",
                    STANDARD.encode(format!("{username}:{password}"))
                )
            }
            Credentials::Bearer(token) => {
                check_secret("token", token)?;
                format!("Bearer {token}")
            }
            Credentials::Key(key) => {
                check_secret("key", key)?;
                key.clone()
            }
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| "the token holds characters that HTTP cannot carry: check its file")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// What [`ClientOptions`] come to.
pub(super) struct Prepared {
    /// With the client's certificate, if it has one.
    pub(super) own: Agent,
    /// Without.
    pub(super) foreign: Agent,
    /// Value of `Authorization`; `None`: none is sent.
    pub(super) authorization: Option<HeaderValue>,
}

fn check_secret(what: &str, secret: &str) -> Result<(), String> {
    if secret.is_empty() {
        return Err(format!("the {what} is empty: write it into its file"));
    }
    if secret.len() > LONGEST_SECRET {
        return Err(format!(
            "the {what} is longer than {LONGEST_SECRET} bytes: is it the right file?"
        ));
    }
    if secret.chars().any(char::is_control) {
        return Err(format!(
            "the {what} holds a line break or control character: check its file"
        ));
    }
    Ok(())
}

fn read_roots(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let bytes = read_file("CA certificates", path)?;
    let mut store = RootCertStore::empty();
    let mut roots = Vec::new();
    for der in read_certificates(path, &bytes)? {
        roots.push(Certificate::from_der(&der).to_owned());
        store.add(der).map_err(|error| {
            let number = roots.len();
            format!(
                "certificate {number} of {} is no CA certificate: {error}",
                path.display()
            )
        })?;
    }
    Ok(roots)
}

fn read_identity(files: &ClientCertificate) -> Result<ClientCert, String> {
    let certificate = read_file("client certificate", &files.certificate)?;
    let chain = read_certificates(&files.certificate, &certificate)?;
    let shown = files.key.display();
    let bytes = read_file("client key", &files.key)?;
    let no_key = |_| {
        format!("{shown} holds no private key that can be used: write it as PEM, without password")
    };
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(no_key)?;
    let certificates: Vec<Certificate<'static>> = chain
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    // ureq takes for granted that the two belong together
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        format!(
            "{} and {shown} do not belong together, or cannot be used: {error}",
            files.certificate.display()
        )
    })?;
    let key = PrivateKey::from_pem(&bytes)
        .map_err(|_| format!("{shown} holds no private key that can be used"))?;
    Ok(ClientCert::new_with_certs(&certificates, key))
}

fn read_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!(
            "{shown} holds no certificate: write it as PEM (-----BEGIN CERTIFICATE-----)"
        )),
        Err(error) => Err(format!("{shown} is no PEM file: {error}")),
    }
}

fn read_file(what: &str, path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_PEM + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{what} {shown} cannot be read: {error}"))?;
    if bytes.len() as u64 > LONGEST_PEM {
        return Err(format!(
            "{what} {shown} is longer than {LONGEST_PEM} bytes: is it the right file?"
        ));
    }
    Ok(bytes)
}
