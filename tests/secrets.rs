//! Secrets are not shown, neither by the program nor in what a run leaves, whatever characters they consist of and
//! wherever in a graph they stand.

mod parameters;
mod served;

use std::path::Path;
use std::process::{Command, Output};

use fermata_engine::{Graph, LoadOptions, Overrides, Problems, Registry};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::command::{interrupt, start_unheard};
use crate::support::{fermata, wait_until};

/// The beginning of each secret, so that a single letter of it cannot be mistaken for something else.
const MARK: &str = "Zq7";

/// The seed of the secrets.
const SEED: u64 = 14;

/// A small generator: the same numbers for the same seed (Steele, Lea and Flood's SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % most as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Returns a secret in pieces, each of which has the mark, separated by characters that a parser may take for its end.
fn secret(numbers: &mut Numbers, number: usize, query: bool) -> String {
    const BETWEEN: [&str; 22] = [
        "", "'", "\"", "`", " ", "/", ";", ":", ",", "%20", "%40", "\\", "{", "}", "$", "<", "|",
        "..", "é", "?", "#", "=",
    ];
    // After the characters left out here, the end of the secret is ambiguous.
    let between = if query {
        &BETWEEN[..20]
    } else {
        &BETWEEN[..19]
    };
    let pieces = 2 + numbers.below(2);
    let mut secret = format!("{MARK}a{number}");
    for _ in 0..pieces {
        secret.push_str(numbers.pick(between));
        secret.push_str(&format!("{MARK}b{number}"));
    }
    secret
}

/// Returns an address with a secret in it.
fn address(numbers: &mut Numbers, number: usize) -> String {
    let host = "127.0.0.1:9";
    match numbers.below(6) {
        0 => format!("rtsp://user:{}@{host}/x", secret(numbers, number, false)),
        1 => format!("http://{}@{host}/x?y=z", secret(numbers, number, false)),
        2 => {
            let name = numbers.pick(&["access_token", "X-Amz-Signature", "sid", "Token", "q"]);
            format!(
                "http://{host}/x?{name}={}&c=1",
                secret(numbers, number, true)
            )
        }
        3 => format!("http://{host}/x?c=1&{}", secret(numbers, number, true)),
        4 => format!(
            "rtsp://{host}/user=a&password={}",
            secret(numbers, number, true)
        ),
        _ => {
            let password = secret(numbers, number, false);
            format!(
                "rtsp://u:{password}@{host}/x?t={}",
                secret(numbers, number, true)
            )
        }
    }
}

fn addresses(count: usize) -> Vec<String> {
    let mut numbers = Numbers(SEED);
    (0..count)
        .map(|number| address(&mut numbers, number))
        .collect()
}

#[track_caller]
fn assert_hidden(what: &str, shown: &str) {
    let leak = shown.lines().find(|line| line.contains(MARK));
    assert_eq!(leak, None, "{what} shows a secret");
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(fermata());
    command.args(arguments).env("NO_COLOR", "1");
    command.env("MARKED", format!("{MARK}env"));
    command.output().expect("the program")
}

fn all_of(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .concat()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns an address as written in a graph file.
fn in_file(uri: &str) -> String {
    quoted(&uri.replace("${", "$${"))
}

/// Returns every file that a run has left, and its contents.
fn left(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("a file");
            (
                entry.file_name().to_string_lossy().into_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        })
        .collect()
}

