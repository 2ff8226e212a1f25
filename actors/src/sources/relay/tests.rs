//! Encrypted streams against real servers: trusted and untrusted ones.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fermata_engine::testing::setup;
use fermata_engine::{Next, Source};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use super::*;
use crate::sources::tls::TlsSpec;
use crate::sources::video_source::{VideoSource, VideoSourceSettings};

const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate and its key, signed by an authority of its own.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// The authority, in PEM.
    authority: String,
}

impl Identity {
    fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&own, &issuer).unwrap();
        Self {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(own.serialize_der()).unwrap(),
            authority,
        }
    }

    fn fingerprint(&self) -> String {
        let sum = Sha256::digest(&self.certificate);
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A server behind TLS.
struct Server {
    port: u16,
    /// The decrypted bytes.
    heard: Arc<Mutex<Vec<u8>>>,
    /// Number of attempted connections.
    tried: Arc<Mutex<usize>>,
}

type Answer = Arc<dyn Fn(&mut StreamOwned<ServerConnection, TcpStream>, &[u8]) + Send + Sync>;

impl Server {
    /// Starts a server; `answer` is given the incoming data piece by piece.
    fn start(identity: &Identity, answer: Answer) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, tried) = (
            Arc::<Mutex<Vec<u8>>>::default(),
            Arc::<Mutex<usize>>::default(),
        );
        let server = Self {
            port,
            heard: Arc::clone(&heard),
            tried: Arc::clone(&tried),
        };
        thread::spawn(move || {
            for socket in listener.incoming() {
                *tried.lock().unwrap() += 1;
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, socket.unwrap());
                let (heard, answer) = (Arc::clone(&heard), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut piece = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut piece) {
                        heard.lock().unwrap().extend(&piece[..read]);
                        answer(&mut stream, &piece[..read]);
                    }
                });
            }
        });
        server
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

fn silent() -> Answer {
    Arc::new(|_, _| {})
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a folder with the authority's file, and settings that trust it.
fn trusting(authority: &str) -> (tempfile::TempDir, TlsSpec) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let spec = TlsSpec {
        ca_file: Some(file),
        ..TlsSpec::default()
    };
    (folder, spec)
}

fn one(fingerprint: &str) -> TlsSpec {
    TlsSpec {
        sha256: Some(fingerprint.to_owned()),
        ..TlsSpec::default()
    }
}

fn connect(server: &Server, host: &str, spec: &TlsSpec) -> Result<(), String> {
    let connector = Connector::new(host, server.port, spec, PATIENCE);
    let connected = connector.and_then(|connector| connector.connect());
    connected.map(drop).map_err(|error| error.to_string())
}

