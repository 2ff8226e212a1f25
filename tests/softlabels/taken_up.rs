//! Exports that stopped because of images, and graphs of jobs that are run again: finished units are kept, repaired
//! images are retried.

use std::fs;

use super::{Data, assert_same};
use crate::command::{refused, run, succeeds};

/// Runs the program, which fails halfway; returns its output.
fn stopped(arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, output, errors) = run(&arguments);
    assert_eq!(code, 1, "{output}{errors}");
    output + &errors
}

/// Returns how often a unit was begun.
fn claims(data: &Data, out: &str, unit: usize) -> usize {
    let ledger = fs::read_to_string(data.path(out).join("ledger.jsonl")).unwrap();
    let claim = format!("\"claim\",\"unit\":{unit},");
    ledger.lines().filter(|line| line.contains(&claim)).count()
}

/// Makes images unreadable and returns their original contents.
fn damage(data: &Data, rows: &[usize]) -> Vec<(String, Vec<u8>)> {
    let of = |row: &usize| {
        let name = format!("{row}.png");
        let bytes = fs::read(data.path(&name)).unwrap();
        fs::write(data.path(&name), "no picture").unwrap();
        (name, bytes)
    };
    rows.iter().map(of).collect()
}

fn mend(data: &Data, images: Vec<(String, Vec<u8>)>) {
    for (name, bytes) in images {
        fs::write(data.path(&name), bytes).unwrap();
    }
}

#[test]
fn an_export_that_failed_by_its_images_goes_on_when_they_are_mended_or_more_may_fail() {
    let data = Data::new(60);
    succeeds(&data.export("whole", &[]));
    let damaged = damage(&data, &[3, 40, 41, 42]);
    succeeds(&data.export("all-but-four", &[]));
    let resume = |out: &str, more: &[&str]| {
        let more = more.iter().map(|&argument| argument.to_owned());
        let words = ["resume".to_owned(), data.text(out), "--quiet".to_owned()];
        words.into_iter().chain(more).collect::<Vec<_>>()
    };
    for out in ["mended", "allowed"] {
        let said = stopped(&data.export(out, &["--max-failures", "2"]));
        assert!(said.contains("max_failures is 2"), "{said}");
        assert!(
            said.contains("fermata resume RUN --max-failures N"),
            "{said}"
        );
    }
    stopped(&resume("allowed", &[]));
    succeeds(&resume("allowed", &["--max-failures", "4"]));
    assert_same(&data.files("all-but-four"), &data.files("allowed"));

    // The unit of 3.png was finished before the export stopped.
    mend(&data, damaged);
    assert_eq!(claims(&data, "mended", 0), 1);
    succeeds(&resume("mended", &[]));
    assert_eq!(
        (claims(&data, "mended", 0), claims(&data, "mended", 1)),
        (2, 1)
    );
    assert_same(&data.files("whole"), &data.files("mended"));
    refused(&resume("mended", &[]), &["nothing left to do"]);

    // An export that finished without them retries them too.
    succeeds(&resume("all-but-four", &[]));
    assert_same(&data.files("whole"), &data.files("all-but-four"));
    assert!(!data.path("all-but-four/units").exists());
    refused(&resume("all-but-four", &[]), &["nothing left to do"]);
}

#[test]
fn a_graph_whose_folder_holds_its_job_goes_on_with_it_and_never_begins_it_anew() {
    let data = Data::new(60);
    fs::create_dir(data.path("teachers")).unwrap();
    for (from, to) in [("a", "rn18"), ("b", "b3")] {
        fs::rename(data.path(from), data.path("teachers").join(to)).unwrap();
    }
    let graph = |out: &str, more: &[&str]| {
        let (manifest, teachers) = (
            format!("manifest={}", data.manifest),
            format!("teachers={}", data.text("teachers")),
        );
        let out = data.text(out);
        let mut arguments = vec!["run", "graphs/softlabels.yaml", "--quiet", "--out", &out];
        for param in [&manifest, &teachers, "seed=7", "views=2", "unit=8"] {
            if !more
                .iter()
                .any(|given| given.split('=').next() == param.split('=').next())
            {
                arguments.extend(["--param", param]);
            }
        }
        for param in more {
            arguments.extend(["--param", param]);
        }
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    succeeds(&graph("whole", &[]));
    let damaged = damage(&data, &[40]);
    stopped(&graph("run", &["failures=0"]));
    mend(&data, damaged);
    // Another job cannot be continued, and the existing files stay.
    refused(
        &graph("run", &["unit=16"]),
        &["started with something else", "unit: 8"],
    );
    let said = stopped(&graph("run", &["views=3"]));
    assert!(
        said.contains("views: 2 in the units that are there, 3"),
        "{said}"
    );
    succeeds(&graph("run", &[]));
    assert_eq!((claims(&data, "run", 0), claims(&data, "run", 1)), (1, 1));
    assert!(!data.path("run/earlier").exists());
    assert_same(&data.files("whole"), &data.files("run"));
    refused(
        &graph("run", &[]),
        &["there is nothing left to do", "new folder"],
    );
    assert_same(&data.files("whole"), &data.files("run"));
}