const NODES: &str = "\
nodes:
  s: {use: video_source, each: stream, uri: \"${stream.uri}\", timeout: 500ms, reconnect: {first: 50ms, most: 100ms}}
  e: {use: discard, in: s}
run: {drain: 2s}
";

/// Runs a graph of unreachable cameras, ends it once all have been tried, and checks all its output and files.
fn run_and_look(graph: &str, arguments: &[&str], streams: usize) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("graph.yaml"), folder.path().join("out"));
    std::fs::write(&file, graph).unwrap();
    let mut command = Command::new(fermata());
    command.arg("run").arg(&file).arg("--out").arg(&out);
    command.args(arguments).env("MARKED", format!("{MARK}env"));
    let (said, errors) = (folder.path().join("said"), folder.path().join("errors"));
    command.stdout(std::fs::File::create(&said).unwrap());
    command.stderr(std::fs::File::create(&errors).unwrap());
    let mut child = command.spawn().expect("the program");
    let log = out.join("run.log");
    wait_until("every camera was tried", || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let tried = (0..streams).all(|number| log.contains(&format!("s@c{number} ")));
        tried || !matches!(std::fs::read_to_string(&errors), Ok(text) if !text.contains("error:"))
    });
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let status = child.wait().unwrap();
    let mut texts = left(&out);
    for file in [said, errors] {
        texts.push((
            file.display().to_string(),
            std::fs::read_to_string(&file).unwrap(),
        ));
    }
    assert_eq!(status.code(), Some(130), "{texts:#?}");
    assert!(texts.iter().any(|(name, _)| name == "graph.yaml"));
    assert!(texts.iter().any(|(name, _)| name == "report.json"));
    for (name, text) in &texts {
        assert_hidden(name, text);
    }
    texts
}

/// Returns addresses that a graph accepts, each with a secret of another shape.
fn two_hundred() -> Vec<String> {
    // A raw `/` in a password can be refused, which another test covers.
    let graph = |uri: &str| format!("fermata: 1\nstreams: {{a: {}}}\n{NODES}", in_file(uri));
    let addresses: Vec<String> = addresses(400)
        .into_iter()
        .filter(|uri| refused(&graph(uri), Overrides::default()).is_empty())
        .take(200)
        .collect();
    assert_eq!(addresses.len(), 200);
    addresses
}

#[test]
fn a_run_shows_none_of_two_hundred_secrets() {
    let addresses = two_hundred();
    // Some in the file, some on the command line.
    for addresses in addresses.chunks(50) {
        let (written, typed) = addresses.split_at(25);
        let mut graph = "fermata: 1\nstreams:\n".to_owned();
        for (number, uri) in written.iter().enumerate() {
            graph.push_str(&format!("  c{number}: {}\n", in_file(uri)));
        }
        graph.push_str(NODES);
        let typed: Vec<String> = typed
            .iter()
            .enumerate()
            .map(|(number, uri)| format!("c{}={uri}", number + 25))
            .collect();
        let arguments: Vec<&str> = typed
            .iter()
            .flat_map(|uri| ["--stream", uri.as_str()])
            .collect();
        run_and_look(&graph, &arguments, 50);
    }
}

/// Returns problems as the program shows them.
fn drawn(problems: &Problems) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    let handler = handler.with_context_lines(1);
    let mut drawn = problems.to_string();
    for problem in problems.iter() {
        handler.render_report(&mut drawn, problem).unwrap();
    }
    drawn
}

fn refused(text: &str, overrides: Overrides) -> String {
    let mut registry = Registry::builtin();
    fermata_actors::register(&mut registry);
    let mut options = LoadOptions::new("/tmp/out");
    options.overrides = overrides;
    match Graph::parse("t.yaml", text, &registry, &options) {
        // A raw `/` in a password can change the meaning of the part before it.
        Ok(graph) => graph
            .check(&registry)
            .map_or_else(|problems| drawn(&problems), |()| String::new()),
        Err(problems) => drawn(&problems),
    }
}