#[test]
fn only_who_shows_what_was_asked_for_is_connected_to() {
    let (camera, impostor) = (Identity::of("localhost"), Identity::of("localhost"));
    let other = Identity::of("other.host");
    let right = Server::start(&camera, silent());
    let wrong = Server::start(&impostor, silent());
    let (_folder, ca) = trusting(&camera.authority);
    assert_eq!(connect(&right, "localhost", &ca), Ok(()));
    assert_eq!(
        connect(&right, "localhost", &one(&camera.fingerprint())),
        Ok(())
    );
    assert_eq!(
        connect(&right, "127.0.0.1", &one(&camera.fingerprint())),
        Ok(())
    );
    let blind = TlsSpec {
        verify: Some(false),
        ..TlsSpec::default()
    };
    assert_eq!(connect(&wrong, "localhost", &blind), Ok(()));
    let (_other_folder, other_ca) = trusting(&other.authority);
    let misnamed = Server::start(&other, silent());
    for (server, host, spec, said) in [
        (
            &wrong,
            "localhost",
            &ca,
            "cannot verify the identity of localhost",
        ),
        (
            &right,
            "localhost",
            &TlsSpec::default(),
            "its certificate's fingerprint is ",
        ),
        (
            &wrong,
            "localhost",
            &one(&camera.fingerprint()),
            "its certificate does not match the given fingerprint",
        ),
        (
            &right,
            "127.0.0.1",
            &ca,
            "cannot verify the identity of 127.0.0.1",
        ),
        (
            &misnamed,
            "localhost",
            &other_ca,
            "cannot verify the identity of localhost",
        ),
    ] {
        let refused = connect(server, host, spec).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    for server in [right, wrong, misnamed] {
        assert_eq!(server.heard(), "");
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let file = |path: &Path| TlsSpec {
        ca_file: Some(path.to_owned()),
        ..TlsSpec::default()
    };
    for (spec, said) in [
        (one("12:34"), "64 hexadecimal digits"),
        (one(&"zz".repeat(32)), "64 hexadecimal digits"),
        (file(&empty), "no certificate in PEM"),
        (file(Path::new("/none.pem")), "cannot read /none.pem"),
        (
            TlsSpec {
                verify: Some(false),
                ..one(&"00".repeat(32))
            },
            "takes one of",
        ),
    ] {
        let refused = spec.check().unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    assert!(one(&vec!["0A"; 32].join(":")).check().is_ok());
    for (uri, said) in [
        ("rtsp://h/x", "tls is for addresses"),
        ("clip.mp4", "tls is for addresses"),
    ] {
        let settings = settings(uri, one(&"00".repeat(32)));
        let refused = VideoSource::check(&settings).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let json = serde_json::json!({"uri": "rtsps://h/x", "transport": "udp"});
    let settings: VideoSourceSettings = serde_json::from_value(json).unwrap();
    let refused = VideoSource::check(&settings).unwrap_err().to_string();
    assert!(
        refused.contains("inside the encrypted connection"),
        "{refused}"
    );
}

fn settings(uri: &str, tls: TlsSpec) -> VideoSourceSettings {
    let json = serde_json::json!({
        "uri": uri, "timeout": "20s", "reconnect": {"first": "10ms", "most": "20ms"},
        "tls": serde_json::to_value(tls).unwrap(),
    });
    serde_json::from_value(json).unwrap()
}

/// Reopens a stream until something has happened, and counts its frames.
fn play(uri: &str, tls: TlsSpec, enough: impl Fn(usize) -> bool) {
    let mut source = VideoSource::create(settings(uri, tls), &setup()).unwrap();
    let started = Instant::now();
    let mut frames = 0;
    while !enough(frames) {
        assert!(
            started.elapsed() < PATIENCE,
            "only {frames} frames of {uri}"
        );
        match source.next().unwrap() {
            Next::Packet(_) => frames += 1,
            Next::Wait(time) => thread::sleep(time),
            Next::End => break,
            _ => {}
        }
    }
}

#[test]
fn an_impostor_hears_nothing() {
    let (camera, impostor) = (Identity::of("localhost"), Identity::of("localhost"));
    let (_folder, ca) = trusting(&camera.authority);
    for scheme in ["rtsps", "https"] {
        for tls in [TlsSpec::default(), ca.clone(), one(&camera.fingerprint())] {
            let server = Server::start(&impostor, silent());
            let uri = format!(
                "{scheme}://user:password@localhost:{}/main?token=abc",
                server.port
            );
            play(&uri, tls.clone(), |_| *server.tried.lock().unwrap() > 2);
            assert_eq!(server.heard(), "", "{scheme} with {tls:?}");
        }
    }
}

#[test]
fn a_redirection_is_not_followed() {
    let camera = Identity::of("localhost");
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let place = elsewhere.local_addr().unwrap();
    for (scheme, reply) in [
        (
            "rtsps",
            format!("RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://{place}/x\r\n\r\n"),
        ),
        (
            "https",
            format!(
                "HTTP/1.1 302 Moved\r\nLocation: http://{place}/x\r\nContent-Length: 0\r\n\r\n"
            ),
        ),
    ] {
        let (_folder, ca) = trusting(&camera.authority);
        for tls in [one(&camera.fingerprint()), ca] {
            let reply = reply.clone();
            let answer: Answer =
                Arc::new(move |stream, _| drop(stream.write_all(reply.as_bytes())));
            let server = Server::start(&camera, answer);
            let uri = format!("{scheme}://user:password@localhost:{}/main", server.port);
            play(&uri, tls, |_| *server.tried.lock().unwrap() > 2);
            assert!(server.heard().contains("/main"), "{}", server.heard());
            let knocked = elsewhere.accept().map(|(_, from)| from);
            assert!(knocked.is_err(), "{scheme}: {knocked:?}");
        }
    }
}

#[test]
fn a_video_comes_over_https_by_authority_and_by_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("clip.avi");
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=64x48:rate=10:duration=1",
            "-c:v",
            "mjpeg",
        ])
        .arg(&video)
        .status();
    assert!(made.is_ok_and(|status| status.success()), "no ffmpeg");
    let bytes = Arc::new(std::fs::read(&video).unwrap());
    let camera = Identity::of("localhost");
    let answer: Answer = Arc::new(move |stream, _| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&bytes);
    });
    let (_folder, ca) = trusting(&camera.authority);
    for tls in [ca, one(&camera.fingerprint())] {
        let server = Server::start(&camera, Arc::clone(&answer));
        let uri = format!("https://localhost:{}/clip.avi?token=abc", server.port);
        play(&uri, tls, |frames| frames >= 10);
        let heard = server.heard();
        assert!(
            heard.starts_with("GET /clip.avi?token=abc HTTP/1.1\r\n"),
            "{heard}"
        );
        let host = format!("Host: localhost:{}\r\n", server.port);
        assert_eq!(
            heard.matches(&host).count(),
            heard.matches("GET ").count(),
            "{heard}"
        );
    }
}

