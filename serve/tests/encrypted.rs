//! The page over TLS: which clients get through, and which do not.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use fermata_serve::{Identity, Token};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::client::{Answer, Browser, ask, ask_on, connect, own_origin, raw};
use crate::served::Served;

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// Makes a certificate for `localhost` with its key, in files as users have them.
fn certificate() -> (Identity, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let paths = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], certificate.pem()).unwrap();
    std::fs::write(&paths[1], key.serialize_pem()).unwrap();
    let identity = Identity::read(&paths[0], &paths[1]).unwrap();
    (identity, certificate.der().clone())
}

/// Connects to a server that must show the trusted certificate.
fn encrypted(address: SocketAddr, trusted: &CertificateDer<'static>) -> io::Result<Encrypted> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = connect(address);
    while client.is_handshaking() {
        client.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(client, stream))
}

#[test]
fn over_tls_everything_is_as_without_and_the_cookie_is_for_tls_alone() {
    let token = Token::fresh().unwrap();
    let (identity, trusted) = certificate();
    let served = Served::as_identity(Some(&token), Some(identity));
    let address = served.address;
    let ask = |line: &str, headers: &[(&str, &str)], body: &str| -> Answer {
        ask_on(
            encrypted(address, &trusted).unwrap(),
            address,
            line,
            headers,
            body,
        )
    };
    assert_eq!(ask("GET /healthz", &[], "").body, "ok\n");
    let bearer = format!("Bearer {}", token.secret());
    assert_eq!(ask("GET /metrics", &[], "").status, 401);
    let scraped = ask("GET /metrics", &[("Authorization", &bearer)], "");
    assert_eq!(scraped.status, 200);
    assert!(
        scraped
            .body
            .contains("fermata_stream_up{stream=\"door\"} 1")
    );

    let own = format!("https://{address}");
    let body = format!(r#"{{"token": "{}"}}"#, token.secret());
    let unencrypted = ask("POST /session", &[("Origin", &own_origin(address))], &body);
    assert_eq!(unencrypted.status, 403, "a page that came in the clear");
    let given = ask("POST /session", &[("Origin", &own)], &body);
    assert_eq!(given.status, 204);
    let mut lines = given.head.lines();
    let cookie = lines.find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.unwrap();
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );

    let mut request = format!("wss://{address}/ws").into_client_request().unwrap();
    for (name, value) in [
        ("origin", &*own),
        ("cookie", cookie.split(';').next().unwrap()),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let stream = encrypted(address, &trusted).unwrap();
    let (mut socket, _): (WebSocket<Encrypted>, _) = client(request, stream).unwrap();
    socket
        .send(Message::text(r#"{"credit": ["door"]}"#))
        .unwrap();
    // Credits count once the stream is known to be running.
    while !matches!(socket.read().unwrap(), Message::Text(text) if text.contains("\"numbers\"")) {}
    socket
        .send(Message::text(r#"{"credit": ["door"]}"#))
        .unwrap();
    served.publish("door", 0);
    while !matches!(socket.read().unwrap(), Message::Binary(_)) {}
    served.end();
}

#[test]
fn who_trusts_another_certificate_says_nothing_to_it() {
    let (identity, _) = certificate();
    let (_, trusted) = certificate();
    let served = Served::as_identity(None, Some(identity));
    let refused = encrypted(served.address, &trusted).unwrap_err().to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    served.end();
}

#[test]
fn in_the_clear_nothing_is_given_but_where_to_ask() {
    let token = Token::fresh().unwrap();
    let served = Served::as_identity(Some(&token), Some(Identity::fresh(&[]).unwrap()));
    let address = served.address;
    let (bearer, own) = (format!("Bearer {}", token.secret()), own_origin(address));
    let headers = [("Authorization", &*bearer), ("Origin", &*own)];
    for line in ["GET /", "GET /healthz", "GET /snapshot", "POST /stop"] {
        let answer = ask(address, line, &headers, "");
        assert_eq!(answer.status, 400, "{line}");
        assert!(answer.body.contains("https://"), "{}", answer.body);
    }
    let headers = [("authorization", &*bearer), ("origin", &*own)];
    assert!(Browser::open(address, &headers).is_none());
    served.goes_on();
    served.end();
}

#[test]
fn handshakes_that_are_none_or_never_end_keep_nobody_waiting() {
    let (identity, trusted) = certificate();
    let served = Served::as_identity(None, Some(identity));
    let address = served.address;
    let mut silent = Vec::new();
    for number in 0..60 {
        let mut stream = connect(address);
        if number % 2 == 0 {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
        }
        silent.push(stream);
    }
    for nonsense in [&b"\x16"[..], b"\x16\xff\xff\xff\xff\xff\xff", &[0x16; 5000]] {
        let answer = raw(address, nonsense);
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    }
    let answer = ask_on(
        encrypted(address, &trusted).unwrap(),
        address,
        "GET /healthz",
        &[],
        "",
    );
    assert_eq!(answer.body, "ok\n");
    served.goes_on();
    drop(silent);
    served.end();
}