#[test]
fn excerpts_of_what_is_wrong_show_none_of_two_hundred_secrets() {
    let mut looked_at = 0;
    for (number, uri) in addresses(200).iter().enumerate() {
        let uri = uri.replace("${", "$${");
        let quoted_uri = quoted(&uri);
        let single = format!("'{}'", uri.replace('\'', "''"));
        let typed = |argument: String| Overrides {
            streams: vec![argument],
            ..Overrides::default()
        };
        let file = format!("fermata: 1\nstreams: {{a: {quoted_uri}}}\n{NODES}");
        for (shown, what) in [
            (
                refused(&file.replace("a:", "\"a b\":"), Overrides::default()),
                "the name of a stream",
            ),
            (
                refused(
                    &file.replace("fermata: 1", "fermata: 2"),
                    Overrides::default(),
                ),
                "the line above",
            ),
            (
                refused(
                    &file.replace("streams: {a: ", "streams: {a: x, a: "),
                    Overrides::default(),
                ),
                "a duplicate",
            ),
            (
                refused(
                    &file
                        .replace("http://", "gopher://")
                        .replace("rtsp://", "gopher://"),
                    Overrides::default(),
                ),
                "a scheme",
            ),
            (
                refused(&file.replace("127.0.0.1:9", ":9"), Overrides::default()),
                "a missing host",
            ),
            (
                refused(
                    &format!("fermata: 1\nstreams: {{a: {single}}}\n nodes: x"),
                    Overrides::default(),
                ),
                "no YAML",
            ),
            (
                refused(
                    &format!(
                        "fermata: 1\nnodes:\n  s: {{use: video_source, uri: {quoted_uri}, fps: x}}\n"
                    ),
                    Overrides::default(),
                ),
                "a neighbour",
            ),
            (
                refused(
                    &format!(
                        "fermata: 1\nnodes:\n  s: {{use: test_source, count: {single}}}\n  e: {{use: discard, in: s}}\n"
                    ),
                    Overrides::default(),
                ),
                "a wrong type",
            ),
            (
                refused(&format!("fermata: 1\n{NODES}"), typed(format!("a b={uri}"))),
                "an argument",
            ),
            (
                refused(&format!("fermata: 1\n{NODES}"), typed(uri.clone())),
                "an argument without a name",
            ),
            (
                refused(
                    &format!("fermata: 1\n{NODES}"),
                    Overrides {
                        params: vec![format!("x={uri}")],
                        ..Overrides::default()
                    },
                ),
                "no such parameter",
            ),
            (
                refused(
                    &format!("fermata: 1\n{NODES}"),
                    Overrides {
                        set: vec![format!("nodes.q.uri={uri}")],
                        ..Overrides::default()
                    },
                ),
                "no such node",
            ),
        ] {
            looked_at += usize::from(shown.contains("t.yaml") || shown.contains("command line"));
            assert_hidden(&format!("{what} ({number}: {uri})"), &shown);
        }
    }
    assert!(looked_at > 2200, "only {looked_at} problems");
}

#[test]
fn what_is_typed_wrong_is_told_without_secrets() {
    for uri in addresses(12) {
        for arguments in [
            vec!["run", "graphs/demo.yaml", &uri],
            vec!["check", "--strem", &uri],
            vec!["frob", &uri],
            vec![&uri],
        ] {
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(2));
            assert_hidden(&format!("{arguments:?}"), &all_of(&output));
        }
    }
}

#[test]
fn a_value_of_the_environment_is_written_as_it_was_and_hidden_elsewhere() {
    let graph = format!(
        "fermata: 1\nparams: {{camera: \"${{env.MARKED}}\", plain: 7}}\nstreams:\n  \
         c0: \"rtsp://user:${{env.MARKED}}@127.0.0.1:9/x\"\n  c1: \"rtsp://user:${{camera}}@127.0.0.1:9/${{plain}}\"\n{NODES}"
    );
    let texts = run_and_look(&graph, &[], 2);
    let (_, written) = texts.iter().find(|(name, _)| name == "graph.yaml").unwrap();
    for line in [
        "  camera: \"${env.MARKED}\"\n",
        "  c0: \"rtsp://***:${env.MARKED}@127.0.0.1:9/x\"\n",
        "  c1: \"rtsp://***:${env.MARKED}@127.0.0.1:9/7\"\n",
    ] {
        assert!(written.contains(line), "{line} is not in\n{written}");
    }
}

#[test]
fn secrecy_follows_a_parameter_that_is_typed() {
    let typed = format!("camera={MARK}typed");
    let graph = format!(
        "fermata: 1\nparams: {{camera: null}}\nstreams: {{c0: \"http://127.0.0.1:9/x?t=${{camera}}\"}}\n{NODES}"
    );
    let texts = run_and_look(&graph, &["--param", &typed], 1);
    let (_, written) = texts.iter().find(|(name, _)| name == "graph.yaml").unwrap();
    assert!(written.contains("  camera: \"***\"\n"), "{written}");
}

