//! What is on the disk after a run that could not finish its files: a full disk, a killed process.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::skipped::skip;
use crate::support::{fermata, wait_until};

/// Runs a shell script in a mount namespace of its own, in which `$DISK` is a disk of 300 KiB. `None` where this
/// machine does not permit that.
pub(crate) fn on_a_small_disk(disk: &Path, script: &str) -> Option<std::process::Output> {
    let mount = format!(
        "mount -t tmpfs -o size=300k tmpfs '{}' 2>/dev/null || exit 77",
        disk.display()
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!("{mount}\n{script}"))
        .env("DISK", disk)
        .env("NO_COLOR", "1")
        .output()
        .ok()?;
    if output.status.code() == Some(77) || output.stdout.is_empty() {
        skip("no mount namespaces here");
        return None;
    }
    Some(output)
}

#[test]
fn a_full_disk_fails_the_run_by_name_and_leaves_no_file_that_looks_whole() {
    let disk = tempfile::tempdir().unwrap();
    // Noise does not compress: the videos fill the disk within a few frames.
    let graph = disk.path().with_extension("yaml");
    std::fs::write(
        &graph,
        "\
fermata: 1
streams: {left: 1, right: 2}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", faces: 2, count: 60, fps: 25}
  detect:  {use: detect_faces, in: capture, model: haar, every: 30}
  log:     {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\"}
  video:   {use: write_video, each: stream, in: capture, crf: 0, path: \"${run.dir}/${stream.name}.mp4\"}
run: {clock: asap}
",
    )
    .unwrap();
    let script = format!(
        "'{}' run '{}' --out \"$DISK/out\"; echo \"code $?\"; ls \"$DISK/out\"; cat \"$DISK/out/report.json\"",
        fermata(),
        graph.display()
    );
    let output = on_a_small_disk(disk.path(), &script);
    std::fs::remove_file(&graph).unwrap();
    let Some(output) = output else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("code 1"), "{said}");
    assert!(
        said.contains("left.mp4.part after") && said.contains("No space left on device"),
        "{said}"
    );
    let (_, after) = said.split_once("code 1\n").unwrap();
    let (listing, report) = after.split_once('{').unwrap_or((after, ""));
    assert!(
        listing.lines().all(|name| !name.ends_with(".mp4")),
        "{listing}"
    );
    // What has been written stays, and the run says where it is.
    let incomplete = |name: &str| said.contains(&format!("{name}.part holds"));
    for name in listing
        .lines()
        .filter_map(|name| name.strip_suffix(".part"))
    {
        assert!(incomplete(name), "{name} is not named: {said}");
    }
    // If the last bytes went to the videos, there is no room for the report either; then the run says so.
    if report.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            errors.contains("cannot write") && errors.contains("report.json"),
            "{errors}"
        );
    } else {
        assert!(report.contains("\"balanced\": true"), "{report}");
    }
}

#[test]
fn a_killed_run_leaves_no_file_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut child = Command::new(fermata())
        .args(["run", "graphs/demo.yaml", "--quiet"])
        .args([
            "--set",
            "nodes.capture.count=100000",
            "--set",
            "nodes.detect.every=25",
        ])
        .args(["--set", "run.clock=asap", "--out"])
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let begun = |name: &str| {
        let part = std::fs::metadata(out.join(name));
        part.is_ok_and(|part| part.len() > 0)
    };
    wait_until("the files have begun", || {
        ["left.mp4.part", "right.mp4.part", "faces.csv.part"]
            .into_iter()
            .all(begun)
    });
    child.kill().expect("SIGKILL");
    child.wait().unwrap();
    for name in ["left.mp4", "right.mp4", "faces.csv", "report.json"] {
        assert!(!out.join(name).exists(), "{name} looks whole");
    }
    // A second run into the same folder ignores what the killed one left.
    let output = Command::new(fermata())
        .args([
            "run",
            "graphs/demo.yaml",
            "--quiet",
            "--set",
            "nodes.capture.count=10",
        ])
        .args(["--set", "run.clock=asap", "--out"])
        .arg(&out)
        .output()
        .expect("the program");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for name in ["left.mp4", "right.mp4", "faces.csv", "report.json"] {
        assert!(out.join(name).exists(), "{name}");
        assert!(!out.join(format!("{name}.part")).exists(), "{name}.part");
    }
}
