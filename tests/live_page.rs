//! The live page in a real browser, served by the real program. With `FERMATA_SCREENSHOTS=DIR` it leaves screenshots
//! there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::browser::Browser;
use crate::served_run::{CAMERAS, ServedRun, sequence, state, top, wait_for_top};
use crate::support::{PATIENCE, contents, fermata};

fn screenshot(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("FERMATA_SCREENSHOTS") {
        std::fs::create_dir_all(&folder).unwrap();
        browser.screenshot(&PathBuf::from(folder).join(format!("{name}.png")));
    }
}

#[test]
fn frames_move_streams_come_and_the_numbers_are_those_of_the_report() {
    let mut browser = Browser::open();
    let run = ServedRun::start("{lobby: 1, door: 2}", "127.0.0.1:0", &[]);
    browser.go(&run.url);
    browser.wait_for(&format!("{} > 3", sequence("lobby")));
    browser.wait_for(&format!("{} > 3", sequence("door")));
    let first = browser.value(&sequence("door")).as_f64().unwrap();
    browser.wait_for(&format!("{} > {first} + 3", sequence("door")));
    assert_eq!(
        browser.value("document.querySelectorAll('#graph .node').length"),
        5
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#graph .edge').length"),
        4
    );

    browser.value(
        "document.getElementById('add-name').value = 'yard';
         document.getElementById('add-uri').value = '3';
         document.querySelector('#add button').click();",
    );
    browser.wait_for(&format!("{} > 1", sequence("yard")));
    browser.wait_for("document.getElementById('answer').textContent === 'yard begins'");

    // An edge is selected with the keyboard and shows its packets.
    browser.value(
        "document.querySelectorAll('#graph .edge')[3].dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));",
    );
    browser.wait_for("document.querySelectorAll('#tapped tr').length > 2");
    let carries = browser.value("document.querySelector('#tapped tr td:last-child').textContent");
    assert!(
        carries.as_str().unwrap().starts_with("320×240, "),
        "{carries}"
    );
    screenshot(&mut browser, "desktop");

    // The terminal shows the same numbers.
    let top = String::from_utf8_lossy(&top(&[run.address()]).stdout).into_owned();
    assert!(top.starts_with("cameras  running"), "{top}");
    assert!(
        top.contains("capture → detect") && top.contains("yard"),
        "{top}"
    );

    browser.value("window.confirm = () => true; document.getElementById('drain').click();");
    for stream in ["lobby", "door", "yard"] {
        browser.wait_for(&state(stream, "over"));
    }
    browser.wait_for("document.getElementById('summary').textContent.startsWith('over')");
    let last = browser.value("document.getElementById('summary').textContent");
    let last = last.as_str().unwrap();
    assert!(last.contains("captured") && !last.contains("/s"), "{last}");
    let shown = browser.value(
        "Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) =>
           [tile.querySelector('h3').textContent, tile.querySelector('.quiet').textContent]))",
    );
    let report = run.report();
    assert_eq!(report["balanced"], true);
    for stream in ["lobby", "door", "yard"] {
        let books = &report["streams"][stream];
        let words = format!(
            "{} of {} frames delivered",
            books["delivered"], books["captured"]
        );
        let shown = shown[stream].as_str().unwrap();
        assert!(shown.starts_with(&words), "{shown} is not {words}");
    }
}

#[test]
fn the_page_asks_for_the_token_and_comes_back_when_its_server_does() {
    let mut browser = Browser::open();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    let options = ["--serve-token-file", file.to_str().unwrap()];
    let run = ServedRun::start("{lobby: 1}", "127.0.0.1:0", &options);
    let (url, address) = (run.url.clone(), run.address().to_owned());
    browser.go(&url);
    browser.wait_for("!document.getElementById('sign-in').hidden");
    assert_eq!(
        browser.value("document.getElementById('main').hidden"),
        true
    );
    browser.value(
        "document.getElementById('token').value = 'wrong';
         document.querySelector('#sign-in button').click();",
    );
    browser.wait_for("document.getElementById('sign-in-error').textContent !== ''");
    screenshot(&mut browser, "sign-in");
    // Changing only the fragment does not reload the page.
    browser.go("about:blank");
    browser.go(&format!("{url}#token=correct-horse-battery"));
    browser.wait_for(&format!("{} > 1", sequence("lobby")));
    assert_eq!(browser.value("location.hash"), "");
    assert_eq!(browser.value("document.cookie"), "", "no script reads it");

    let log = std::fs::read_to_string(run.folder.path().join("out/run.log")).unwrap();
    assert!(!log.contains("correct-horse"), "{log}");
    drop(run);
    browser.wait_for("document.getElementById('connection').dataset.state === 'lost'");
    let again = ServedRun::start("{lobby: 1, hall: 2}", &address, &options);
    browser.wait_for("document.getElementById('connection').dataset.state === 'open'");
    browser.wait_for(&format!("{} > 1", sequence("hall")));

    // The run is ended at the terminal: the page says so.
    again.interrupt();
    browser.wait_for("document.getElementById('log').textContent.includes('the run drains')");
    browser.wait_for("document.getElementById('summary').textContent.startsWith('over')");
    drop(again);
}

