//! Malicious input costs its own stream or is refused; it never costs the process, its memory or minutes.

mod models;
mod whole_files;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fermata_engine::{Graph, Problems, Registry};

use crate::skipped::skip;
use crate::support::{fermata, load, options};

/// Runs the program with an address space that suffices for honest work but not for the sizes that a header claims.
fn run_small(arguments: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 6000000; exec \"$0\" \"$@\"", fermata()]);
    command.args(arguments).env("NO_COLOR", "1");
    command.output().expect("the program")
}

fn said(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .concat()
}

/// Asserts that the program ended by itself with this code and printed these words.
#[track_caller]
fn assert_ended(output: &Output, code: i32, words: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "`{words}` is not in:\n{said}");
}

fn graph_in(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("graph.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Returns a BMP file that claims this size and has no pixels.
fn bmp_head(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes
}

#[test]
fn an_image_that_promises_gigabytes_counts_as_missed() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    std::fs::write(images.join("1.bmp"), bmp_head(30_000, 30_000)).unwrap();
    std::fs::write(images.join("2.bmp"), bmp_head(1_000_000, 10)).unwrap();
    image::RgbImage::new(64, 64)
        .save(images.join("3.png"))
        .unwrap();
    let file = graph_in(
        folder.path(),
        "fermata: 1\nnodes:\n  s: {use: image_source, path: images, skip_unreadable: true}\n  e: {use: discard, in: s}\nrun: {clock: asap}\n"
            .replace("images", &images.display().to_string())
            .as_str(),
    );
    let out = folder.path().join("out");
    let output = run_small(&[
        "run",
        &file.display().to_string(),
        "--out",
        &out.display().to_string(),
        "-q",
    ]);
    assert_ended(&output, 0, "graph: 1 frames");
    let log = std::fs::read_to_string(out.join("run.log")).unwrap();
    assert!(
        log.contains("30000 x 30000 pixels") && log.contains("2.bmp"),
        "{log}"
    );
}

/// Makes a small video with `ffmpeg`; reports that it is skipped and returns `None` where that is not installed.
fn video(folder: &Path, name: &str, codec: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=64x48:rate=10:duration=0.5",
            "-c:v",
            codec,
        ])
        .arg(&path)
        .status();
    match made {
        Ok(status) if status.success() => Some(path),
        _ => {
            skip(&format!("no ffmpeg with {codec}"));
            None
        }
    }
}

