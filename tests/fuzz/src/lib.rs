//! Laws that hold for every input, however broken: graph files, model cards, `${…}` and the command line's changes are
//! read or refused, but never crash the program. There is one function per fuzz target; it panics where a law is
//! broken.
//!
//! The fuzz targets call these functions with libFuzzer's inputs, the integration tests with the kept ones.

mod actors;
mod reference;

use std::collections::BTreeMap;
use std::path::Path;

use fermata_engine::{Graph, LoadOptions, Overrides, Problems};
use fermata_vision::ModelCard;

use actors::NoteSettings;
use reference::Values;

/// The graph that [`overrides`] changes.
const CHANGED: &str = "\
fermata: 1
params: {count: 100, label: null, secret: '${env.SECRET:-none}'}
streams: {door: /dev/video0}
nodes:
  source: {use: test_source, each: stream, count: '${count}'}
  middle: {use: identity, each: stream, in: source, queue: {capacity: 2, full: drop_oldest}}
  pair:   {use: pair, each: stream, in: {left: source, right: middle}, require: [left]}
  shared: {use: identity, in: middle, replicas: 2, batch: {max: 4, wait: 8ms}}
  note:   {use: note, each: stream, in: pair, text: '${label:-at} ${stream.name}', texts: {secret: '${secret}'}}
  end:    {use: discard, in: shared, lane: last}
run: {clock: asap, drain: 1s, restart: {most: 1, within: 60s}}
";

/// Reads any text as a graph file.
pub fn graph_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if !may_include(&text) {
        read(&text, Overrides::default());
    }
}

/// Applies any lines as changes to a fixed graph: `set PATH=VALUE`, `param NAME=VALUE`, `stream NAME=URI`.
pub fn overrides(input: &[u8]) {
    let mut overrides = Overrides::default();
    for line in String::from_utf8_lossy(input).lines() {
        let (list, argument) = match line.split_once(' ') {
            Some(("set", argument)) => (&mut overrides.set, argument),
            Some(("param", argument)) => (&mut overrides.params, argument),
            Some(("stream", argument)) => (&mut overrides.streams, argument),
            _ => continue,
        };
        list.push(argument.to_owned());
    }
    read(CHANGED, overrides);
}

/// Replaces the references of a template. The input's lines begin with the kind of value they define: `param `,
/// `declared `, `env `, `uri `, `run `; all other lines are the template. The node's settings must equal what
/// [`reference`] makes of the template.
pub fn interpolation(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let mut values = Values {
        uri: "/dev/video0".to_owned(),
        ..Values::default()
    };
    let mut template = Vec::new();
    for line in input.lines() {
        match line.split_once(' ') {
            Some(("param", value)) => value.clone_into(&mut values.given),
            Some(("declared", value)) => value.clone_into(&mut values.declared),
            Some(("env", value)) => value.clone_into(&mut values.env),
            Some(("uri", value)) if !value.is_empty() => value.clone_into(&mut values.uri),
            Some(("run", value)) => value.clone_into(&mut values.run_dir),
            _ => template.push(line),
        }
    }
    let template = template.join("\n");
    let expected = reference::replaced(&template, &values);
    // A JSON string is a YAML string, and it holds the text unchanged.
    let text = format!(
        "fermata: 1\nparams: {{given: 0, absent: null, declared: {}}}\nstreams: {{door: 0}}\nnodes:\n  \
         source: {{use: test_source, each: stream}}\n  \
         note: {{use: note, each: stream, in: source, text: {}, texts: {{mixed: {}}}}}\n",
        serde_json::Value::from(values.declared.replace("${", "$${")),
        serde_json::Value::from(template.as_str()),
        serde_json::Value::from(format!("<{template}>")),
    );
    let overrides = Overrides {
        params: vec![format!("given={}", values.given)],
        streams: vec![format!("door={}", values.uri)],
        set: Vec::new(),
    };
    let options = options(overrides, &values.run_dir, &values.env);
    let graph = match Graph::parse("fuzzed.yaml", &text, &actors::registry(), &options) {
        Ok(graph) => graph,
        Err(problems) => {
            show(&problems);
            let excused = expected.is_none()
                // The command line cannot pass an empty value.
                || is_nothing(&values.given)
                || is_nothing(&values.uri)
                // The one text that a graph file cannot express.
                || problems.to_string().contains("ends in `$`");
            assert!(excused, "{template:?} was refused: {problems}");
            return;
        }
    };
    keeps_laws(&graph, &options);
    let stream = &graph.streams[0];
    assert_eq!(stream.uri, values.uri, "the stream's place");
    let note = &graph.nodes[1];
    let settings: NoteSettings = note
        .settings(Some(stream))
        .unwrap_or_else(|problems| panic!("accepted, but {problems}"))
        .parse()
        .unwrap_or_else(|error| panic!("accepted, but {error}"));
    let expected = expected.unwrap_or_else(|| panic!("{template:?} was accepted"));
    match settings.text {
        Some(text) => assert_eq!(text, expected, "{template:?}"),
        // A lone reference may resolve to no value.
        None => assert!(is_nothing(&expected)),
    }
    assert_eq!(settings.texts["mixed"], format!("<{expected}>"));
}

