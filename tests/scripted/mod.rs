//! A server of the tests' own on loopback, that answers as a test tells it to, or does not.

#![allow(dead_code, reason = "each file of tests uses a part of this")]

pub(crate) mod exchange;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::StreamOwned;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the client showed a certificate.
    pub(crate) certified: bool,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut pairs = pairs.map(|(name, value)| (decode(name), decode(value)));
        Some(pairs.find(|(own, _)| own == name)?.1)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name)?;
        Some(&found.1)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap().to_owned();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What a server sends back; errors of sending are the client's business.
pub(crate) type Reply = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// A whole answer with its length; headers as `Name: value`.
pub(crate) fn answer(status: u16, headers: &[&str], body: impl Into<Vec<u8>>) -> Reply {
    let body = body.into();
    let mut bytes = format!(
        "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers {
        bytes.push_str(header);
        bytes.push_str("\r\n");
    }
    bytes.push_str("Connection: close\r\n\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(&body);
    raw(bytes)
}

/// These bytes and nothing else.
pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Reply {
    let bytes = bytes.into();
    Box::new(move |to| to.write_all(&bytes))
}

/// Nothing for as long as that.
pub(crate) fn silence(wait: Duration) -> Reply {
    Box::new(move |_| {
        thread::sleep(wait);
        Ok(())
    })
}

/// Which kind of TLS a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// None.
    No,
    /// With its certificate.
    Yes,
    /// With its certificate, and wants one of the client, if it has one.
    Both,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    tls: Tls,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request by `reply`, which is told its number from 0.
    pub(crate) fn start(reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Tls::No, reply)
    }

    pub(crate) fn start_with(
        tls: Tls,
        reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let config = (tls != Tls::No).then(|| Arc::new(server_config(tls)));
        let reply = Arc::new(reply);
        let (log, stopped) = (asked.clone(), stop.clone());
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (log, reply, config) = (log.clone(), reply.clone(), config.clone());
                thread::spawn(move || serve(stream, config, &log, &*reply));
            }
        });
        Self {
            port,
            tls,
            asked,
            stop,
            acceptor: Some(acceptor),
        }
    }

    /// The address of `path` on it.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls == Tls::No { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    /// All requests up to now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // wakes the acceptor
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }
}

fn serve(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    log: &Mutex<Vec<Asked>>,
    reply: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) {
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    match config {
        None => {
            let mut stream = stream;
            let _ = exchange(&mut stream, |_| false, log, reply);
        }
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let certified =
                |s: &StreamOwned<ServerConnection, TcpStream>| s.conn.peer_certificates().is_some();
            let _ = exchange(&mut stream, certified, log, reply);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

/// Reads one request and answers it.
fn exchange<S: Read + Write>(
    stream: &mut S,
    certified: impl Fn(&S) -> bool,
    log: &Mutex<Vec<Asked>>,
    reply: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
        // the first byte of a TLS record
        if head == [0x16] {
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap().split(' ');
    let mut asked = Asked {
        method: words.next().unwrap().to_owned(),
        target: words.next().unwrap().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: Vec::new(),
        certified: certified(stream),
    };
    if let Some(length) = asked.header("content-length") {
        asked.body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut asked.body)?;
    }
    let number = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    reply(&asked, number)(stream)?;
    stream.flush()
}

/// A file of the tests' own small PKI, valid for a hundred years and worth nothing.
pub(crate) fn pki(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripted/tls")
        .join(name)
}

fn server_config(tls: Tls) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(pki("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(pki("server.key")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if tls == Tls::Both {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(pki("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(vec![certificate], key).unwrap()
}