/// Enlarges a size that follows a mark, two bytes each for width and height.
fn grow(path: &Path, mark: &[u8], behind: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let marks: Vec<usize> = (0..bytes.len() - mark.len())
        .filter(|&at| bytes[at..].starts_with(mark))
        .collect();
    assert!(!marks.is_empty());
    for at in marks {
        let at = at + mark.len() + behind;
        bytes[at..at + 4].copy_from_slice(&[0xF0, 0, 0xF0, 0]);
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_video_that_promises_gigabytes_fails_its_own_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(whole), Some(mp4), Some(avi)) = (
        video(folder.path(), "whole.mp4", "libx264"),
        video(folder.path(), "large.mp4", "libx264"),
        video(folder.path(), "large.avi", "mjpeg"),
    ) else {
        return;
    };
    // ISO/IEC 14496-12, 8.5.2: 24 bytes, then the size of a visual sample entry. ITU-T T.81, B.2.2: three bytes, then
    // the size of a frame.
    grow(&mp4, b"avc1", 24);
    grow(&avi, b"\xff\xc0", 3);
    let nodes = "nodes:\n  s: {use: video_source, each: stream, uri: \"${stream.uri}\"}\n  e: {use: discard, in: s}\nrun: {clock: asap}\n";
    let file = graph_in(folder.path(), &format!("fermata: 1\n{nodes}"));
    let file = file.display().to_string();
    let y4m = folder.path().join("large.y4m");
    std::fs::write(&y4m, "YUV4MPEG2 W60000 H60000 F25:1 C420jpeg\nFRAME\n").unwrap();
    let text = PathBuf::from("/etc/passwd");
    for (large, words) in [
        (&mp4, ""),
        (&avi, ""),
        (&y4m, "larger than any memory holds"),
        (&text, "it is not a video"),
    ] {
        let out = tempfile::tempdir().unwrap();
        let (out, bad, good) = (
            out.path().display().to_string(),
            format!("bad={}", large.display()),
            format!("good={}", whole.display()),
        );
        let output = run_small(&[
            "run", &file, "--stream", &good, "--stream", &bad, "--out", &out, "-q",
        ]);
        let said = said(&output);
        // The size in the pictures may be smaller than the size in their container.
        let may_be_fine = words.is_empty() && output.status.code() == Some(0);
        assert!(may_be_fine || output.status.code() == Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        let report = std::fs::read(Path::new(&out).join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["streams"]["good"]["delivered"], 5, "{said}");
    }
    // The limit can be set, even below an honest size.
    for (most, code) in [("3072", 0), ("3071", 1)] {
        let set = format!("nodes.s.max_pixels={most}");
        let out = tempfile::tempdir().unwrap();
        let out = out.path().display().to_string();
        let stream = format!("a={}", whole.display());
        let output = run_small(&[
            "run", &file, "--stream", &stream, "--set", &set, "--out", &out, "-q",
        ]);
        assert_ended(
            &output,
            code,
            if code == 0 {
                "5 frames"
            } else {
                "64 x 48 pixels"
            },
        );
    }
}

fn refused(path: &Path) -> Problems {
    Graph::load(path, &Registry::builtin(), &options()).expect_err("a graph with problems")
}

#[test]
fn includes_end() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("fermata: 1\n{text}")).unwrap();
        path
    };
    let graph = "nodes: {s: {use: test_source}, e: {use: discard, in: s}}\n";
    for number in 0..30 {
        let next = number + 1;
        write(
            &format!("twice{number}.yaml"),
            &format!("include: [twice{next}.yaml, twice{next}.yaml]\n"),
        );
        write(
            &format!("wide{number}.yaml"),
            &format!("include: [{}]\n", vec!["leaf.yaml"; 30].join(", ")),
        );
        write(
            &format!("deep{number}.yaml"),
            &format!("include: deep{next}.yaml\n"),
        );
    }
    write("leaf.yaml", graph);
    let all_wide: Vec<String> = (0..30).map(|number| format!("wide{number}.yaml")).collect();
    let wide = write("all.yaml", &format!("include: [{}]\n", all_wide.join(", ")));
    for (path, words) in [
        (folder.path().join("deep0.yaml"), "more than 16 deep"),
        (folder.path().join("twice0.yaml"), "more than 16 deep"),
        (wide, "more than 256 files"),
    ] {
        let problems = refused(&path);
        assert!(problems.to_string().contains(words), "{problems}");
        assert!(problems.len() < 300, "{} problems", problems.len());
    }
    let fine = write("fine.yaml", "include: [leaf.yaml, leaf.yaml]\n");
    Graph::load(&fine, &Registry::builtin(), &options()).expect("a graph");
}

#[test]
fn only_regular_files_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .is_ok_and(|status| status.success())
    );
    let large = folder.path().join("large.yaml");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(17 << 20)
        .unwrap();
    let graph = folder.path().join("graph.yaml");
    for (file, words) in [
        (Path::new("/dev/zero"), "not a regular file"),
        (&pipe, "not a regular file"),
        (&large, "larger than 16 MiB"),
        (folder.path(), "not a regular file"),
    ] {
        assert!(refused(file).to_string().contains(words));
        std::fs::write(&graph, format!("fermata: 1\ninclude: {}\n", file.display())).unwrap();
        let problems = refused(&graph).to_string();
        assert!(
            problems.contains(words) && problems.contains("graph.yaml:2:10"),
            "{problems}"
        );
    }
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    std::os::unix::fs::symlink("/dev/zero", model.join("card.yaml")).unwrap();
    let refused = fermata_vision::ModelCard::load(&model)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("not a regular file"), "{refused}");
}

#[test]
fn payloads_beyond_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [
        "100000GiB",
        "15000000000GiB",
        "1e9GB",
        "9000000000000000000",
    ] {
        let file = graph_in(
            folder.path(),
            &format!(
                "fermata: 1\nnodes:\n  s: {{use: test_source, count: 5, bytes: {bytes}}}\n  e: {{use: discard, in: s}}\n"
            ),
        );
        let out = folder.path().join("out");
        let output = run_small(&[
            "run",
            &file.display().to_string(),
            "--out",
            &out.display().to_string(),
        ]);
        assert_ended(&output, 2, "nothing was started");
        assert!(!out.exists());
    }
    // The `bytes` of a packet may be as large as memory allows, and a queue's limit reserves no memory.
    let text = "fermata: 1\nnodes:\n  s: {use: test_source, count: 5, bytes: 1MiB}\n  e: {use: discard, in: s, queue: {bytes: 100000GiB}}\n";
    assert!(load(text).unwrap().check(&Registry::builtin()).is_ok());
}

