//! An export whose units workers compute: the bytes of one machine, whoever is killed, stops, or comes with something else.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fermata_learn::keyed_random::KeyedRandom;
use serde_json::{Value, json};

use super::nats_server::NatsServer;
use super::{Data, assert_same, succeeds};
use crate::support::{fermata, wait_until, wait_until_or};

/// A process that is killed when its test is over, however.
struct Process {
    child: Child,
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

    fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, with this code.
    #[track_caller]
    fn ends(&mut self, code: i32) {
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

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    fn kill(&mut self) {
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

fn worker(data: &Data, server: &NatsServer, name: &str, more: &[&str]) -> Process {
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

fn coordinator(data: &Data, server: &NatsServer, out: &str, more: &[&str]) -> Process {
    let url = server.url();
    let shared = ["--nats", &url, "--job", "test"];
    let arguments = data.export(out, &[&shared[..], more].concat());
    Process::start(data, out, &arguments)
}

/// Units that a ledger says are done.
fn commits(folder: &Path) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("ledger.jsonl")).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let commits = lines.filter(|line| line["what"] == "commit");
    commits.filter_map(|line| line["unit"].as_u64()).collect()
}

/// Late results that the workers of a job told of.
fn late(data: &Data, out: &str) -> u64 {
    let file = data.json(&format!("{out}/job.json"));
    let workers = file["workers"].as_array().unwrap();
    workers
        .iter()
        .filter_map(|worker| worker["late"].as_u64())
        .sum()
}

#[test]
fn an_export_on_two_workers_gives_the_bytes_of_one_machine() {
    let data = Data::new(60);
    fs::write(data.path("31.png"), "no picture").unwrap();
    succeeds(&data.export("alone", &[]));
    let server = NatsServer::start();
    // One comes before there is a job.
    let mut one = worker(&data, &server, "one", &[]);
    let mut job = coordinator(&data, &server, "shared", &["--lease", "5s"]);
    let mut two = worker(&data, &server, "two", &[]);
    job.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
    one.ends(0);
    two.ends(0);
    let workers = data.json("shared/job.json")["workers"].clone();
    let rows = workers
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| worker["rows"].as_u64().unwrap());
    assert_eq!(rows.sum::<u64>(), 60, "{workers}");
    assert_eq!(server.messages("-units"), None, "the job is removed");
    let report = data.json("shared/report.json");
    assert_eq!(report["balanced"], true);
}

#[test]
fn a_worker_with_other_weights_or_another_manifest_is_refused_by_name_and_the_job_goes_on() {
    let data = Data::new(30);
    succeeds(&data.export("alone", &[]));
    let server = NatsServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    data.teacher("other", 9, 1.5, json!({}));
    let weights = format!("{}={}", data.text("a"), data.text("other"));
    let mut refused = worker(&data, &server, "refused", &["--path", &weights]);
    refused.ends(2);
    let words = refused.words();
    for word in [
        "does not have what the job has",
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

#[test]
fn two_jobs_under_one_name_and_one_that_is_not_there_are_refused() {
    let data = Data::new(14);
    let server = NatsServer::start();
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
    let server = NatsServer::start();
    let mut one = worker(&data, &server, "one", &[]);
    let mut job = coordinator(&data, &server, "shared", &["--lease", "5s"]);
    wait_until("a result", || !commits(&data.path("shared")).is_empty());
    job.kill();
    let url = server.url();
    let resume = ["resume", &data.text("shared"), "--nats", &url, "--quiet"].map(str::to_owned);
    let is_done = || {
        let ledger = fs::read_to_string(data.path("shared/ledger.jsonl")).unwrap();
        ledger.contains("\"done\"")
    };
    if is_done() {
        // It was killed when only the job at the server was left to be removed.
        let end = ["work", "--nats", &url, "--job", "test", "--end"].map(str::to_owned);
        Process::start(&data, "end", &end).child.wait().unwrap();
    } else {
        succeeds(&resume);
    }
    one.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
}

#[test]
fn a_worker_that_stops_for_longer_than_its_lease_discards_what_it_has_and_says_so() {
    let data = Data::new(160);
    succeeds(&data.export("alone", &[]));
    let server = NatsServer::start();
    // A worker may be stopped just when it has no unit in hand: then it is tried again.
    for trial in 0..5 {
        let name = |of: &str| format!("{of}-{trial}");
        let mut slow = worker(&data, &server, &name("slow"), &["--readers", "1"]);
        let mut job = coordinator(&data, &server, &name("shared"), &["--lease", "1s"]);
        wait_until("a result", || {
            !commits(&data.path(&name("slow"))).is_empty()
        });
        slow.signal("-STOP");
        // Nobody is to end the job while the worker stands still.
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

#[test]
fn an_export_whose_workers_and_server_are_killed_again_and_again_gives_the_same_bytes() {
    let data = Data::new(100);
    fs::write(data.path("40.png"), "no picture").unwrap();
    succeeds(&data.export("alone", &[]));
    let expected = data.files("alone");
    let seed = std::env::var("FERMATA_LAWS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(1);
    let is_soak = std::env::var_os("FERMATA_SOAK").is_some();
    let (kills, servers) = if is_soak { (20, 2) } else { (3, 1) };
    let (mut killed, mut restarted, mut round) = (0, 0, 0);
    // An export is over before as many are killed: the next one goes on with that.
    while killed < kills || restarted < servers {
        let mut random = KeyedRandom::new(&[seed, round]);
        let mut server = NatsServer::start();
        let out = format!("shared-{round}");
        let mut job = coordinator(&data, &server, &out, &["--lease", "1s"]);
        let mut workers: Vec<Process> = Vec::new();
        let mut born = 0;
        let mut next = random.below(4) as usize;
        loop {
            while workers.len() < 2 {
                born += 1;
                workers.push(worker(&data, &server, &format!("w-{round}-{born}"), &[]));
            }
            if job.has_ended() {
                break;
            }
            if commits(&data.path(&out)).len() >= next && killed < kills {
                std::thread::sleep(Duration::from_micros(random.below(100_000)));
                let victim = random.below(2) as usize;
                workers.remove(victim).kill();
                killed += 1;
                next += random.below(5) as usize;
                if restarted < servers && random.below(2) == 0 {
                    server.kill();
                    server.run();
                    restarted += 1;
                }
            }
            workers.retain_mut(|worker| !worker.has_ended());
            std::thread::sleep(Duration::from_millis(2));
        }
        let code = job.child.wait().unwrap().code();
        if code != Some(0) {
            // Three of them died over one unit: that is told, and somebody else may try it.
            let words = job.words();
            assert!(
                words.contains("was given up") && words.contains("was not heard of again"),
                "{words}"
            );
            let resume = [
                "resume",
                &data.text(&out),
                "--nats",
                &server.url(),
                "--quiet",
            ]
            .map(str::to_owned);
            workers.push(worker(&data, &server, &format!("w-{round}-last"), &[]));
            succeeds(&resume);
        }
        assert_same(&expected, &data.files(&out));
        println!("seed {seed}, round {round}: {killed} workers and {restarted} servers killed");
        round += 1;
    }
}
