//! What the live page shows of faces, absent cameras and bottlenecks, and its buttons, in a real browser.

use crate::browser::Browser;
use crate::nats_server::Server;
use crate::served_run::{ServedRun, sequence, state};
use crate::servers::{self, Sending};
use crate::site::{self, ONE_CAMERA};
use crate::support::repository;

/// Returns an expression: whether the text of a part of the page contains these words.
fn says(part: &str, words: &str) -> String {
    format!("document.getElementById('{part}').textContent.includes('{words}')")
}

fn tile(stream: &str, part: &str) -> String {
    format!("document.querySelector('[aria-label=\"stream {stream}\"] {part}')")
}

#[test]
fn a_face_has_its_label_a_bar_for_each_expression_and_a_timeline() {
    let mut browser = Browser::open();
    let model = repository("models/expression");
    let model = model.display();
    let graph = format!(
        "\
fermata: 1
name: cameras
streams: {{STREAMS}}
nodes:
  capture: {{use: synthetic_faces, each: stream, seed: \"${{stream.uri}}\", width: 320, height: 240, fps: 5, faces: 1}}
  detect:  {{use: detect_faces, in: capture, model: haar, min_size: 60}}
  track:   {{use: track_faces, each: stream, in: detect}}
  crop:    {{use: crop_faces, each: stream, in: track, model: {model}}}
  emotion: {{use: classify_expression, in: crop, model: {model}, batch: {{max: 4, wait: 20ms}}}}
  smooth:  {{use: smooth_labels, each: stream, in: emotion}}
  draw:    {{use: draw_overlay, each: stream, in: smooth, queue: {{capacity: 1, full: drop_oldest}}}}
"
    );
    let run = ServedRun::of_graph(&graph, "{lobby: 20}", "127.0.0.1:0", &[]);
    browser.go(&run.url);
    let label = tile("lobby", ".face .label");
    browser.wait_for(&format!(
        "/^#\\d+ [a-z]+ [01]\\.\\d\\d$/.test({label}.textContent)"
    ));
    let bars =
        "[...document.querySelectorAll('.face .bar i')].map((bar) => parseInt(bar.style.height))";
    browser.wait_for(&format!("{bars}.length >= 7 && Math.max(...{bars}) > 20"));
    let timeline = tile("lobby", ".face .timeline");
    // Some of its pixels are coloured, and its text says what they mean.
    browser.wait_for(&format!(
        "{timeline}.getContext('2d').getImageData(0, 0, {timeline}.width, 1).data.some((part) => part > 0)"
    ));
    browser.wait_for(&format!(
        "/^last 10 seconds: (?!no label)/.test({timeline}.getAttribute('aria-label'))"
    ));
    browser.wait_for("/batch \\d/.test(document.getElementById('graph').textContent)");
    drop(run);
}

#[test]
fn a_camera_that_is_away_and_a_node_before_which_packets_are_dropped_are_said_first() {
    let mut browser = Browser::open();
    let graph = "\
fermata: 1
name: cameras
streams: {STREAMS}
nodes:
  capture: {use: video_source, each: stream, uri: \"${stream.uri}\", timeout: 1s, reconnect: {first: 1s, most: 2s}}
  drawn:   {use: synthetic_faces, width: 640, height: 480, fps: 60}
  detect:  {use: detect_faces, in: [capture, drawn], model: haar, min_size: 20, queue: {capacity: 1, full: drop_oldest}}
  draw:    {use: draw_overlay, in: detect}
";
    let run = ServedRun::of_graph(
        graph,
        "{yard: \"rtsp://127.0.0.1:9/x\"}",
        "127.0.0.1:0",
        &[],
    );
    browser.go(&run.url);
    let reason = format!(
        "{}.textContent.includes('Connection refused')",
        tile("yard", ".reason")
    );
    browser.wait_for(&says("log", "capture@yard has lost its source"));
    browser.wait_for(&says(
        "bottleneck",
        "packets a second are dropped before it",
    ));
    browser.wait_for(&state("yard", "offline"));
    browser.wait_for(&reason);
    browser.wait_for(&says("announcement", "yard is offline"));
    browser.wait_for(
        "document.getElementById('bottleneck').textContent.startsWith('yard is offline')",
    );
    // The dropping edge is marked, keeps its rate, and says so to users who cannot see it.
    let edge = "document.querySelectorAll('#graph .edge')[1]";
    browser.wait_for(&format!("{edge}.dataset.level === 'full'"));
    browser.wait_for(&format!("/\\d\\/s −[\\d.]+\\/s$/.test({edge}.textContent)"));
    browser.wait_for(&format!(
        "/from drawn to detect: .*\\/s dropped, dropped so far .*drop_oldest/.test({edge}.getAttribute('aria-label'))"
    ));
    drop(run);
}

/// The camera sends a second of pictures to each client, then closes the connection.
#[test]
fn a_camera_that_goes_away_and_comes_back_is_seen_doing_so() {
    let mut browser = Browser::open();
    let sending = Sending {
        most: 10,
        ..Sending::at(10.0)
    };
    let camera = servers::mjpeg(servers::shades(), sending);
    let graph = "fermata: 1
name: cameras
streams: {STREAMS}
nodes:
  capture: {use: video_source, each: stream, uri: \"${stream.uri}\", reconnect: {first: 3s, most: 3s}}
  detect:  {use: detect_faces, in: capture, every: 1000}
  draw:    {use: draw_overlay, each: stream, in: detect}
";
    let streams = format!("{{yard: \"http://127.0.0.1:{}/x\"}}", camera.port);
    let run = ServedRun::of_graph(graph, &streams, "127.0.0.1:0", &[]);
    browser.go(&run.url);
    browser.wait_for(&state("yard", "reconnecting"));
    browser.wait_for(&format!(
        "/ \\(for \\d+ s\\)/.test({}.textContent)",
        tile("yard", ".reason")
    ));
    browser.wait_for(&says("bottleneck", "yard is reconnecting"));
    browser.wait_for(&says("log", "capture@yard has lost its source"));
    browser.wait_for(&says("log", "capture@yard has its source again"));
    browser.wait_for(&state("yard", "running"));
    assert!(camera.connections() > 1);
    drop(run);
}

#[test]
fn streams_are_opened_again_removed_and_put_away_and_the_run_is_stopped() {
    let mut browser = Browser::open();
    let run = ServedRun::start("{lobby: 1, door: 2}", "127.0.0.1:0", &[]);
    browser.go(&run.url);
    browser.wait_for(&format!("{} > 1", sequence("door")));
    let click = |name: &str| format!("document.querySelector('[aria-label=\"{name}\"]').click();");
    browser.value(&click("Reconnect door"));
    browser.wait_for(&format!("{} > 1", sequence("door.2")));
    browser.wait_for(&format!("!{}", tile("door", "h3")));
    browser.wait_for(&says("log", "the page opens stream door again, as door.2"));

    browser.value(&click("Remove lobby"));
    browser.wait_for(&state("lobby", "over"));
    browser.wait_for(&says("log", "the page removes stream lobby"));
    browser.value(&click("Dismiss lobby"));
    assert_eq!(
        browser.value(&format!("Boolean({})", tile("lobby", "h3"))),
        false
    );
    assert_eq!(browser.value("document.activeElement.id"), "streams");

    browser.value("window.confirm = () => true; document.getElementById('stop').click();");
    browser.wait_for(&says("log", "the run stops"));
    browser.wait_for("document.getElementById('summary').textContent.startsWith('over')");
    assert!(
        browser.value(&tile("lobby", "h3")).is_null(),
        "it stays away"
    );
    assert_eq!(run.report()["balanced"], true);
}

#[test]
fn a_graph_is_not_cut_however_wide_the_window_is() {
    let mut browser = Browser::open();
    // Ten nodes in a row, and two parallel sources.
    let mut graph = "\
fermata: 1
name: cameras
streams: {STREAMS}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", width: 320, height: 240, fps: 5}
  drawn:   {use: synthetic_faces, width: 320, height: 240, fps: 5}
  detect:  {use: detect_faces, in: [capture, drawn], model: haar, min_size: 60}
  again-1: {use: identity, in: detect}
"
    .to_owned();
    for number in 2..=7 {
        let before = number - 1;
        graph.push_str(&format!(
            "  again-{number}: {{use: identity, in: again-{before}}}\n"
        ));
    }
    graph.push_str("  draw:    {use: draw_overlay, in: again-7}\n");
    let run = ServedRun::of_graph(&graph, "{lobby: 1}", "127.0.0.1:0", &[]);
    for (width, least) in [(1280, 165), (900, 165), (390, 150)] {
        browser.resize(width, 900);
        browser.go("about:blank");
        browser.go(&run.url);
        browser.wait_for("document.querySelectorAll('#graph .node').length === 11");
        browser.wait_for("/\\d\\/s/.test(document.querySelector('#graph .edge').textContent)");
        let cut = "(() => {
            const room = document.getElementById('graph').getBoundingClientRect();
            const parts = [...document.querySelectorAll('#graph .box, #graph .line, #graph .depth')].map((part) => part.getBoundingClientRect());
            return parts.filter((part) => part.left < room.left || part.right > room.right || part.bottom > room.bottom).length;
        })()";
        assert_eq!(browser.value(cut), 0, "at {width}");
        let box_width = "document.querySelector('#graph .box').getBoundingClientRect().width";
        let box_width = browser.value(box_width).as_f64().unwrap();
        assert!(box_width >= f64::from(least), "{box_width} at {width}");
    }
    drop(run);
}

#[test]
fn a_part_of_a_site_says_by_whose_clocks_its_latencies_are() {
    let mut browser = Browser::open();
    let server = Server::start();
    let nats = server.url();
    let run = ServedRun::of_graph(
        ONE_CAMERA,
        "",
        "127.0.0.1:0",
        &["--machine", "server", "--nats", &nats],
    );
    let gate = [
        "cameras.yaml",
        "--machine",
        "gate",
        "--nats",
        &nats,
        "--out",
        "gate",
    ];
    let mut gate = site::start(run.folder.path(), &gate);
    browser.go(&run.url);
    browser.wait_for(
        "/^latencies of streams from other machines are measured with two clocks, and may be wrong by \\d+\\.\\d ms/
            .test(document.getElementById('clocks').textContent)",
    );
    browser.wait_for("!document.getElementById('clocks').hidden");
    gate.kill().unwrap();
    gate.wait().unwrap();
    drop(run);
    // With everything on one machine there is nothing to show.
    let run = ServedRun::start("{lobby: 20}", "127.0.0.1:0", &[]);
    browser.go(&run.url);
    browser.wait_for(&state("lobby", "running"));
    browser.wait_for("document.getElementById('clocks').hidden");
}