#[test]
fn a_run_that_is_drained_at_its_terminal_is_draining_in_others() {
    // A server that accepts a message and never answers: packets in flight stay there.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join("hook");
    std::fs::write(&hook, format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let tell = format!(
        "  tell:    {{use: send_webhook, in: track, send: frames, hold_up: true, waiting: 1, timeout: 600s, finish_within: 600s, address: {{file: {}}}}}\n",
        hook.display()
    );
    let graph = format!("{CAMERAS}{tell}run: {{drain: 600s}}\n");
    let run = ServedRun::of_graph(&graph, "{lobby: 1}", "127.0.0.1:0", &[]);
    wait_for_top(&[run.address()], "running");
    let _message = silent.accept().unwrap();
    run.interrupt();
    wait_for_top(&[run.address()], "draining");
}

#[test]
fn a_run_that_is_ended_through_its_page_says_so_as_after_ctrl_c() {
    for (path, told) in [
        ("/drain", "ended early: what was in flight was finished"),
        ("/stop", "ended early: what was in flight was given up"),
    ] {
        let mut run = ServedRun::start("{lobby: 1}", "127.0.0.1:0", &[]);
        wait_for_top(&[run.address()], "running");
        let address = run.address();
        let asked =
            format!("POST {path} HTTP/1.1\r\nOrigin: http://{address}\r\nContent-Length: 0");
        let answer = ask(address, &asked);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(run.process.wait().unwrap().code(), Some(130), "{path}");
        let lines: Vec<String> = run.lines.iter().collect();
        assert!(lines.iter().any(|line| line == told), "{lines:?}");
    }
}

#[test]
fn over_tls_the_page_is_seen_by_who_knows_its_certificate() {
    let mut browser = Browser::trusting_anybody();
    let run = ServedRun::start("{lobby: 1}", "127.0.0.1:0", &["--serve-tls"]);
    assert!(run.url.starts_with("https://"), "{}", run.url);
    let said = run.lines.recv_timeout(PATIENCE).unwrap();
    let fingerprint = said
        .strip_prefix("its certificate's SHA-256 fingerprint: ")
        .unwrap_or_else(|| panic!("{said}"));

    let refused = top(&[&run.url]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(
        why.contains("not trusted") && why.contains(fingerprint),
        "{why}"
    );
    let other = "00".repeat(32);
    let refused = top(&[run.address(), "--fingerprint", &other]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains(fingerprint), "{why}");
    let refused = top(&[&format!("http://{}", run.address())]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("400") && why.contains("https://"), "{why}");
    wait_for_top(&[run.address(), "--fingerprint", fingerprint], "running");

    browser.go(&run.url);
    browser.wait_for(&format!("{} > 1", sequence("lobby")));
    drop(run);

    // With a self-signed certificate.
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (
        file("certificate.pem", certificate.pem()),
        file("key.pem", key.serialize_pem()),
    );
    let own = [
        "--serve-tls",
        "--serve-certificate",
        &certificate,
        "--serve-key",
        &key,
    ];
    let run = ServedRun::start("{lobby: 1}", "127.0.0.1:0", &own);
    wait_for_top(&[&run.url, "--ca-file", &certificate], "running");
}

#[test]
fn sixteen_streams_on_a_telephone_cost_what_is_on_its_screen() {
    let mut browser = Browser::open();
    let names: Vec<String> = (1..=16).map(|n| format!("camera-{n:02}: {n}")).collect();
    let run = ServedRun::start(&format!("{{{}}}", names.join(", ")), "127.0.0.1:0", &[]);
    browser.resize(400, 850);
    browser.go(&run.url);
    browser.wait_for("document.querySelectorAll('.tile').length === 16");
    browser.wait_for(&format!("{} > 2", sequence("camera-01")));
    assert!(
        browser.value(&sequence("camera-16")).is_null(),
        "it is off the screen"
    );
    // Nothing overflows horizontally.
    browser.wait_for("document.documentElement.scrollWidth <= 400");
    screenshot(&mut browser, "telephone");
    browser.value("document.querySelector('[aria-label=\"stream camera-16\"]').scrollIntoView();");
    browser.wait_for(&format!("{} > 2", sequence("camera-16")));
    browser.value("document.getElementById('graph').scrollIntoView();");
    screenshot(&mut browser, "telephone-graph");
    let nameless = browser.value(
        "[...document.querySelectorAll('button, input, canvas, [role=button]')]
           .filter((part) => !(part.textContent || part.labels?.length || part.getAttribute('aria-label'))).length",
    );
    assert_eq!(nameless, 0, "what a screen reader cannot name");
    browser.resize(1440, 1000);
    browser.value("scrollTo(0, 0);");
    browser.wait_for(&format!("{} > 2", sequence("camera-08")));
    screenshot(&mut browser, "sixteen");
    drop(run);
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_a_terminal_to_show_it_on() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("cameras.yaml");
    std::fs::write(&graph, CAMERAS.replace("{STREAMS}", "{lobby: 1}")).unwrap();
    let refused = |more: &[&str], words: &str| {
        let output = Command::new(fermata())
            .arg("run")
            .arg(&graph)
            .arg("--out")
            .arg(folder.path().join("out"))
            .args(more)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(words), "{errors}");
        assert!(!folder.path().join("out").exists());
    };
    refused(&["--serve", "0.0.0.0:0"], "--serve-token-file");
    refused(&["--serve-token-file", "x"], "--serve");
    refused(
        &["--serve", "0.0.0.0:0", "--serve-token-file", "/nowhere"],
        "cannot read the token file /nowhere",
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    refused(&["--serve", &taken], &format!("cannot listen on {taken}"));
}

#[test]
fn the_address_that_is_shown_can_be_asked_and_what_is_none_is_refused() {
    let run = ServedRun::start("{lobby: 1}", "0", &[]);
    assert!(run.url.starts_with("http://127.0.0.1:"), "{}", run.url);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-20-letters").unwrap();
    let token = ["--serve-token-file", token.to_str().unwrap()];
    let run = ServedRun::start("{lobby: 1}", "0.0.0.0:0", &token);
    assert!(!run.url.contains("0.0.0.0"), "{}", run.url);
    std::net::TcpStream::connect(run.address()).unwrap();

    // A graph that follows `--serve` is taken for its address.
    let graph = run.folder.path().join("cameras.yaml");
    let mut command = Command::new(fermata());
    let output = command.args(["run", "--serve"]).arg(graph).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("name it before --serve"), "{errors}");
}

/// Returns a server's answer to a request with these lines.
fn ask(address: &str, lines: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!("{lines}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

const WARNING: &str = "goes over the network unencrypted";

#[test]
fn a_fresh_token_is_shown_on_the_terminal_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (graph, out) = (
        folder.path().join("cameras.yaml"),
        folder.path().join("out"),
    );
    std::fs::write(&graph, CAMERAS.replace("{STREAMS}", "{lobby: 1}")).unwrap();
    let mut tokens = Vec::new();
    for (more, is_warned) in [
        ("-vv", true),
        ("--serve-tls --set nodes.capture.count=5", false),
    ] {
        let typed = format!(
            "{} run {} --out {} --serve 0.0.0.0:0 --quiet --trace {} {more}",
            fermata(),
            graph.display(),
            out.display(),
            folder.path().join("trace").display()
        );
        let mut terminal = Command::new("script")
            .args(["-qfec", &typed, "/dev/null"])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let page = lines.find_map(|line| {
            let (_, page) = line.split_once("live page: ")?;
            Some(page.trim_end().to_owned())
        });
        let page = page.expect("the page's address");
        let (url, token) = page.split_once("/#token=").unwrap();
        assert!(token.len() == 64 && token.bytes().all(|letter| letter.is_ascii_hexdigit()));
        if is_warned {
            assert!(lines.any(|line| line.contains(WARNING)));
            let (_, address) = url.split_once("://").unwrap();
            let bearer = |line: &str| format!("{line} HTTP/1.1\r\nAuthorization: Bearer {token}");
            for (lines, status) in [
                ("GET /snapshot HTTP/1.1".to_owned(), 401),
                (bearer("GET /metrics"), 200),
                (bearer("POST /stop") + "\r\nContent-Length: 0", 200),
            ] {
                let answer = ask(address, &lines);
                let is_right = answer.starts_with(&format!("HTTP/1.1 {status}"));
                assert!(is_right, "{lines}: {answer}");
            }
        }
        let rest: Vec<String> = lines.collect();
        terminal.wait().unwrap();
        assert!(!rest.iter().any(|line| line.contains(token)), "{rest:?}");
        assert!(!rest.iter().any(|line| line.contains(WARNING)), "{rest:?}");
        tokens.push(token.to_owned());
    }
    for (file, bytes) in contents(folder.path()) {
        let text = String::from_utf8_lossy(&bytes);
        let shown = tokens.iter().find(|token| text.contains(*token));
        assert_eq!(shown, None, "{} has a token", file.display());
    }
}