#[cfg(feature = "learn")]
#[test]
fn arrays_without_values_or_with_too_many_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    for (shape, words) in [
        ("(0, 1, 4, 4)", "each at least 1"),
        ("(5, 0, 4, 4)", "each at least 1"),
        ("(5, 1, 0, 4)", "each at least 1"),
        ("(5, 1, 1000000, 1000000)", "cannot be in"),
        ("(5, 4294967296, 4294967296, 1)", "cannot be in any file"),
        ("(2, 1, 4, 4)", "not a complete npy file"),
        ("()", "expected [N, C, H, W]"),
    ] {
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        while (head.len() + 11) % 64 != 0 {
            head.push(' ');
        }
        head.push('\n');
        bytes.extend((head.len() as u16).to_le_bytes());
        bytes.extend(head.bytes());
        bytes.extend([0; 4]);
        std::fs::write(&input, bytes).unwrap();
        let ended = Command::new(fermata())
            .args(["infer", "--model", "none", "--input"])
            .arg(&input)
            .arg("--output")
            .arg(&output)
            .output()
            .unwrap();
        assert_ended(&ended, 2, words);
        assert!(!output.exists());
    }
}

/// Graphs that are large in ways that each once took minutes.
#[test]
fn large_graphs_are_read_in_time() {
    let nodes = |count: usize, block: &dyn Fn(usize) -> String| {
        let mut text = "fermata: 1\nnodes:\n  n0: {use: test_source}\n".to_owned();
        for number in 1..count {
            let _ = writeln!(text, "  n{number}: {{use: {}}}", block(number));
        }
        text
    };
    let chain = nodes(10_000, &|number| format!("identity, in: n{}", number - 1));
    assert_eq!(load(&chain).unwrap().nodes.len(), 10_000);
    let diamonds = nodes(3_000, &|number| {
        let before = number.saturating_sub(2);
        format!("identity, in: [n{}, n{before}]", number - 1)
    });
    assert!(load(&diamonds).is_err(), "the same streams twice");
    let unknown = nodes(5_000, &|number| format!("identity, in: m{number}"));
    let problems = load(&unknown).unwrap_err();
    assert!(problems.len() >= 4_999);
    assert!(
        problems
            .iter()
            .all(|problem| problem.advice().is_none_or(|advice| advice.len() < 1_000))
    );
    let keys: String = (0..99_000).fold(String::new(), |mut keys, number| {
        let _ = writeln!(keys, "  k{number}: 1");
        keys
    });
    let rest = "nodes: {s: {use: test_source}, e: {use: discard, in: s}}\n";
    load(&format!("fermata: 1\nparams:\n{keys}{rest}")).unwrap();
    let mut streams = "fermata: 1\nstreams:\n".to_owned();
    for number in 0..5_000 {
        let _ = writeln!(
            streams,
            "  c{number}: rtsp://user{number}:password{number}@host/{number}"
        );
    }
    let graph = load(&format!(
        "{streams}nodes: {{s: {{use: test_source, each: stream}}, e: {{use: discard, in: s}}}}\n"
    ))
    .unwrap();
    let written = graph.resolved_yaml();
    assert!(!written.contains("password") && written.contains("rtsp://***@host/4999"));
}

#[test]
fn a_thousand_nodes_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "fermata: 1\nnodes:\n  n0: {use: test_source}\n".to_owned();
    for number in 1..1_000 {
        let _ = writeln!(
            text,
            "  n{number}: {{use: identity, in: n{}}}",
            (number - 1) / 2
        );
    }
    let file = graph_in(folder.path(), &text);
    let drawn = Command::new(fermata())
        .args(["graph", "--format", "svg"])
        .arg(&file)
        .output()
        .unwrap();
    let drawn = String::from_utf8_lossy(&drawn.stdout);
    assert!(drawn.contains("n999") && drawn.trim_end().ends_with("</svg>"));
}
