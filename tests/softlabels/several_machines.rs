//! An export whose units are computed by workers: it gives the bytes of one machine, whichever process is killed or
//! stops, and even if a worker brings something else.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fermata_engine::Codecs;
use fermata_remote::Credentials;
use fermata_remote::work::Coordinator;
use fermata_remote::work::records::JobRecord;
use serde_json::{Value, json};

use super::job_server::JobServer;
use super::{Data, assert_same, succeeds};
use crate::nats_server::{Server, free_port};
use crate::support::{fermata, wait_until, wait_until_or};

/// A process that is killed when its test is over, whatever the outcome.
pub(super) struct Process {
    pub(super) child: Child,
    log: std::path::PathBuf,
}

impl Process {
    fn start(data: &Data, log: &str, arguments: &[String]) -> Self {
        let log = data.path(&format!("{log}.log"));
        let file = fs::File::create(&log).unwrap();
        let child = Command::new(fermata())
            .args(arguments)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(super) fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end and checks its exit code.
    #[track_caller]
    pub(super) fn ends(&mut self, code: i32) {
        let child = std::cell::RefCell::new(&mut self.child);
        let log = &self.log;
        let words = || fs::read_to_string(log).unwrap_or_default();
        wait_until_or(
            || format!("the end of\n{}", words()),
            || child.borrow_mut().try_wait().unwrap().is_some(),
        );
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}", self.words());
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn worker(data: &Data, server: &JobServer, name: &str, more: &[&str]) -> Process {
    let (url, out) = (server.url(), data.text(name));
    let arguments = [
        "work", "--nats", &url, "--job", "test", "--quiet", "--out", &out,
    ];
    let arguments: Vec<String> = arguments
        .iter()
        .chain(more)
        .map(|&text| text.to_owned())
        .collect();
    Process::start(data, name, &arguments)
}

pub(super) fn coordinator(data: &Data, server: &JobServer, out: &str, more: &[&str]) -> Process {
    let url = server.url();
    let shared = ["--nats", &url, "--job", "test"];
    let arguments = data.export(out, &[&shared[..], more].concat());
    Process::start(data, out, &arguments)
}

/// Returns the units that a ledger records as done.
pub(super) fn commits(folder: &Path) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("ledger.jsonl")).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let commits = lines.filter(|line| line["what"] == "commit");
    commits.filter_map(|line| line["unit"].as_u64()).collect()
}

/// Returns the number of late results that a job's workers reported.
pub(super) fn late(data: &Data, out: &str) -> u64 {
    let file = data.json(&format!("{out}/job.json"));
    let workers = file["workers"].as_object().unwrap();
    workers
        .values()
        .filter_map(|worker| worker["late"].as_u64())
        .sum()
}

/// Returns how many rows of workers a job's file counts; 0 before there is one.
fn counted_rows(data: &Data, out: &str) -> u64 {
    let text = fs::read_to_string(data.path(&format!("{out}/job.json"))).unwrap_or_default();
    let file: Value = serde_json::from_str(&text).unwrap_or_default();
    let workers = file["workers"].as_object().into_iter();
    let workers = workers.flat_map(|workers| workers.values());
    workers.filter_map(|worker| worker["rows"].as_u64()).sum()
}

#[test]
fn an_export_on_two_workers_gives_the_bytes_of_one_machine() {
    let data = Data::new(60);
    fs::write(data.path("31.png"), "no picture").unwrap();
    succeeds(&data.export("alone", &[]));
    let server = JobServer::start();
    // One worker starts before there is a job.
    let mut one = worker(&data, &server, "one", &[]);
    let mut job = coordinator(&data, &server, "shared", &["--lease", "5s"]);
    let mut two = worker(&data, &server, "two", &[]);
    job.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
    one.ends(0);
    two.ends(0);
    let workers = data.json("shared/job.json")["workers"].clone();
    let of_each = workers.as_object().unwrap().values();
    let rows = of_each.map(|worker| worker["rows"].as_u64().unwrap());
    assert_eq!(rows.sum::<u64>(), 60, "{workers}");
    assert_eq!(server.messages("-units"), None, "the job is removed");
    let report = data.json("shared/report.json");
    assert_eq!(report["balanced"], true);

    // The missing row is there now.
    data.picture(31);
    succeeds(&data.export("whole", &[]));
    let mut three = worker(&data, &server, "three", &[]);
    let resume = [
        "resume",
        &data.text("shared"),
        "--nats",
        &server.url(),
        "--quiet",
    ];
    succeeds(&resume.map(str::to_owned));
    three.ends(0);
    assert_same(&data.files("whole"), &data.files("shared"));
}

