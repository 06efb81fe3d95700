//! The HTTP client against servers that do not behave.

mod scripted;

use flate2::Compression;
use flate2::write::GzEncoder;
use scripted::Asked;
use scripted::Reply;
use scripted::Server;
use scripted::Tls;
use scripted::answer;
use scripted::pki;
use scripted::raw;
use scripted::silence;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;
use watchpost::exchange::http::Client;
use watchpost::exchange::http::ClientCertificate;
use watchpost::exchange::http::ClientOptions;
use watchpost::exchange::http::Credentials;
use watchpost::exchange::http::Fetched;
use watchpost::exchange::http::HttpCause;
use watchpost::exchange::http::HttpError;
use watchpost::exchange::http::Method;
use watchpost::exchange::http::Url;
use watchpost::exchange::http::Validators;

const SECRET: &str = "s3cret-of-the-sensor";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn options(server: &str) -> ClientOptions {
    let mut options = ClientOptions::new(url(server));
    options.credentials = Credentials::Basic {
        username: "sensor".into(),
        password: SECRET.into(),
    };
    options.connect_timeout = Duration::from_secs(5);
    options.read_timeout = Duration::from_millis(600);
    options.overall_timeout = Duration::from_secs(5);
    options
}

fn client(server: &Server) -> Client {
    Client::new(&options(&server.url("/"))).unwrap()
}

fn get(server: &Server, path: &str) -> Result<Vec<u8>, HttpError> {
    let response = client(server).get(&url(&server.url(path)), &[])?;
    response.bytes(1 << 20)
}

