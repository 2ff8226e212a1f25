//! What exports and searches leave behind, as `fermata inspect` shows it.

use std::fs;

use super::Data;
use crate::command::succeeds;

#[test]
fn every_file_of_an_export_and_a_search_is_inspected() {
    let data = Data::new(60);
    fs::write(data.path("31.png"), "no picture").unwrap();
    succeeds(&data.export("soft", &[]));
    let options = ["--split", "test", "--step", "0.5"];
    succeeds(&data.search("search", &options));
    for (name, words) in [
        (
            "soft/alignmentreport.json",
            "softlabels  59 rows of 60 (all), 1 could not be read",
        ),
        (
            "soft/ensemble_metrics.json",
            "validation  ensemble: accuracy 0.",
        ),
        ("soft/classorder.json", "class order angry, disgust, fear"),
        (
            "soft/hash_manifest.json",
            "all files are as they were written",
        ),
        (
            "soft/softlabels_index.jsonl",
            "lines       59\nkeys        row, sha256, image",
        ),
        ("soft/failed.jsonl", "lines       1\n"),
        (
            "soft/ledger.jsonl",
            "8 of 8 units are done, 1 rows of them could not be read\n",
        ),
        ("soft/report.json", "units       8 complete, 0 lost"),
        ("soft/graph.yaml", "node        fuse: fuse_logits"),
        ("search", "teacher     b: weight "),
        (
            "search/ensemble.json",
            " test rows, weights in steps of 0.5",
        ),
        ("search/search.csv", "table       "),
    ] {
        let told = succeeds(&["inspect".to_owned(), data.text(name)]);
        assert!(told.contains(words), "`{words}` is not in:\n{told}");
    }
    fs::write(data.path("soft/failed.jsonl"), "").unwrap();
    let told = succeeds(&["inspect".to_owned(), data.text("soft/hash_manifest.json")]);
    assert!(told.contains("failed.jsonl (changed or missing)"), "{told}");
    // A run that has left only its graph.
    fs::create_dir(data.path("begun")).unwrap();
    fs::copy(data.path("soft/graph.yaml"), data.path("begun/graph.yaml")).unwrap();
    let told = succeeds(&["inspect".to_owned(), data.text("begun")]);
    assert!(told.contains("graph       softlabels"), "{told}");
}