#[test]
fn a_worker_with_other_weights_or_another_manifest_is_refused_by_name_and_the_job_goes_on() {
    let data = Data::new(30);
    succeeds(&data.export("alone", &[]));
    let server = JobServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    data.teacher("other", 9, 1.5, json!({}));
    let weights = format!("{}={}", data.text("a"), data.text("other"));
    let mut refused = worker(&data, &server, "refused", &["--path", &weights]);
    refused.ends(2);
    let words = refused.words();
    for word in [
        "differs from the job",
        "teachers[0].models[0].sha256",
        "in this worker",
    ] {
        assert!(words.contains(word), "`{word}` is not in {words}");
    }
    let changed = data.path("changed");
    fs::create_dir(&changed).unwrap();
    let text = fs::read_to_string(data.path("manifest.csv")).unwrap();
    fs::write(changed.join("manifest.csv"), text.replace("g1,", "h1,")).unwrap();
    let manifest = format!(
        "{}={}",
        data.text("manifest.csv"),
        changed.join("manifest.csv").display()
    );
    let mut refused = worker(&data, &server, "refused", &["--path", &manifest]);
    refused.ends(2);
    assert!(
        refused.words().contains("manifest_sha256"),
        "{}",
        refused.words()
    );
    let missing = format!("{}=/nowhere", data.text("a"));
    let mut refused = worker(&data, &server, "refused", &["--path", &missing]);
    refused.ends(2);
    assert!(
        refused.words().contains("--path FROM=TO"),
        "{}",
        refused.words()
    );
    let mut right = worker(&data, &server, "right", &[]);
    job.ends(0);
    right.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
    let log = fs::read_to_string(data.path("shared/run.log")).unwrap();
    assert!(log.contains("a worker does not take part"), "{log}");
}

/// Runs a command with these variables and asserts that it is refused with these words and one error.
#[track_caller]
fn refused(arguments: &[String], environment: &[(&str, &str)], words: &[&str]) {
    let output = Command::new(fermata())
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
    }
    let told = errors.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(told.count(), 1, "{errors}");
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_one_error_and_leaves_nothing() {
    let data = Data::new(14);
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let strict = Server::start_with("authorization {token: \"of the lab\"}");
    let strict = strict.url();
    let secret = [("NATS_TOKEN", "a wrong secret")];
    for (url, environment, words) in [
        (
            &*nobody,
            &[][..],
            &["no NATS server answers at", &nobody][..],
        ),
        (&strict, &secret, &["refuses these credentials"]),
        ("nats://me:word@host", &[], &["NATS_USER and NATS_PASSWORD"]),
        ("nats://a b", &[], &["is not the address of a NATS server"]),
    ] {
        let export = data.export("out", &["--nats", url]);
        let work = ["work", "--nats", url].map(str::to_owned);
        for arguments in [&export[..], &work] {
            refused(arguments, environment, words);
        }
        assert!(!data.path("out").exists(), "{url}");
    }
    for (more, words) in [
        (["--path", "/data"], "--path /data: expected FROM=TO"),
        (["--path", "=/data"], "--path =/data: expected FROM=TO"),
        (["--job", "my job"], "`my job` is not a valid name of a job"),
    ] {
        let work = [&["work", "--nats", &nobody][..], &more].concat();
        let work: Vec<String> = work.iter().map(|&text| text.to_owned()).collect();
        refused(&work, &[], &[words]);
    }
    succeeds(&data.export("alone", &[]));
    let resume = ["resume", &data.text("alone"), "--nats", &nobody].map(str::to_owned);
    refused(&resume, &[], &["complete"]);
}

#[test]
fn a_worker_of_another_version_or_processor_is_refused_by_name() {
    let data = Data::new(14);
    let server = JobServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    wait_until("the job", || server.messages("-units") == Some(2));
    let connection = server.connect_as(&Credentials::default(), &Codecs::default());
    let connection = connection.unwrap();
    let name = "test".parse().unwrap();
    let record = Coordinator::known(&connection, &name).unwrap().unwrap();
    let about: Value = serde_json::from_str(&record.about).unwrap();
    for (other, field, words) in [
        (
            "older",
            "program",
            &["program: version of before at the job"][..],
        ),
        (
            "elsewhere",
            "processor",
            &[
                "processor: of before at the job",
                "--allow-other-processors",
            ],
        ),
        ("newer", "colour", &["of another version of this program"]),
    ] {
        let mut about = about.clone();
        about[field] = json!("of before");
        let record = JobRecord {
            id: other.to_owned(),
            about: about.to_string(),
            ..record.clone()
        };
        Coordinator::begin(&connection, &other.parse().unwrap(), record, 1000).unwrap();
        let work = ["work", "--nats", &server.url(), "--job", other].map(str::to_owned);
        refused(&work, &[], words);
    }
    job.kill();
}

