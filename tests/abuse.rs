//! What the program does with invalid input, and when it is killed, starved of resources or left alone: it reports the
//! problem, keeps what it has, and exits with the right code.

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

/// Streams of ten drawn frames, each written to a table and a video of its own.
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

/// The result of a run of the program.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Standard output and standard error together.
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

    /// Returns a command that runs the program in this folder.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        // The process that started the tests may ignore SIGHUP, as `nohup` does, and programs inherit that.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", fermata()]);
        command.args(arguments).current_dir(self.0.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Returns the command `fermata run g.yaml --out o`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&["run", "g.yaml", "--out", "o", "--quiet"]);
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments))
    }

    /// Starts a run and waits until this file of its folder holds at least this many bytes.
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

    /// Runs a shell script in this folder, with the program as `$F`.
    pub(crate) fn script(&self, script: &str) -> Ended {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.0.path());
        command.env("NO_COLOR", "1").env("F", fermata());
        ended(command)
    }

    /// Returns the names in a folder, in order.
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

/// Returns how many frames of a video can be decoded: 0 for an empty file, otherwise ffprobe's count.
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
        // Only the header is there.
        "N/A" => 0,
        count => count.parse().unwrap_or_else(|_| panic!("{output:?}")),
    }
}

/// Returns the number of whole rows of a table, without its header.
pub(crate) fn rows(table: &Path) -> u64 {
    let text = fs::read_to_string(table).unwrap();
    (text.matches('\n').count() as u64).saturating_sub(1)
}