/// An error must not show what is secret, and must say where it happened.
#[track_caller]
fn check(error: &HttpError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains("c2Vuc29y"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
    assert!(text.contains("://"), "{text}");
    assert!(!error.to_string().contains('\n'), "{text}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn requests_say_who_asks_and_answers_come_whole() {
    let server = Server::start(|asked, _| match asked.path() {
        "/plain" => answer(200, &["ETag: \"a\""], "hello"),
        "/packed" => answer(200, &["Content-Encoding: gzip"], gzip(b"hello")),
        "/twice" => {
            let both = [gzip(b"hel"), gzip(b"lo")].concat();
            answer(200, &["Content-Encoding: x-gzip"], both)
        }
        "/chunked" => raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ),
        "/old" => raw("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello"),
        "/head" => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"),
        "/none" => raw("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n"),
        path => panic!("{path}"),
    });
    for path in ["/plain", "/packed", "/twice", "/chunked", "/old"] {
        assert_eq!(get(&server, path).unwrap(), b"hello", "{path}");
    }
    let asked = server.asked();
    let user_agent = format!("watchpost/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(asked[0].header("user-agent"), Some(user_agent.as_str()));
    assert_eq!(asked[0].header("accept-encoding"), Some("gzip"));
    let basic = "Basic c2Vuc29yOnMzY3JldC1vZi10aGUtc2Vuc29y";
    assert_eq!(asked[0].header("authorization"), Some(basic));
    let client = client(&server);
    let head = client.head(&url(&server.url("/head")), &[]).unwrap();
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(head.bytes(100).unwrap(), b"");
    let deleted = client.delete(&url(&server.url("/none")), &[]).unwrap();
    assert_eq!(
        (deleted.status(), deleted.bytes(100).unwrap()),
        (204, vec![])
    );
    let posted = [("content-type", "a/b")];
    client
        .post(&url(&server.url("/plain")), &posted, b"data")
        .unwrap();
    let last = server.asked().pop().unwrap();
    assert_eq!(
        (last.method.as_str(), last.body.as_slice()),
        ("POST", &b"data"[..])
    );
    assert_eq!(last.header("content-length"), Some("4"));
    assert_eq!(last.header("content-type"), Some("a/b"));
}

#[test]
fn each_kind_of_credentials_is_sent_as_it_should_be() {
    let server = Server::start(|_, _| answer(200, &[], ""));
    let home = server.url("/");
    for (credentials, sent) in [
        (Credentials::None, None),
        (Credentials::Bearer("t0ken".into()), Some("Bearer t0ken")),
        (Credentials::Key("k3y".into()), Some("k3y")),
    ] {
        let mut options = options(&home);
        options.credentials = credentials;
        let shown = format!("{options:?}");
        assert!(
            !shown.contains("t0ken") && !shown.contains("k3y"),
            "{shown}"
        );
        let client = Client::new(&options).unwrap();
        let shown = format!("{client:?}");
        assert!(
            !shown.contains("t0ken") && !shown.contains("k3y"),
            "{shown}"
        );
        client.get(&url(&home), &[]).unwrap();
        assert_eq!(server.asked().pop().unwrap().header("authorization"), sent);
    }
    for (credentials, why) in [
        (Credentials::Key(String::new()), "empty"),
        (Credentials::Key("k3y\n".into()), "line break"),
        (Credentials::Bearer("a".repeat(10_000)), "longer than"),
        (
            Credentials::Basic {
                username: "a:b".into(),
                password: SECRET.into(),
            },
            "colon",
        ),
    ] {
        let mut options = options(&home);
        options.credentials = credentials;
        let error = Client::new(&options).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        check(&error);
    }
}

#[test]
fn what_is_not_complete_is_an_error() {
    let packed = gzip(&[b'x'; 10_000]);
    let cut = packed[..packed.len() - 12].to_vec();
    let server = Server::start(move |asked, _| match asked.path() {
        "/short" => raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
        "/chunks" => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello"),
        "/no-end" => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        "/packed" => answer(200, &["Content-Encoding: gzip"], cut.clone()),
        "/head" => raw("HTTP/1.1 200 OK\r\nContent-Le"),
        "/nothing" => raw(""),
        path => panic!("{path}"),
    });
    for path in [
        "/short", "/chunks", "/no-end", "/packed", "/head", "/nothing",
    ] {
        let error = get(&server, path).unwrap_err();
        assert!(
            matches!(error.cause, HttpCause::CutShort | HttpCause::Broken(_)),
            "{path}: {error:?}"
        );
        assert!(error.is_transient(), "{path}");
        check(&error);
    }
}

#[test]
fn what_is_larger_than_the_limit_is_an_error() {
    let bomb = gzip(&vec![0; 16 << 20]);
    assert!(bomb.len() < 100_000);
    let endless = |head: &'static str, piece: &'static str| -> Reply {
        Box::new(move |to| {
            to.write_all(head.as_bytes())?;
            loop {
                to.write_all(piece.as_bytes())?;
            }
        })
    };
    let server = Server::start(move |asked, _| match asked.path() {
        "/bomb" => answer(200, &["Content-Encoding: gzip"], bomb.clone()),
        "/long" => answer(200, &[], vec![b'x'; (1 << 20) + 1]),
        "/said" => raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n"),
        "/endless" => endless(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "8\r\nxxxxxxxx\r\n",
        ),
        "/heads" => endless("HTTP/1.1 200 OK\r\nX: ", "xxxxxxxx"),
        "/just" => answer(200, &[], vec![b'x'; 1 << 20]),
        path => panic!("{path}"),
    });
    for path in ["/bomb", "/long", "/said", "/endless", "/heads"] {
        let error = get(&server, path).unwrap_err();
        let is_large = matches!(error.cause, HttpCause::TooLarge(_));
        assert!(is_large, "{path}: {error:?}");
        assert!(!error.is_transient(), "{path}");
        check(&error);
    }
    assert_eq!(get(&server, "/just").unwrap().len(), 1 << 20);
    // as a reader, too
    let response = client(&server)
        .get(&url(&server.url("/long")), &[])
        .unwrap();
    let mut body = response.body(2 << 20).unwrap();
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), (1 << 20) + 1);
}