#[test]
fn two_jobs_under_one_name_and_one_that_is_not_there_are_refused() {
    let data = Data::new(14);
    let server = JobServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    wait_until("the job", || server.messages("-units") == Some(2));
    let mut second = coordinator(&data, &server, "second", &[]);
    second.ends(2);
    let words = second.words();
    assert!(
        words.contains("has another job `test`, begun by") && words.contains("--end"),
        "{words}"
    );
    assert!(!data.path("second").exists());
    let url = server.url();
    let end = ["work", "--nats", &url, "--job", "test", "--end"].map(str::to_owned);
    refused(
        &end,
        &[],
        &["the job `test` is still handed out by", "Ctrl-C"],
    );
    job.kill();
    assert!(succeeds(&end).contains("removed"));
    let mut gone = Process::start(&data, "gone", &end);
    gone.ends(2);
    assert!(
        gone.words().contains("has no job `test`"),
        "{}",
        gone.words()
    );
}

#[test]
fn a_job_whose_coordinator_is_killed_goes_on_where_it_was() {
    let data = Data::new(60);
    succeeds(&data.export("alone", &[]));
    let server = JobServer::start();
    let mut one = worker(&data, &server, "one", &[]);
    let mut job = coordinator(&data, &server, "shared", &["--lease", "5s"]);
    // Recorded while the job runs, so a kill loses no more than the last second of it.
    wait_until("a result that is counted", || {
        counted_rows(&data, "shared") > 0
    });
    job.kill();
    let before = counted_rows(&data, "shared");
    let done = commits(&data.path("shared"));
    let url = server.url();
    let resume = ["resume", &data.text("shared"), "--nats", &url, "--quiet"].map(str::to_owned);
    let is_done = || {
        let ledger = fs::read_to_string(data.path("shared/ledger.jsonl")).unwrap();
        ledger.contains("\"done\"")
    };
    if is_done() {
        // It was killed when the only thing left to do was to remove the job from the server.
        let end = ["work", "--nats", &url, "--job", "test", "--end"].map(str::to_owned);
        Process::start(&data, "end", &end).child.wait().unwrap();
    } else {
        succeeds(&resume);
        // The last of the eight units has four rows.
        let rows = (0..8).filter(|unit| !done.contains(unit));
        let rows = rows.map(|unit| if unit == 7 { 4_u64 } else { 8 });
        let after = before + rows.sum::<u64>();
        assert_eq!(counted_rows(&data, "shared"), after);
    }
    one.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
}

#[test]
fn a_job_that_the_server_has_lost_ends_with_the_command_that_goes_on_with_it() {
    let data = Data::new(30);
    succeeds(&data.export("alone", &[]));
    let mut server = JobServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    wait_until("the job", || {
        server.messages("-units").is_some_and(|units| units > 0)
    });
    server.kill();
    server.empty();
    server.run();
    job.ends(1);
    let words = job.words();
    let resume = format!(
        "`fermata resume {} --nats {}`",
        data.text("shared"),
        server.url()
    );
    for word in ["is no longer intact at the NATS server", &resume] {
        assert!(words.contains(word), "`{word}` is not in {words}");
    }
    let mut one = worker(&data, &server, "one", &[]);
    let resume = [
        "resume",
        &data.text("shared"),
        "--nats",
        &server.url(),
        "--quiet",
    ];
    succeeds(&resume.map(str::to_owned));
    one.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
}

#[test]
fn a_worker_that_stops_for_longer_than_its_lease_discards_what_it_has_and_says_so() {
    let data = Data::new(160);
    succeeds(&data.export("alone", &[]));
    let server = JobServer::start();
    // A worker may be stopped just when it has no unit in hand; then the test tries again.
    for trial in 0..5 {
        let name = |of: &str| format!("{of}-{trial}");
        let mut slow = worker(&data, &server, &name("slow"), &["--readers", "1"]);
        let mut job = coordinator(&data, &server, &name("shared"), &["--lease", "1s"]);
        wait_until("a result", || {
            !commits(&data.path(&name("slow"))).is_empty()
        });
        slow.signal("-STOP");
        // Nothing may end the job while the worker is paused.
        job.signal("-STOP");
        let mut other = worker(&data, &server, &name("other"), &[]);
        wait_until("all units done by somebody", || {
            server.messages("-units") == Some(0)
        });
        slow.signal("-CONT");
        let of_slow = || commits(&data.path(&name("slow"))).len();
        let before = of_slow();
        // It may have had nothing in hand.
        let until = Instant::now() + Duration::from_secs(5);
        while of_slow() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        job.signal("-CONT");
        job.ends(0);
        slow.ends(0);
        other.ends(0);
        assert_same(&data.files("alone"), &data.files(&name("shared")));
        if late(&data, &name("shared")) > 0 {
            return;
        }
    }
    panic!("no worker was stopped with a unit in hand");
}
