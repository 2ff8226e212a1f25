//! The ensemble of softlabels, evaluated together with models.

use super::{Data, succeeds};
use crate::command::refused;

fn evaluated(data: &Data, what: &[&str], out: &str) {
    let arguments = ["evaluate"].into_iter().chain(what.iter().copied());
    let out = ["--out", &data.text(out)];
    let arguments = arguments.chain(["--calibrate-on", "validation"]).chain(out);
    succeeds(&arguments.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn the_ensemble_of_softlabels_stands_in_the_table_of_all_models() {
    let data = Data::new(120);
    succeeds(&data.export("soft", &["--weight", "a=0.25", "--weight", "b=0.75"]));
    evaluated(&data, &["--softlabels", &data.text("soft")], "of-ensemble");
    let model = ["--model", &data.text("a"), "--manifest", &data.manifest];
    evaluated(&data, &model, "of-a");
    let metrics = data.json("of-ensemble/metrics.json");
    let export = data.json("soft/ensemble_metrics.json");
    let of_export = &export["by_split"]["test"]["ensemble"];
    for metric in ["accuracy", "macro_f1", "nll", "ece"] {
        let found = metrics["raw"]["metrics"][metric].as_f64().unwrap();
        let expected = of_export[metric].as_f64().unwrap();
        assert!(
            (found - expected).abs() < 1e-9,
            "{metric}: {found}, {expected}"
        );
    }
    assert!(metrics["temperature"]["value"].is_f64(), "{metrics}");
    assert_eq!(metrics["source"]["split"], "test");

    let (ensemble, a) = (data.text("of-ensemble"), data.text("of-a"));
    let table = [
        "evaluate",
        "--compare",
        &format!("a={a}"),
        &format!("ensemble={ensemble}"),
        "--out",
        &data.text("table"),
    ];
    let table = succeeds(&table.map(str::to_owned));
    assert!(
        table.contains("\nensemble ") && table.contains("minus a"),
        "{table}"
    );
}

#[test]
fn softlabels_without_the_rows_are_not_evaluated() {
    let data = Data::new(60);
    succeeds(&data.export("soft", &["--split", "train"]));
    let (soft, out) = (data.text("soft"), data.text("out"));
    let of = |folder: &str, more: &[&str], words: &str| {
        let arguments = ["evaluate", "--softlabels", folder, "--out", &out];
        refused(&[&arguments, more].concat(), &[words]);
    };
    of(&soft, &[], "hold no row of the split test");
    let same = ["--split", "train", "--calibrate-on", "train"];
    of(&soft, &same, "never fitted on those");
    of(&data.text("a"), &[], "holds no complete softlabels");
    assert!(!data.path("out").exists());
}