/// GStreamer's RTSP server, killed on drop.
struct Camera(Child);

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn camera() -> (Camera, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/video/rtsp_server.py");
    let child = Command::new("/usr/bin/python3")
        .args([script, "0", "user", "password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut camera = Camera(child.expect("Python"));
    let mut said = String::new();
    let output = camera.0.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut said).unwrap();
    let port = said.trim().parse();
    let port = port.expect("GStreamer's RTSP server: run `make setup-test`");
    (camera, port)
}

#[test]
fn a_camera_behind_tls_is_seen() {
    let (_camera, port) = camera();
    let identity = Identity::of("localhost");
    // Forwards what is decrypted to the camera, and the camera's replies back.
    let onward: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    let answer: Answer = Arc::new(move |stream, piece| {
        let mut onward = onward.lock().unwrap();
        let camera = onward.get_or_insert_with(|| {
            let camera = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            camera
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            camera
        });
        camera.write_all(piece).unwrap();
        let mut bytes = [0; 16 * 1024];
        let (is_to_play, mut has_answered) = (piece.starts_with(b"PLAY"), false);
        loop {
            match camera.read(&mut bytes) {
                Ok(0) => return,
                Ok(read) => {
                    has_answered = true;
                    let sent = stream.write_all(&bytes[..read]);
                    if sent.and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
                // A reply may take its time, and pictures come until the viewer has gone.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if has_answered && !is_to_play {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    let server = Server::start(&identity, answer);
    let uri = format!("rtsps://user:password@localhost:{}/live", server.port);
    play(&uri, one(&identity.fingerprint()), |frames| frames >= 5);
    assert!(
        server.heard().contains("PLAY rtsp://127.0.0.1:"),
        "{}",
        server.heard()
    );
}

#[test]
fn another_process_does_not_get_through_the_door() {
    let identity = Identity::of("localhost");
    let server = Server::start(&identity, silent());
    let spec = one(&identity.fingerprint());
    let connector = Connector::new("localhost", server.port, &spec, PATIENCE).unwrap();
    let relay = Relay::open(connector, true).unwrap();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; echo stranger >&3; cat <&3",
        relay.port()
    );
    let stranger = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stranger.stdout), "");
    let mut own = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    own.write_all(b"own").unwrap();
    wait_until("what this process says", || server.heard() == "own");
    // The relay accepts one connection only.
    wait_until("the door is closed", || {
        TcpStream::connect(("127.0.0.1", relay.port())).is_err()
    });
}
