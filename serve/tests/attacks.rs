//! Attackers get nothing and delay nobody else.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fermata_serve::{Listening, ServeError, ServeOptions, Token};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Browser, ask, connect, own_origin, raw};
use crate::served::Served;

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let refused = Listening::on(ServeOptions {
        address: ([0; 4], 0).into(),
        hosts: Vec::new(),
        token: None,
        identity: None,
    });
    assert!(matches!(refused, Err(ServeError::Open(_))));
}

#[test]
fn without_the_token_nobody_sees_or_changes_anything() {
    let token = Token::fresh().unwrap();
    let served = Served::start(Some(&token));
    let address = served.address;
    let own = own_origin(address);
    served.publish("door", 0);
    let wrong = format!("Bearer {}", Token::fresh().unwrap().secret());
    for headers in [
        vec![],
        vec![("Authorization", &*wrong)],
        vec![("Cookie", "fermata-1=x")],
    ] {
        for path in [
            "/snapshot",
            "/readyz",
            "/session",
            "/ws",
            "/metrics",
            "/none",
        ] {
            let answer = ask(address, &format!("GET {path}"), &headers, "");
            assert_eq!(answer.status, 401, "{path} {headers:?}");
        }
        let mut headers = headers.clone();
        headers.push(("Origin", &own));
        for path in ["/drain", "/stop", "/streams/add", "/streams/remove"] {
            let answer = ask(address, &format!("POST {path}"), &headers, "{}");
            assert_eq!(answer.status, 401, "{path} {headers:?}");
        }
    }
    assert!(Browser::open(address, &[("origin", &own)]).is_none());
    let guess = ask(
        address,
        "POST /session",
        &[("Origin", &own)],
        r#"{"token": "x"}"#,
    );
    assert_eq!(guess.status, 401);
    assert!(!guess.head.contains("cookie"));

    // Requests without a token reveal nothing.
    assert_eq!(ask(address, "GET /healthz", &[], "").body, "ok\n");
    let page = ask(address, "GET /", &[], "");
    assert_eq!(page.status, 200);
    let head = page.head.to_ascii_lowercase();
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"));
    assert!(head.contains("x-content-type-options: nosniff"));
    assert!(!page.body.contains("served"), "the graph's name");

    // With it the browser gets a cookie that scripts cannot read, and is let in.
    let body = format!(r#"{{"token": "{}"}}"#, token.secret());
    let given = ask(address, "POST /session", &[("Origin", &own)], &body);
    assert_eq!(given.status, 204);
    let cookie = given
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    let name = format!("fermata-{}=", address.port());
    assert!(cookie.starts_with(&name), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(token.secret()));
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(
        ask(address, "GET /session", &[("Cookie", cookie)], "").status,
        204
    );
    let headers = [("origin", &*own), ("cookie", cookie)];
    let mut browser = Browser::open(address, &headers).unwrap();
    browser.text("numbers");
    browser.say(r#"{"credit": ["door"]}"#);
    assert_eq!(browser.picture().0, "door");
    served.end();
}

#[test]
fn other_sites_neither_watch_nor_steer() {
    let served = Served::behind("cameras.example");
    let address = served.address;
    served.publish("door", 0);
    for origin in ["http://evil.example", "http://127.0.0.1:1", "null"] {
        let answer = ask(address, "POST /stop", &[("Origin", origin)], "");
        assert_eq!(answer.status, 403, "{origin}");
        assert!(Browser::open(address, &[("origin", origin)]).is_none());
    }
    assert_eq!(ask(address, "POST /stop", &[], "").status, 403);
    assert!(Browser::open(address, &[]).is_none());
    for host in ["evil.example", "evil.example:80"] {
        for line in ["GET /", "GET /snapshot", "GET /healthz", "POST /stop"] {
            let origin = format!("http://{host}");
            let headers = [("Host", host), ("Origin", &*origin)];
            assert_eq!(ask(address, line, &headers, "").status, 421, "{line}");
        }
    }
    let known = format!("cameras.example:{}", address.port());
    assert_eq!(ask(address, "GET /", &[("Host", &known)], "").status, 200);
    served.goes_on();
    served.end();
}

#[test]
fn no_path_leads_out_of_the_page() {
    let served = Served::start(None);
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/assets/app.js%00.html",
        "/assets/",
        "/../../etc/passwd",
        "//etc/passwd",
        "/.git/config",
        "/index.html",
    ] {
        let answer = ask(served.address, &format!("GET {path}"), &[], "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.len() < 100);
    }
    let script = ask(served.address, "GET /assets/app.js", &[], "");
    assert_eq!(script.status, 200);
    assert!(script.head.contains("text/javascript"));
    served.end();
}

#[test]
fn what_is_too_large_or_no_request_is_refused_and_the_graph_goes_on() {
    let served = Served::start(None);
    let address = served.address;
    let own = own_origin(address);
    let long = "x".repeat(100_000);
    assert_eq!(ask(address, "GET /", &[("X", &long)], "").status, 431);
    let many: Vec<(String, String)> = (0..200)
        .map(|n| (format!("X-{n}"), "y".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(ask(address, "GET /", &many, "").status, 431);
    let path = ask(address, &format!("GET /{long}"), &[], "");
    assert!([414, 431].contains(&path.status), "{}", path.status);
    let body = ask(address, "POST /streams/add", &[("Origin", &own)], &long);
    assert_eq!(body.status, 413);
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /stop HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        &[0u8; 5000],
    ] {
        let answer = raw(address, nonsense);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    served.goes_on();
    assert_eq!(ask(address, "GET /healthz", &[], "").status, 200);
    served.end();
}

#[test]
fn a_browser_that_talks_nonsense_is_gone_and_nobody_else() {
    let served = Served::start(None);
    let address = served.address;
    let mut good = Browser::own(address);
    let large = "x".repeat(100_000);
    for message in [
        Message::text("{"),
        Message::text("[]"),
        Message::text(r#"{"credit": 7}"#),
        Message::text(r#"{"steer": []}"#),
        Message::text(large),
        Message::binary(vec![0; 10]),
    ] {
        let mut bad = Browser::own(address);
        bad.0.send(message).unwrap();
        bad.end();
    }
    // Invalid frames: not masked, reserved bits, an unknown kind, a length that never arrives.
    for frame in [
        &b"\x81\x02{}"[..],
        b"\xf1\x80\0\0\0\0",
        b"\x8f\x80\0\0\0\0",
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    ] {
        let mut bad = Browser::own(address);
        let stream = bad.0.get_mut();
        stream.write_all(frame).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    good.text("numbers");
    served.publish("door", 4);
    good.say(r#"{"credit": ["door"]}"#);
    assert_eq!(good.picture(), ("door".to_owned(), 4));
    served.goes_on();
    served.end();
}

#[test]
fn two_hundred_connections_that_say_nothing_hold_up_neither_the_graph_nor_a_browser() {
    let served = Served::start(None);
    let address = served.address;
    let mut browser = Browser::own(address);
    browser.text("numbers");
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = connect(address);
        // Half of them begin a request that they never finish.
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: local");
        }
        silent.push(stream);
    }
    served.publish("door", 1);
    browser.say(r#"{"credit": ["door"]}"#);
    assert_eq!(browser.picture(), ("door".to_owned(), 1));
    served.goes_on();
    // Connections that do not complete their request in time are closed, and others get in again.
    let asked = Instant::now();
    while ask(address, "GET /healthz", &[], "").status != 200 {
        assert!(asked.elapsed() < Duration::from_secs(60), "nobody gets in");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(silent);
    served.end();
}

/// Keeps many connections open, each with an unfinished request, and reopens each one that is closed.
fn besiege(address: SocketAddr, connections: usize, is_over: &AtomicBool) {
    let open = || {
        let mut stream = connect(address);
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: local");
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let is_closed = |stream: &mut TcpStream| match stream.read(&mut [0; 256]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| open()).collect();
    while !is_over.load(Ordering::Relaxed) {
        for stream in streams.iter_mut() {
            if is_closed(stream) {
                *stream = open();
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends the siege, also if an assertion fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn connections_that_come_again_and_again_keep_nobody_out_and_do_not_stop_the_graph() {
    let served = Served::start(None);
    let address = served.address;
    served.goes_on();
    // One that is not looked at before 127 others have come is displaced, and tries again.
    let until_let_in = |tries: &dyn Fn() -> bool| {
        let asked = Instant::now();
        while !tries() {
            assert!(asked.elapsed() < Duration::from_secs(60), "nobody gets in");
        }
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| besiege(address, 50, &is_over));
        }
        let ends = Ending(&is_over);
        for _ in 0..20 {
            until_let_in(&|| ask(address, "GET /healthz", &[], "").status == 200);
            served.goes_on();
        }
        let own = own_origin(address);
        until_let_in(&|| Browser::open(address, &[("origin", &own)]).is_some());
        drop(ends);
    });
    served.end();
}
