//! `fermata top` on a terminal: it survives failed requests and ends properly when the run does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::command::refused;
use crate::served_run::ServedRun;
use crate::support::fermata;

/// Starts `fermata top` on a terminal of its own; what it shows appears on its standard output.
fn top_on_a_terminal(address: &str) -> Child {
    Command::new("script")
        .args([
            "-qfec",
            &format!("{} top {address}", fermata()),
            "/dev/null",
        ])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Returns what it showed until its end, and its exit code.
fn end_of(mut top: Child) -> (String, Option<i32>) {
    let mut shown = String::new();
    let mut output = top.stdout.take().unwrap();
    output.read_to_string(&mut shown).unwrap();
    (shown, top.wait().unwrap().code())
}

/// Returns a run's answer to `top`, once it has one.
fn snapshot(run: &ServedRun) -> String {
    let host = run.address();
    loop {
        let mut connection = TcpStream::connect(host).unwrap();
        let request =
            format!("GET /snapshot HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 503") {
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        return answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    }
}

/// Serves one request per answer (an empty answer sends nothing), then closes.
fn answering(listener: TcpListener, answers: Vec<String>) {
    for answer in answers {
        let (mut connection, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        connection.write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn top_asks_again_after_looks_that_failed_and_ends_well_when_nobody_is_there() {
    let run = ServedRun::start("{lobby: 1}", "127.0.0.1:0", &[]);
    let body = snapshot(&run);
    drop(run);
    let again = body.replace("\"graph\":\"cameras\"", "\"graph\":\"again\"");
    assert_ne!(again, body);
    let answer = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let answers = vec![
        answer("200 OK", &body),
        String::new(),
        answer("503 Service Unavailable", "busy"),
        answer("200 OK", &again),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || answering(listener, answers));
    let (shown, code) = end_of(top_on_a_terminal(&address));
    server.join().unwrap();
    assert_eq!(code, Some(0), "{shown}");
    let places = ["cameras  ", "503", "again  ", "the run is over"].map(|what| shown.find(what));
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?}: {shown}"
    );
    assert!(shown.contains("asking again"), "{shown}");
}

#[test]
fn top_ends_well_with_the_run_and_badly_where_another_answers() {
    let run = ServedRun::start("{lobby: 1}", "127.0.0.1:0", &[]);
    let body = snapshot(&run);
    let mut top = top_on_a_terminal(run.address());
    // Its first screen has appeared.
    let mut first = [0; 16];
    top.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    run.interrupt();
    let (shown, code) = end_of(top);
    assert_eq!(code, Some(0), "{shown}");
    drop(run);

    let ok = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let denied = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || answering(listener, vec![ok, denied.to_owned()]));
    let (shown, code) = end_of(top_on_a_terminal(&address));
    server.join().unwrap();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("something else answers"), "{shown}");
}

#[test]
fn an_address_that_shows_no_run_at_the_first_look_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = "this is no run\nbut a shop";
    let answers = ["404 Not Found", "401 Unauthorized", "200 OK"].map(|status| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    });
    let server = thread::spawn(move || answering(listener, answers.to_vec()));
    for words in [
        "answers 404 Not Found: this is no run\n",
        "answers 401",
        "does not answer like a run of this version",
    ] {
        refused(&["top", &address], &[words]);
    }
    server.join().unwrap();
    refused(&["top", &address], &["cannot reach"]);
}