#[test]
fn doctor_names_who_takes_any_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.yaml");
    let graph = "fermata: 1\nstreams: {a: 'rtsps://127.0.0.1:9/x', b: 'rtsps://127.0.0.1:9/x'}\nnodes:\n  \
                 s: {use: video_source, each: stream, uri: \"${stream.uri}\", tls: {verify: false}}\n  e: {use: discard, in: s}\n";
    for (graph, told) in [(graph.to_owned(), 2), (graph.replace("false", "true"), 0)] {
        std::fs::write(&file, graph).unwrap();
        let said = all_of(&run(&["doctor", &file.display().to_string()]));
        assert_eq!(
            said.matches("accepts any certificate").count(),
            told,
            "{said}"
        );
    }
}

/// The run's log says so too, each time that a camera is opened without verification.
#[test]
fn the_log_says_that_any_certificate_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.yaml");
    let graph = "fermata: 1\nnodes:\n  s: {use: video_source, uri: 'rtsps://127.0.0.1:9/x', tls: {verify: false}}\n  e: {use: discard, in: s}\n";
    std::fs::write(&file, graph).unwrap();
    let (file, out) = (file.display().to_string(), folder.path().join("o"));
    let child = start_unheard(&["run", &file, "--quiet", "--out", &out.display().to_string()]);
    wait_until("the warning", || {
        let log = std::fs::read_to_string(out.join("run.log")).unwrap_or_default();
        log.contains("an attacker in between can read and change everything")
    });
    interrupt(child);
}

#[test]
fn no_file_speaks_to_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("escapes\x1b[31m.yaml");
    let nodes = [
        "  s: {use: \"test\\e[31m\\e]0;owned\\a_source\"}\n  f: {use: discard, in: s, \"\\e[2J\": 1}\n",
        "  s: {use: test_source, \"\\x9b31m\": \"\\r\"}\n",
        "  s: {use: image_source, path: \"\\e[2J/none\"}\n",
        "  s: {use: test_source, count: \"\\u202Eabc\"}\n  \"\\e[5m\": {use: discard, in: s}\n",
        "  s: {use: test_source, \x1b[31m: 1}\n",
    ];
    for nodes in nodes {
        std::fs::write(&file, format!("fermata: 1\nnodes:\n{nodes}")).unwrap();
        for command in ["check", "run", "graph"] {
            let output = run(&[command, &file.display().to_string()]);
            let shown = all_of(&output);
            let obeyed = shown.find(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}');
            assert_eq!(obeyed, None, "{shown:?}");
        }
    }
    let unknown = run(&["actors", "a\x1b[31mb"]);
    assert!(!all_of(&unknown).contains('\x1b'));
}

/// Messages outside of a run: what was left out, what was unavailable.
#[test]
fn what_commands_complain_of_shows_no_secret_and_does_not_speak_to_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("run\x1b[31m");
    std::fs::create_dir(&runs).unwrap();
    let rows = "stream,sequence,pts_ms,track,label\n\x1b[2Jx,0,0,,\n";
    std::fs::write(runs.join("faces.csv"), rows).unwrap();
    std::fs::write(runs.join("faces.0002.csv.part"), rows).unwrap();
    let runs = runs.display().to_string();
    let models = folder.path().display().to_string();
    let mirror = format!("http://user:{MARK}pass@127.0.0.1:1/?token={MARK}");
    let address = format!("http://user:{MARK}pass@127.0.0.1:1");
    for (arguments, words) in [
        (vec!["kpi", &runs], "left out: "),
        (
            vec!["models", "pull", "yunet", "--dir", &models, "--from", &runs],
            "has neither",
        ),
        (
            vec![
                "models", "pull", "face-api", "--dir", &models, "--mirror", &mirror,
            ],
            "127.0.0.1:1/",
        ),
        (
            vec!["analyse", &address, "none\x1b[5m"],
            "there is no such file",
        ),
        (vec!["analyse", &runs], "holds no photo"),
        (vec!["top", &address], "cannot reach http://***@127.0.0.1:1"),
    ] {
        let shown = all_of(&run(&arguments));
        assert!(shown.contains(words), "{arguments:?}: {shown}");
        assert_hidden(&format!("{arguments:?}"), &shown);
        assert!(!shown.contains('\x1b'), "{arguments:?}: {shown:?}");
    }
}
