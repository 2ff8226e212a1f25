//! Who is let in, how that is reported, and what is said of a server that cannot be used: against real servers with TLS
//! and credentials, and against something that only claims to be one.

#[path = "edges/server.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use fermata_engine::Codecs;
use fermata_remote::{Credentials, NatsConnection, RemoteError, examine};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use server::Server;

/// A certificate authority of a test's own, in files.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("a file");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn connect(
    server: &Server,
    credentials: &[(&str, &str)],
) -> Result<Arc<NatsConnection>, RemoteError> {
    let get = |name: &str| {
        let mut known = credentials.iter().filter(|(known, _)| *known == name);
        known.next().map(|(_, value)| (*value).to_owned())
    };
    let credentials = Credentials::from_env(get)?;
    let url = server.url().replace("nats://127.0.0.1", "tls://localhost");
    NatsConnection::connect(&url, &credentials, "test", Codecs::default())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name of a test's own")
}

#[test]
fn an_encrypted_server_is_known_by_its_authority_and_may_ask_for_a_certificate() {
    let authority = Authority::new();
    authority.issue("server");
    authority.issue("gate");
    let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
    let ca = authority.path("ca.pem");
    let tls = format!("cert_file: {certificate:?}, key_file: {key:?}");
    let server = Server::start_with(&format!("tls {{{tls}}}"));
    let trusted = connect(&server, &[("NATS_CA", text(&ca))]).expect("a connection");
    assert!(examine(&trusted).tls_required);
    let unknown = connect(&server, &[])
        .map(drop)
        .expect_err("nobody knows it");
    assert!(matches!(unknown, RemoteError::Tls { .. }), "{unknown:?}");
    let mutual = Server::start_with(&format!("tls {{{tls}, ca_file: {ca:?}, verify: true}}"));
    let (own, own_key) = (authority.path("gate.pem"), authority.path("gate.key"));
    let all = [
        ("NATS_CA", text(&ca)),
        ("NATS_CERT", text(&own)),
        ("NATS_KEY", text(&own_key)),
    ];
    connect(&mutual, &all).expect("a connection");
    assert!(connect(&mutual, &all[..1]).is_err());
}

#[test]
fn tokens_and_keys_let_in_and_wrong_ones_are_refused_without_being_shown() {
    let authority = Authority::new();
    authority.issue("server");
    let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
    let tls = format!("tls {{cert_file: {certificate:?}, key_file: {key:?}}}");
    let ca = authority.path("ca.pem");
    let ca = ("NATS_CA", text(&ca));
    let server = Server::start_with(&format!("{tls}\nauthorization {{token: \"T0KEN-T0KEN\"}}"));
    connect(&server, &[ca, ("NATS_TOKEN", "T0KEN-T0KEN")]).expect("a connection");
    for wrong in [&[ca][..], &[ca, ("NATS_TOKEN", "WR0NG-T0KEN")]] {
        let said = connect(&server, wrong)
            .map(drop)
            .expect_err("a wrong token");
        let said = said.to_string();
        let shown = match wrong.len() {
            1 => "refuses a connection without credentials: ",
            _ => "refuses these credentials (NATS_TOKEN): ",
        };
        assert!(said.contains(shown), "{said}");
        assert!(said.contains("or in NATS_USER and NATS_PASSWORD"), "{said}");
        assert_eq!(said.matches("authorization violation").count(), 1, "{said}");
        assert!(!said.contains("T0KEN"), "{said}");
    }
    let user = nkeys::KeyPair::new_user();
    let public = user.public_key();
    let server = Server::start_with(&format!(
        "{tls}\nauthorization {{users: [{{nkey: {public}}}]}}"
    ));
    let write = |name: &str, pair: &nkeys::KeyPair| {
        let path = authority.path(name);
        std::fs::write(&path, pair.seed().expect("a seed")).expect("a file");
        path
    };
    let right = write("right.nk", &user);
    let wrong = write("wrong.nk", &nkeys::KeyPair::new_user());
    connect(&server, &[ca, ("NATS_NKEY", text(&right))]).expect("a connection");
    let said = connect(&server, &[ca, ("NATS_NKEY", text(&wrong))]);
    let said = said.map(drop).expect_err("a wrong key").to_string();
    assert!(said.contains("refuses these credentials"), "{said}");
}

#[test]
fn what_a_server_is_and_allows_is_found_out() {
    let server = Server::start_with(
        r#"
max_payload: 3MB
authorization {users: [
  {user: server, password: secret}
  {user: gate, password: secret, permissions: {publish: ["$JS.API.INFO"], subscribe: ["_INBOX.>"]}}
]}
"#,
    );
    let of = |user: &str| {
        let credentials = Credentials {
            user: Some((user.to_owned(), "secret".to_owned())),
            ..Credentials::default()
        };
        let connection = server.connect_as(&credentials, &Codecs::default());
        examine(&connection.expect("a connection"))
    };
    let findings = of("server");
    assert_eq!(findings.max_payload, 3 << 20);
    assert_eq!(findings.may_make_stores, Ok(()));
    assert!(findings.storage.is_ok() && !findings.tls_required);
    // And not that nobody has answered.
    let forbidden = of("gate").may_make_stores.unwrap_err();
    let told = r#"Permissions Violation for Publish to "$JS.API.STREAM.CREATE"#;
    assert!(forbidden.contains(told), "{forbidden}");
}

/// Starts something that claims to be a server, for one client.
fn says(info: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        write!(client, "INFO {info}\r\n").expect("a client that reads");
        let lines = BufReader::new(client.try_clone().expect("its other half")).lines();
        for line in lines.map_while(Result::ok) {
            if line.starts_with("PING") {
                let _ = client.write_all(b"PONG\r\n");
            }
        }
    });
    format!("nats://{address}")
}

#[test]
fn a_server_that_is_too_old_or_keeps_nothing_is_refused() {
    let connect = |url: &str| {
        let connected =
            NatsConnection::connect(url, &Credentials::default(), "test", Codecs::default());
        connected.map(drop).expect_err("no use").to_string()
    };
    let said = connect(&says(
        r#"{"server_id":"x","version":"2.9.10","max_payload":1048576,"jetstream":true,"headers":true}"#,
    ));
    assert!(
        said.contains("is version 2.9.10, but 2.10 or newer is needed"),
        "{said}"
    );
    let said = connect(&says(
        r#"{"server_id":"x","version":"2.14.0","max_payload":1048576,"headers":true}"#,
    ));
    assert!(said.contains("has no JetStream"), "{said}");
}
