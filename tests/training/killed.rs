//! A training that is killed at any moment can be resumed and gives the weights of an uninterrupted one.

use std::process::Child;
use std::time::Duration;

use fermata_learn::keyed_random::KeyedRandom;
use fermata_learn::training::{Progress, RunFolder};

use super::Data;
use crate::command::{interrupt, is_not_resumed_while_it_goes_on, start_unheard, succeeds};

/// Settings with everything that has state, and with checkpoints so frequent that most moments are close to one.
const EVERYTHING: &str = "epochs: 8
sampling: balanced
rule: {sgd: {momentum: 0.9, nesterov: true}}
learning_rate: {base: 0.02, least: 0.001, warm_up_epochs: 1}
average_decay: 0.9
dropout: 0.3
clip_norm: 1
checkpoint_every: 2
head: {arcface: {scale: 16, margin: 0.3, warm_up: 1, ramp: 1}}
objective: {label_smoothing: 0.1, negative: {added: {weight: 0.1}}}
";

fn progress(data: &Data, out: &str) -> Option<Progress> {
    RunFolder::open(&data.path(out)).ok()?.progress().ok()
}

fn is_complete(data: &Data, out: &str) -> bool {
    let folder = RunFolder::open(&data.path(out)).unwrap();
    folder.is_complete().unwrap()
}

fn steps(data: &Data, out: &str) -> u64 {
    progress(data, out).map_or(0, |progress| {
        100 * u64::from(progress.epoch) + progress.step
    })
}

/// Waits until a checkpoint is further than `than`. Returns false if the training ended before that.
fn comes_further(child: &mut Child, data: &Data, out: &str, than: u64) -> bool {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        if steps(data, out) > than {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn assert_same(data: &Data, out: &str) {
    for ((file, found), (_, expected)) in data.results(out).into_iter().zip(data.results("alone")) {
        assert!(found == expected, "{file} of {out} differs");
    }
}

#[test]
fn a_training_that_is_killed_again_and_again_gives_the_same_weights() {
    let data = Data::new(20, EVERYTHING);
    succeeds(&data.train("alone", &[]));
    let seed = std::env::var("FERMATA_LAWS_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let is_long = std::env::var_os("FERMATA_SOAK").is_some();
    let kills_wanted = if is_long { 20 } else { 4 };
    let (mut kills, mut training) = (0, 0);
    while kills < kills_wanted {
        let mut random = KeyedRandom::new(&[seed, training]);
        let out = format!("killed-{training}");
        training += 1;
        let mut arguments = data.train(&out, &[]);
        loop {
            let mut child = start_unheard(&arguments);
            // From this checkpoint to the next ones, possibly within the same epoch.
            let than = steps(&data, &out) + random.below(3);
            if !comes_further(&mut child, &data, &out, than) {
                break;
            }
            // Somewhere in what follows: computing, writing, syncing, renaming.
            std::thread::sleep(Duration::from_micros(random.below(30_000)));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            // It was killed after everything was done.
            if is_complete(&data, &out) {
                break;
            }
            arguments = data.resume(&out, &[]);
            if kills >= kills_wanted {
                succeeds(&arguments);
                break;
            }
        }
        println!("seed {seed}, training {training}: killed {kills} times so far");
        assert_same(&data, &out);
    }
}

#[test]
fn a_training_that_is_asked_to_end_writes_a_checkpoint_and_goes_on() {
    let data = Data::new(20, EVERYTHING);
    succeeds(&data.train("alone", &[]));
    let mut child = start_unheard(&data.train("asked", &[]));
    assert!(comes_further(&mut child, &data, "asked", 104));
    let status = interrupt(child);
    // 0: it finished before the signal.
    assert!(matches!(status.code(), Some(0 | 130)), "{status}");
    // It may have finished after the signal as well.
    if !is_complete(&data, "asked") {
        assert_eq!(status.code(), Some(130));
        succeeds(&data.resume("asked", &[]));
    }
    assert_same(&data, "asked");
}

#[test]
fn a_training_that_goes_on_is_not_resumed() {
    let data = Data::new(20, EVERYTHING);
    let mut child = start_unheard(&data.train("run", &[]));
    assert!(comes_further(&mut child, &data, "run", 0));
    is_not_resumed_while_it_goes_on(child, &data.path("run"));
    succeeds(&data.resume("run", &[]));
}
