//! An export that is killed at any moment can be resumed and gives the same bytes as an uninterrupted one.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use fermata_learn::keyed_random::KeyedRandom;

use super::{Data, assert_same};
use crate::command::{interrupt, is_not_resumed_while_it_goes_on, start_unheard, succeeds};

/// Returns the number of lines of a ledger, including a truncated last one.
fn lines(ledger: &Path) -> usize {
    let text = fs::read(ledger).unwrap_or_default();
    text.split_inclusive(|&byte| byte == b'\n').count()
}

/// Kills a run (SIGKILL) shortly after its ledger has this many lines, if it gets that far. Returns whether it ended by
/// itself.
fn kill_at(mut child: Child, ledger: &Path, lines_wanted: usize, random: &mut KeyedRandom) -> bool {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        if lines(ledger) >= lines_wanted {
            // Somewhere in what follows: computing, writing, syncing, renaming.
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_export_that_is_killed_again_and_again_gives_the_same_bytes() {
    let data = Data::new(100);
    fs::write(data.path("40.png"), "no picture").unwrap();
    succeeds(&data.export("alone", &[]));
    let expected = data.files("alone");
    let units = 13;
    let seed = std::env::var("FERMATA_LAWS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(1);
    let moments = if std::env::var_os("FERMATA_SOAK").is_some() {
        20
    } else {
        3
    };
    for moment in 0..moments {
        let mut random = KeyedRandom::new(&[seed, moment]);
        let out = format!("killed-{moment}");
        let ledger = data.path(&out).join("ledger.jsonl");
        let resume = ["resume".to_owned(), data.text(&out), "--quiet".to_owned()];
        let mut arguments = data.export(&out, &["--readers", "1"]);
        let mut wanted = random.below(units) as usize;
        let mut kills = 0;
        let has_ended = loop {
            if kill_at(start_unheard(&arguments), &ledger, wanted, &mut random) {
                break true;
            }
            kills += 1;
            // It was killed after everything was done.
            if fs::read_to_string(&ledger).is_ok_and(|text| text.contains("\"done\"")) {
                break false;
            }
            // If it was killed before it had a ledger, there is nothing to resume.
            if ledger.exists() {
                arguments = resume.to_vec();
            }
            // Later kills come at later lines, so that the export ends.
            wanted = lines(&ledger) + 1 + random.below(2 * units) as usize;
        };
        println!("seed {seed}, moment {moment}: killed {kills} times");
        assert_same(&expected, &data.files(&out));
        let entries = fs::read_dir(data.path(&out)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        // The files that describe the run are written after the softlabels, so a kill may leave parts of those.
        let is_half_written = |name: &String| {
            let whole = name.strip_suffix(".part");
            whole.is_some_and(|whole| has_ended || expected.contains_key(whole))
        };
        let left: Vec<String> = names.filter(is_half_written).collect();
        assert!(left.is_empty(), "half-written files are left: {left:?}");
    }
    // It lacks a row, which is tried again with the same result.
    succeeds(&[
        "resume".to_owned(),
        data.text("alone"),
        "--quiet".to_owned(),
    ]);
    assert_same(&expected, &data.files("alone"));
}

#[test]
fn an_export_that_is_asked_to_end_keeps_whole_units_and_goes_on() {
    let data = Data::new(100);
    succeeds(&data.export("alone", &[]));
    let child = start_unheard(&data.export("asked", &["--readers", "1"]));
    let ledger = data.path("asked/ledger.jsonl");
    while lines(&ledger) < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = interrupt(child);
    // 0: it finished before the signal.
    assert!(matches!(status.code(), Some(0 | 130)), "{status}");
    // It may have finished after the signal as well.
    if !fs::read_to_string(&ledger).unwrap().contains("\"done\"") {
        succeeds(&[
            "resume".to_owned(),
            data.text("asked"),
            "--quiet".to_owned(),
        ]);
    }
    assert_same(&data.files("alone"), &data.files("asked"));
}

#[test]
fn an_export_that_goes_on_is_not_resumed() {
    let data = Data::new(700);
    let child = start_unheard(&data.export("out", &["--readers", "1"]));
    while lines(&data.path("out/ledger.jsonl")) < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    is_not_resumed_while_it_goes_on(child, &data.path("out"));
    succeeds(&["resume".to_owned(), data.text("out"), "--quiet".to_owned()]);
}
