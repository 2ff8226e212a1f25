//! An export whose workers and server are killed, and one whose worker is paused, again and again: they give the bytes
//! of one machine.

use std::fs;
use std::time::{Duration, Instant};

use fermata_learn::keyed_random::KeyedRandom;

use super::job_server::JobServer;
use super::several_machines::{Process, commits, coordinator, late, worker};
use super::{Data, assert_same, succeeds};

/// The harms still to be done to exports.
struct Harm {
    rows: usize,
    workers: usize,
    kills: usize,
    pauses: usize,
    restarts: usize,
}

impl Harm {
    fn is_done(&self) -> bool {
        self.kills + self.pauses + self.restarts == 0
    }
}

/// Longer than a lease: a worker paused for this long has lost its units.
const PAUSE: Duration = Duration::from_millis(2500);

#[test]
fn an_export_whose_workers_and_server_are_killed_again_and_again_gives_the_same_bytes() {
    let is_soak = std::env::var_os("FERMATA_SOAK").is_some();
    let mut left = if is_soak {
        Harm {
            rows: 600,
            workers: 4,
            kills: 20,
            pauses: 1,
            restarts: 2,
        }
    } else {
        Harm {
            rows: 100,
            workers: 2,
            kills: 3,
            pauses: 0,
            restarts: 1,
        }
    };
    let seed = std::env::var("FERMATA_LAWS_SEED");
    let seed: u64 = seed.ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let data = Data::new(left.rows);
    fs::write(data.path("40.png"), "no picture").unwrap();
    succeeds(&data.export("alone", &[]));
    let expected = data.files("alone");
    // An export may be over before all harms are done: the next one continues with the rest.
    let mut round = 0;
    while !left.is_done() {
        let random = KeyedRandom::new(&[seed, round]);
        let out = format!("shared-{round}");
        harmed(&data, &out, random, &mut left);
        assert_same(&expected, &data.files(&out));
        let Harm {
            kills,
            pauses,
            restarts,
            ..
        } = left;
        println!(
            "seed {seed}, round {round}: left are {kills} kills, {pauses} pauses, {restarts} restarts; {} late results",
            late(&data, &out)
        );
        round += 1;
    }
}

fn harmed(data: &Data, out: &str, mut random: KeyedRandom, left: &mut Harm) {
    let mut server = JobServer::start();
    let mut job = coordinator(data, &server, out, &["--lease", "1s"]);
    let mut workers: Vec<Process> = Vec::new();
    let mut paused: Option<(Process, Instant)> = None;
    let mut born = 0;
    let units = left.rows.div_ceil(8) as u64;
    let each = (units / (left.kills + left.pauses + 1) as u64).max(1);
    // After a commit: the coordinator has reached the server by then.
    let mut next = 1 + random.below(4) as usize;
    loop {
        while workers.len() < left.workers {
            born += 1;
            workers.push(worker(data, &server, &format!("{out}-{born}"), &[]));
        }
        if job.has_ended() {
            break;
        }
        if let Some((stopped, _)) = paused.take_if(|(_, since)| since.elapsed() > PAUSE) {
            stopped.signal("-CONT");
            workers.push(stopped);
        }
        if commits(&data.path(out)).len() >= next && !left.is_done() {
            std::thread::sleep(Duration::from_micros(random.below(100_000)));
            let victim = random.below(workers.len() as u64) as usize;
            let mut victim = workers.remove(victim);
            if left.pauses > 0 && paused.is_none() {
                victim.signal("-STOP");
                paused = Some((victim, Instant::now()));
                left.pauses -= 1;
            } else if left.kills > 0 {
                victim.kill();
                left.kills -= 1;
            } else {
                workers.push(victim);
            }
            next += 1 + random.below(2 * each) as usize;
            if left.restarts > 0 && random.below(2) == 0 {
                server.kill();
                server.run();
                left.restarts -= 1;
            }
        }
        workers.retain_mut(|worker| !worker.has_ended());
        std::thread::sleep(Duration::from_millis(2));
    }
    if job.child.wait().unwrap().code() != Some(0) {
        // Three workers died over one unit: that is reported, and another worker may try it.
        let words = job.words();
        assert!(
            words.contains("was given up") && words.contains("was not heard of again"),
            "{words}"
        );
        let resume = [
            "resume",
            &data.text(out),
            "--nats",
            &server.url(),
            "--quiet",
        ];
        workers.push(worker(data, &server, &format!("{out}-last"), &[]));
        succeeds(&resume.map(str::to_owned));
    }
}
