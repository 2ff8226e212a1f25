//! What the program does with what it should not be given, and when it is ended, starved or left alone: it says so,
//! keeps what it has, and its exit code is true.

mod endings;
mod files;
mod pipes;
mod quota;
mod recordings;
mod refusals;
mod scarcity;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub(crate) use endings::assert_files_as_reported;

use crate::support::{fermata, wait_until};

/// Streams of ten drawn frames, each into a table and a video of its own.
pub(crate) const GRAPH: &str = "\
fermata: 1
streams: {a: 1}
nodes:
  s: {use: synthetic_faces, each: stream, count: 10, width: 160, height: 120, faces: 1}
  d: {use: detect_faces, in: s, every: 100000}
  e: {use: write_csv, each: stream, in: d, path: \"${run.dir}/${stream.name}.csv\"}
  v: {use: write_video, each: stream, in: s, path: \"${run.dir}/${stream.name}.mp4\"}
run: {clock: asap}
";

/// A folder with a graph, in which the program is run.
pub(crate) struct Place(TempDir);

/// How a run of the program came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Both outputs.
    pub(crate) said: String,
}

impl Place {
    pub(crate) fn new(graph: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("g.yaml"), graph).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program in this folder.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        // Whatever started the tests may ignore SIGHUP, as `nohup` does, and programs inherit that.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", fermata()]);
        command.args(arguments).current_dir(self.0.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// `fermata run g.yaml --out o`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&["run", "g.yaml", "--out", "o", "--quiet"]);
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments))
    }

    /// Starts a run and waits until this file of its folder holds so many bytes.
    pub(crate) fn start(&self, arguments: &[&str], file: &str, bytes: u64) -> Child {
        let mut command = self.command(arguments);
        let null = || Stdio::null();
        let child = command.stdout(null()).stderr(null()).spawn().unwrap();
        let file = self.path("o").join(file);
        wait_until("the run has begun", || {
            fs::metadata(&file).is_ok_and(|found| found.len() >= bytes)
        });
        child
    }

    /// A shell script in this folder, which finds the program as `$F`.
    pub(crate) fn script(&self, script: &str) -> Ended {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.0.path());
        command.env("NO_COLOR", "1").env("F", fermata());
        ended(command)
    }

    /// The names in a folder, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        let text = fs::read(self.path("o/report.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

pub(crate) fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Ended {
        code: output.status.code(),
        said: String::from_utf8_lossy(&said).into_owned(),
    }
}

/// Sends a signal to a process.
pub(crate) fn send(child: &Child, signal: &str) {
    let number = child.id().to_string();
    let mut kill = Command::new("kill");
    kill.args([format!("-{signal}"), number]);
    assert!(kill.status().unwrap().success());
}

/// Frames that can be decoded of a video: none of one that has no byte yet, and of any other what ffprobe says.
#[track_caller]
pub(crate) fn frames(video: &Path) -> u64 {
    if fs::metadata(video).unwrap().len() == 0 {
        return 0;
    }
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(video)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().trim_end_matches(',') {
        _ if !output.status.success() => panic!("{}: {output:?}", video.display()),
        // Its head alone.
        "N/A" => 0,
        count => count.parse().unwrap_or_else(|_| panic!("{output:?}")),
    }
}

/// Whole rows of a table, without its header.
pub(crate) fn rows(table: &Path) -> u64 {
    let text = fs::read_to_string(table).unwrap();
    (text.matches('\n').count() as u64).saturating_sub(1)
}