#[test]
fn what_takes_too_long_is_an_error() {
    let dripping: fn() -> Reply = || {
        Box::new(|to| {
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
            for _ in 0..1_000 {
                to.write_all(b"x")?;
                to.flush()?;
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        })
    };
    let server = Server::start(move |asked, _| match asked.path() {
        "/silent" => silence(Duration::from_secs(3)),
        "/half" => Box::new(|to| {
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
            to.flush()?;
            thread::sleep(Duration::from_secs(3));
            Ok(())
        }),
        "/drip" => dripping(),
        path => panic!("{path}"),
    });
    let mut options = options(&server.url("/"));
    options.overall_timeout = Duration::from_secs(1);
    let client = Client::new(&options).unwrap();
    for path in ["/silent", "/half", "/drip"] {
        let error = client
            .get(&url(&server.url(path)), &[])
            .and_then(|response| response.bytes(1 << 20))
            .unwrap_err();
        let is_late = matches!(error.cause, HttpCause::TimedOut(_));
        assert!(is_late, "{path}: {error:?}");
        assert!(error.is_transient());
        check(&error);
    }
}

#[test]
fn servers_that_are_not_there_are_told_apart() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let ask = |address: &str| {
        let client = Client::new(&options(address)).unwrap();
        client.get(&url(address), &[]).unwrap_err()
    };
    let refused = ask(&format!("http://127.0.0.1:{port}/a?key=hidden"));
    assert!(
        matches!(refused.cause, HttpCause::Connect(_)),
        "{refused:?}"
    );
    assert!(refused.was_not_sent() && refused.is_transient());
    check(&refused);
    // the top level domain `invalid` never resolves (RFC 6761, 6.4)
    let unknown = ask("https://exchange.invalid/");
    assert!(
        matches!(unknown.cause, HttpCause::Resolve(_)),
        "{unknown:?}"
    );
    assert!(unknown.to_string().contains("exchange.invalid"));
    check(&unknown);
    // a reset: what the client sent is still unread as the connection closes
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let resetter = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.peek(&mut [0]).unwrap();
    });
    let reset = ask(&format!("http://127.0.0.1:{port}/"));
    let broken = matches!(reset.cause, HttpCause::Broken(_) | HttpCause::CutShort);
    assert!(broken && !reset.was_not_sent(), "{reset:?}");
    resetter.join().unwrap();
    let other = Server::start(|_, _| raw("SSH-2.0-OpenSSH_9.7\r\n\r\n"));
    let error = get(&other, "/").unwrap_err();
    assert!(matches!(error.cause, HttpCause::Unexpected(_)), "{error:?}");
    check(&error);
}

#[test]
fn refusals_are_told_with_what_the_server_says() {
    let server = Server::start(|asked, _| match asked.path() {
        "/401" => answer(401, &["Content-Type: text/html"], "<html>secret page"),
        "/404" => answer(
            404,
            &["Content-Type: application/json"],
            "{\"title\": \"no\n\"}",
        ),
        "/429" => answer(429, &["Retry-After: 7"], ""),
        "/503" => answer(503, &["Retry-After: Wed, 25 Nov 2037 12:00:30 GMT"], ""),
        "/500" => answer(500, &["Retry-After: soon"], vec![b'x'; 100_000]),
        "/304" => raw("HTTP/1.1 304 Same\r\nConnection: close\r\n\r\n"),
        "/300" => answer(300, &[], ""),
        path => panic!("{path}"),
    });
    for (code, wait, transient) in [
        (401, None, false),
        (404, None, false),
        (429, Some(7), true),
        (503, Some(3_600), true),
        (500, None, true),
        (304, None, false),
        (300, None, false),
    ] {
        let error = get(&server, &format!("/{code}?key=hidden")).unwrap_err();
        assert_eq!(error.status(), Some(code), "{error:?}");
        assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{code}");
        assert_eq!(error.is_transient(), transient, "{code}");
        assert!(error.to_string().len() < 500, "{error}");
        check(&error);
    }
    let error = get(&server, "/404").unwrap_err().to_string();
    assert!(
        error.contains("title") && error.contains("permission"),
        "{error}"
    );
    let error = get(&server, "/401").unwrap_err().to_string();
    assert!(!error.contains("secret page"), "{error}");
}

#[test]
fn what_is_held_is_not_fetched_again() {
    let server = Server::start(|asked, _| {
        let held = asked.header("if-none-match") == Some("\"v1\"")
            || (asked.header("if-none-match").is_none()
                && asked.header("if-modified-since").is_some());
        if held {
            raw("HTTP/1.1 304 Same\r\nConnection: close\r\n\r\n")
        } else {
            let headers = [
                "ETag: \"v1\"",
                "Last-Modified: Wed, 25 Nov 2026 12:00:30 GMT",
            ];
            answer(200, &headers, "new")
        }
    });
    let (client, home) = (client(&server), url(&server.url("/")));
    let fetch = |held: &Validators| client.get_if_changed(&home, &[], held).unwrap();
    let Fetched::Changed(response) = fetch(&Validators::default()) else {
        panic!("nothing was held");
    };
    let validators = response.validators();
    assert_eq!(validators.etag.as_deref(), Some("\"v1\""));
    assert!(matches!(fetch(&validators), Fetched::NotModified));
    let by_date = Validators {
        etag: None,
        ..validators.clone()
    };
    assert!(matches!(fetch(&by_date), Fetched::NotModified));
    let older = Validators {
        etag: Some("\"v0\"".into()),
        ..validators
    };
    assert!(matches!(fetch(&older), Fetched::Changed(_)));
}