/// Reads any text as a model's card.
pub fn card(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let path = Path::new("models/fuzzed/card.yaml");
    let card = match ModelCard::parse(&text, path) {
        Ok(card) => card,
        Err(error) => return drop(error.to_string()),
    };
    let written = card.to_yaml();
    let again = ModelCard::parse(&written, path)
        .unwrap_or_else(|error| panic!("{error}\nstands in what was written:\n{written}"));
    assert_eq!(again, card, "{written}");
    let values: usize = card.input.shape().iter().product();
    assert_eq!(card.input.len(), values);
}

/// Returns whether YAML reads the text as no value.
fn is_nothing(text: &str) -> bool {
    ["", "~", "null", "Null", "NULL"].contains(&text)
}

/// Returns whether a text might make the engine open files, which a fuzzer must not choose. Escapes that could spell
/// the key count.
fn may_include(text: &str) -> bool {
    let spellings = ["include", "\\x", "\\u00", "\\U0000", "\\\n", "\\\r"];
    spellings.iter().any(|spelling| text.contains(spelling))
}

fn options(overrides: Overrides, run_dir: &str, secret: &str) -> LoadOptions {
    LoadOptions {
        overrides,
        run_dir: run_dir.into(),
        env: BTreeMap::from([("SECRET".to_owned(), secret.to_owned())]),
    }
}

/// Reads a graph; it must be possible to present the result, whether it was accepted or refused.
fn read(text: &str, overrides: Overrides) {
    let options = options(overrides, "runs/fuzzed", "s3cret");
    match Graph::parse("fuzzed.yaml", text, &actors::registry(), &options) {
        Ok(graph) => keeps_laws(&graph, &options),
        Err(problems) => show(&problems),
    }
}

/// Shows problems in every way in which the program does.
fn show(problems: &Problems) {
    assert!(!problems.is_empty(), "refused without a reason");
    let told = problems.to_string();
    for problem in problems.iter() {
        assert!(told.contains(problem.message()));
        let mut drawn = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .render_report(&mut drawn, problem)
            .unwrap_or_else(|_| panic!("cannot be drawn: {problem}"));
        assert!(
            problem
                .place()
                .is_none_or(|(line, column)| line > 0 && column > 0)
        );
    }
}

/// Checks the laws of an accepted graph: it can be checked and drawn, and its resolved text is the same graph.
fn keeps_laws(graph: &Graph, options: &LoadOptions) {
    let registry = actors::registry();
    if let Err(problems) = graph.check(&registry) {
        show(&problems);
    }
    let (dot, mermaid) = (graph.to_dot(), graph.to_mermaid());
    let resolved = graph.resolved_yaml();
    // The hidden text may be the only difference between two settings.
    if resolved.contains("***") {
        return;
    }
    let options = LoadOptions {
        overrides: Overrides::default(),
        // Values from these options are written literally.
        ..options.clone()
    };
    let again = Graph::parse("resolved.yaml", &resolved, &registry, &options)
        .unwrap_or_else(|problems| panic!("{problems}\nin what was resolved:\n{resolved}"));
    assert_eq!(again.resolved_yaml(), resolved);
    assert_eq!((again.to_dot(), again.to_mermaid()), (dot, mermaid));
}