#[test]
fn redirects_keep_what_they_should_and_no_more() {
    let foreign = Server::start(|_, _| answer(200, &[], "foreign"));
    let elsewhere = foreign.url("/there?key=hidden");
    let server = Server::start(move |asked, _| {
        let to = |status, place: &str| answer(status, &[&format!("Location: {place}")], "");
        match asked.path() {
            "/308" => to(308, "/there?a=b"),
            "/307" => to(307, "there"),
            "/303" => to(303, "/there"),
            "/301" => to(301, "/there"),
            "/foreign" => to(302, &elsewhere),
            "/foreign-308" => to(308, &elsewhere),
            "/loop" => to(302, "/loop"),
            "/ftp" => to(302, "ftp://127.0.0.1/"),
            "/lost" => answer(302, &[], ""),
            "/there" => answer(200, &[], "here"),
            path => panic!("{path}"),
        }
    });
    let client = client(&server);
    let send = |method, path: &str| {
        let headers = [("accept", "a/b"), ("x-key", SECRET)];
        let target = url(&server.url(path));
        client.send(method, &target, &headers, b"data")
    };
    // method and body survive 307 and 308, credentials with them
    for path in ["/308", "/307"] {
        send(Method::Post, path).unwrap();
        let last = server.asked().pop().unwrap();
        assert_eq!(last.path(), "/there");
        assert_eq!(
            (last.method.as_str(), last.body.as_slice()),
            ("POST", &b"data"[..])
        );
        assert!(last.header("authorization").is_some());
        assert_eq!(last.header("x-key"), Some(SECRET));
    }
    send(Method::Post, "/303").unwrap();
    let last = server.asked().pop().unwrap();
    assert_eq!((last.method.as_str(), last.body.len()), ("GET", 0));
    send(Method::Get, "/301").unwrap();
    // another origin gets no secret
    let response = send(Method::Get, "/foreign").unwrap();
    assert_eq!(response.bytes(100).unwrap(), b"foreign");
    let asked: Vec<Asked> = foreign.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].header("authorization").is_none());
    assert!(asked[0].header("x-key").is_none());
    assert_eq!(asked[0].header("accept"), Some("a/b"));
    // nor does it get data, and no data is lost silently
    for (method, path, why) in [
        (Method::Post, "/foreign-308", "no other server"),
        (Method::Delete, "/foreign-308", "no other server"),
        (Method::Post, "/301", "lost on the way"),
        (Method::Get, "/loop", "too often"),
    ] {
        let error = send(method, path).unwrap_err();
        assert!(
            matches!(error.cause, HttpCause::Redirect { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(why), "{error}");
        check(&error);
    }
    assert_eq!(foreign.asked().len(), 1);
    let error = send(Method::Get, "/ftp").unwrap_err();
    assert!(matches!(error.cause, HttpCause::Url(_)), "{error:?}");
    assert_eq!(send(Method::Get, "/lost").unwrap_err().status(), Some(302));
    // addresses on another origin, asked for by name, get no credentials either
    client.get(&url(&foreign.url("/")), &[]).unwrap();
    assert!(foreign.asked()[1].header("authorization").is_none());
}

#[test]
fn nothing_leaves_this_host_in_the_clear_unless_allowed() {
    for address in ["http://192.0.2.1/", "http://exchange.invalid/"] {
        let client = Client::new(&options(address)).unwrap();
        let error = client.get(&url(address), &[]).unwrap_err();
        assert!(matches!(error.cause, HttpCause::Clear), "{error:?}");
        assert!(error.was_not_sent());
        check(&error);
    }
    let mut options = options("http://exchange.invalid/");
    options.allow_clear = true;
    let client = Client::new(&options).unwrap();
    let error = client.get(&options.url, &[]).unwrap_err();
    assert!(matches!(error.cause, HttpCause::Resolve(_)), "{error:?}");
}

/// Set where this file runs itself, in an environment with a proxy.
const WITHIN: &str = "WATCHPOST_TEST_SERVER";

#[test]
fn the_proxy_of_the_environment_is_used_but_for_this_host() {
    let ask = |address: &str| {
        let client = Client::new(&options(address)).unwrap();
        client.get(&url(address), &[])
    };
    if let Ok(server) = std::env::var(WITHIN) {
        assert_eq!(ask(&server).unwrap().bytes(10).unwrap(), b"direct");
        let error = ask("https://exchange.invalid/").unwrap_err();
        assert!(matches!(error.cause, HttpCause::Connect(_)), "{error:?}");
        assert!(error.to_string().contains("proxy"), "{error}");
        check(&error);
        return;
    }
    let server = Server::start(|_, _| answer(200, &[], "direct"));
    let proxy = Server::start(|_, _| raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let ran = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "the_proxy_of_the_environment_is_used_but_for_this_host",
        ])
        .env(WITHIN, server.url("/"))
        .env("ALL_PROXY", proxy.url("/"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    assert_eq!(server.asked().len(), 1);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(
        (asked[0].method.as_str(), asked[0].target.as_str()),
        ("CONNECT", "exchange.invalid:443")
    );
    // the tunnel is asked for without the secrets of what goes through it
    assert!(asked[0].header("authorization").is_none());
}

#[test]
fn tls_is_made_sure_of_on_both_sides() {
    let clear = Server::start(|_, _| answer(200, &[], "clear"));
    let downgraded = clear.url("/");
    let server = Server::start_with(Tls::Both, move |asked, _| match asked.path() {
        "/down" => answer(302, &[&format!("Location: {downgraded}")], ""),
        _ => answer(200, &[], "safe"),
    });
    let home = url(&server.url("/"));
    // unknown to the public CAs
    let error = client(&server).get(&home, &[]).unwrap_err();
    assert!(matches!(error.cause, HttpCause::Tls(_)), "{error:?}");
    assert!(error.to_string().contains("`ca`"), "{error}");
    check(&error);
    let mut options = options(&server.url("/"));
    options.ca = Some(pki("ca.pem"));
    let client = Client::new(&options).unwrap();
    assert_eq!(client.get(&home, &[]).unwrap().bytes(10).unwrap(), b"safe");
    assert!(!server.asked().pop().unwrap().certified);
    let error = client.get(&home.join("/down").unwrap(), &[]).unwrap_err();
    assert!(error.to_string().contains("leave encryption"), "{error}");
    assert!(clear.asked().is_empty());
    options.certificate = Some(ClientCertificate {
        certificate: pki("client.pem"),
        key: pki("client.key"),
    });
    let client = Client::new(&options).unwrap();
    client.get(&home, &[]).unwrap();
    assert!(server.asked().pop().unwrap().certified);
    // the certificate is a credential too: another origin does not see it
    let other = Server::start_with(Tls::Both, |_, _| answer(200, &[], ""));
    client.get(&url(&other.url("/")), &[]).unwrap();
    assert!(!other.asked()[0].certified);
    // a server without TLS
    let wrong = url(&format!("https://127.0.0.1:{}/", clear.port));
    let error = client.get(&wrong, &[]).unwrap_err();
    assert!(matches!(error.cause, HttpCause::Tls(_)), "{error:?}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let home = "https://127.0.0.1:1/";
    let identity = |certificate: &str, key: &str| ClientCertificate {
        certificate: pki(certificate),
        key: pki(key),
    };
    for (ca, certificate, parts) in [
        ("none.pem", None, ["none.pem", "cannot be read"]),
        ("server.key", None, ["server.key", "no certificate"]),
        (
            "ca.pem",
            Some(identity("client.pem", "server.key")),
            ["client.pem", "do not belong together"],
        ),
        (
            "ca.pem",
            Some(identity("client.pem", "ca.pem")),
            ["ca.pem", "no private key"],
        ),
    ] {
        let mut options = options(home);
        options.ca = Some(pki(ca));
        options.certificate = certificate;
        let error = Client::new(&options).unwrap_err();
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
        check(&error);
    }
}
