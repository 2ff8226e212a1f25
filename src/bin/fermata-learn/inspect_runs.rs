//! The results of runs, searches and softlabel jobs, as shown by `fermata inspect`: JSON files, files of JSON lines,
//! settings and graphs. Numbers are read by name, so that files of other versions can be shown too.

use std::path::Path;

use anyhow::Context;
use fermata::documents::read_text;
use fermata_engine::Report;
use fermata_files::{MOST_TABLE, from_yaml};
use fermata_jobs::ledger::Ledger;
use fermata_learn::softlabels;
use fermata_learn::training::{Environment, RunConfig, TrainingSpec};
use serde_json::{Map, Value};

use crate::inspect_softlabels;
use crate::softlabels::LEDGER;

/// Describes a JSON file; none if it is none of these.
pub(crate) fn json(path: &Path, value: &Value) -> anyhow::Result<Option<String>> {
    let has = |keys: &[&str]| keys.iter().all(|key| value.get(key).is_some());
    let is_alone = value.as_object().is_some_and(|all| all.len() == 1);
    let wrong = || format!("{} is damaged or of another version", path.display());
    Ok(Some(if has(&["best", "step", "teachers"]) {
        choice(value)
    } else if has(&["alignment", "counts"]) {
        let found: softlabels::Report =
            serde_json::from_value(value.clone()).with_context(wrong)?;
        inspect_softlabels::table(&found.alignment, &found.counts, &found.alignment_sha256)
    } else if has(&["by_split", "view"]) {
        by_split(&value["by_split"])
    } else if has(&["classes"]) && is_alone {
        format!("class order {}\n", listed(&value["classes"]))
    } else if has(&["files"]) && is_alone {
        hashes(path, &value["files"])
    } else if has(&["balanced", "faults", "nodes"]) {
        let found: Report = serde_json::from_value(value.clone()).with_context(wrong)?;
        report(&found)
    } else if has(&["libtorch", "git_commit"]) {
        let found: Environment = serde_json::from_value(value.clone()).with_context(wrong)?;
        format!(
            "environment fermata {}, commit {}, libtorch {}\nmachine     {} on {}, {}\n",
            found.fermata,
            found.git_commit,
            found.libtorch,
            found.device,
            found.processor,
            found.platform
        )
    } else if has(&["runs", "differences"]) {
        kpi(&value["runs"])
    } else if has(&["videos", "photos"]) {
        analysis(value)
    } else if has(&["vary", "runs"]) {
        sweep(value)
    } else if has(&["limit_ms", "trials"]) {
        sustained(value)
    } else if has(&["run", "lives"]) {
        lives(value)
    } else if has(&["confusion", "changed", "share"]) {
        format!(
            "label noise {} of {} training rows changed, share {}, seed {}\nmanifest    sha256 {}\nconfusion   {}\n",
            value["changed"],
            value["training_rows"],
            value["share"],
            value["seed"],
            text(&value["manifest_sha256"]),
            value["confusion"]
        )
    } else if has(&["job", "shared", "workers"]) {
        let workers = keys(&value["workers"]);
        format!(
            "job         {} of several machines, for {}\nworkers     {}\n",
            text(&value["job"]),
            text(&value["shared"]["program"]),
            workers.join(", ")
        )
    } else {
        return Ok(None);
    }))
}

/// Describes a file of JSON lines.
pub(crate) fn json_lines(path: &Path) -> anyhow::Result<String> {
    if path.file_name().is_some_and(|name| name == LEDGER) {
        return ledger(path);
    }
    let read = fermata_files::read_text(path, MOST_TABLE);
    let read = read.with_context(|| format!("cannot read {}", path.display()))?;
    let mut first: Option<Value> = None;
    let mut count = 0usize;
    for line in read.lines() {
        count += 1;
        let parsed: Value = serde_json::from_str(line)
            .with_context(|| format!("{}, line {count}: it is not JSON", path.display()))?;
        first.get_or_insert(parsed);
    }
    let columns = first.as_ref().map(keys).unwrap_or_default();
    Ok(format!(
        "lines       {count}\nkeys        {}\n",
        columns.join(", ")
    ))
}

fn ledger(path: &Path) -> anyhow::Result<String> {
    let ledger = Ledger::join(path)?;
    let state = ledger.state();
    let Some(job) = &state.job else {
        return Ok("ledger      of a job that has not begun\n".to_owned());
    };
    let split = job
        .split
        .map_or("all".to_owned(), |split| split.to_string());
    Ok(format!(
        "ledger      {} of {} units are done, {} rows of them could not be read{}\nrows        {} ({split}), {} in a unit\nmanifest    sha256 {}\n",
        state.commits.len(),
        job.units(),
        state.failed_rows(),
        if state.is_done {
            "; the job is complete"
        } else {
            ""
        },
        job.rows,
        job.unit,
        job.manifest_sha256
    ))
}

/// Describes a training's settings, its configuration, or a graph; none if the file is none of these.
pub(crate) fn yaml(path: &Path) -> anyhow::Result<Option<String>> {
    let read = read_text(path)?;
    if let Ok(config) = from_yaml::<RunConfig>(&read, path) {
        return Ok(Some(self::config(&config)));
    }
    if let Ok(spec) = from_yaml::<TrainingSpec>(&read, path) {
        return Ok(Some(settings(&spec)));
    }
    let value: Value = from_yaml(&read, path)?;
    if value.get("fermata").is_none() || value.get("nodes").is_none() {
        return Ok(None);
    }
    let mut told = format!("graph       {}\n", text(&value["name"]));
    for (name, node) in value["nodes"].as_object().unwrap_or(&Map::new()) {
        told += &format!("node        {name}: {}\n", text(&node["use"]));
    }
    Ok(Some(told))
}

/// Describes the configuration of a training.
pub(crate) fn config(config: &RunConfig) -> String {
    let mut told = settings(&config.training);
    told += &format!(
        "manifest    {}\n            sha256 {}\n",
        config.manifest.display(),
        config.manifest_sha256
    );
    if let Some(fold) = config.without_fold {
        told += &format!("left out    fold {} of {}\n", fold.fold, fold.folds);
    }
    if let Some(initial) = &config.initial {
        told += &format!("began with  weights of sha256 {}\n", initial.sha256);
    }
    if let Some(softlabels) = &config.softlabels {
        told += &format!(
            "softlabels  {}\n            alignment sha256 {}\n",
            softlabels.folder.display(),
            softlabels.alignment_sha256
        );
    }
    if let Some(votes) = &config.votes {
        told += &format!(
            "votes       {}\n            sha256 {}\n",
            votes.file.display(),
            votes.sha256
        );
    }
    told
}

fn settings(spec: &TrainingSpec) -> String {
    format!(
        "training    {}, {} epochs, seed {}\n",
        spec.architecture, spec.epochs, spec.seed
    )
}

fn report(found: &Report) -> String {
    let mut told = format!(
        "report      {}, clock {}, {:.2} s\n",
        found.graph, found.clock, found.wall_s
    );
    if let Some(units) = &found.units {
        told += &format!(
            "units       {} complete, {} lost\n",
            units.complete,
            units.failed.len()
        );
    }
    for (name, stream) in &found.streams {
        told += &format!(
            "stream      {name}: {} captured, {} delivered\n",
            stream.captured, stream.delivered
        );
    }
    for file in &found.files {
        told += &format!("file        {}: {} {}\n", file.path, file.holds, file.unit);
    }
    let books = if found.balanced {
        "balance"
    } else {
        "do not balance"
    };
    told += &format!("books       {books}\nfaults      {}\n", found.faults.len());
    if let Some(first) = found.faults.first() {
        told += &format!("            the first: {}\n", first.message);
    }
    told
}

/// Describes the choice of a search.
fn choice(value: &Value) -> String {
    let quality = |of: &Value| {
        format!(
            "accuracy {:.4}, macro-F1 {:.4}, NLL {:.4}",
            number(&of["accuracy"]),
            number(&of["macro_f1"]),
            number(&of["nll"])
        )
    };
    let mut told = format!(
        "ensemble    {} on {} {} rows, weights in steps of {}\nmanifest    sha256 {}\n",
        quality(&value["best"]["quality"]),
        value["rows"],
        text(&value["split"]),
        value["step"],
        text(&value["manifest_sha256"])
    );
    let teachers = value["teachers"].as_array().into_iter().flatten();
    for (teacher, weight) in teachers.zip(value["best"]["weights"].as_array().into_iter().flatten())
    {
        told += &format!(
            "teacher     {}: weight {weight}, T {:.4}; alone {}\n",
            text(&teacher["name"]),
            number(&teacher["temperature"]["value"]),
            quality(&teacher["alone"])
        );
    }
    told
}

fn by_split(value: &Value) -> String {
    let mut told = "metrics     of the plain view\n".to_owned();
    for (split, models) in value.as_object().unwrap_or(&Map::new()) {
        for (model, found) in models.as_object().unwrap_or(&Map::new()) {
            told += &format!(
                "{split:<12}{model}: accuracy {:.4}, macro-F1 {:.4}, NLL {:.4}, ECE {:.4}\n",
                number(&found["accuracy"]),
                number(&found["macro_f1"]),
                number(&found["nll"]),
                number(&found["ece"])
            );
        }
    }
    told
}

/// Describes files compared with their recorded hashes.
fn hashes(path: &Path, files: &Value) -> String {
    let mut told = String::new();
    let mut differ = 0;
    for (name, expected) in files.as_object().unwrap_or(&Map::new()) {
        let found = fermata_files::sha256_of_file(&path.with_file_name(name));
        let is_same = found.is_ok_and(|found| expected == &Value::String(found));
        differ += usize::from(!is_same);
        let mark = if is_same { "" } else { " (changed or missing)" };
        told += &format!("file        {name}{mark}\n");
    }
    told + &match differ {
        0 => "all files are as they were written\n".to_owned(),
        differ => format!("{differ} files are not as they were written\n"),
    }
}

fn kpi(runs: &Value) -> String {
    let mut told = String::new();
    for run in runs.as_array().into_iter().flatten() {
        told += &format!(
            "measures    {}: {} streams; kpi.html beside it shows them\n",
            text(&run["name"]),
            run["streams"].as_object().map_or(0, Map::len)
        );
    }
    told
}

/// Describes the result of `analyse`.
fn analysis(value: &Value) -> String {
    let all = |of: &Value| of.as_array().map_or(0, Vec::len);
    let photos = value["photos"].as_array().into_iter().flatten();
    let faces: usize = photos.map(|photo| all(&photo["faces"])).sum();
    let mut told = format!(
        "analysis    {} videos, {} photos with {faces} faces\n",
        all(&value["videos"]),
        all(&value["photos"])
    );
    for video in value["videos"].as_array().into_iter().flatten() {
        told += &format!(
            "video       {}: {} frames, {} people\n",
            text(&video["input"]),
            video["frames"],
            all(&video["people"])
        );
    }
    told
}

/// Describes a sweep, the runs with every combination of some values.
fn sweep(value: &Value) -> String {
    let runs = value["runs"].as_array().map_or(0, Vec::len);
    let mut told = format!("sweep       {runs} runs; sweep.html beside it shows them\n");
    for varied in value["vary"].as_array().into_iter().flatten() {
        told += &format!("varied      {}: {}\n", text(&varied[0]), listed(&varied[1]));
    }
    told
}

/// Describes how many streams a machine sustains.
fn sustained(value: &Value) -> String {
    let found = match value["streams"].as_u64() {
        Some(streams) => format!("{streams} streams"),
        None => "not even the graph's own streams".to_owned(),
    };
    format!(
        "sustained   {found}, p99 below {} ms, in {} trials\n",
        value["limit_ms"],
        value["trials"].as_array().map_or(0, Vec::len)
    )
}

/// Describes the lives of a part of a site.
fn lives(value: &Value) -> String {
    format!(
        "lives       {} of machine {}, run {}\n",
        value["lives"].as_array().map_or(0, Vec::len),
        text(&value["part"]["machine"]),
        text(&value["run"])
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn keys(value: &Value) -> Vec<&str> {
    let all = value.as_object().into_iter().flatten();
    all.map(|(key, _)| key.as_str()).collect()
}

fn listed(value: &Value) -> String {
    let all = value.as_array().into_iter().flatten();
    let names: Vec<&str> = all.map(text).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_analyses_sweeps_and_sites_leave_behind_is_known_by_its_keys() {
        let photo = |faces: usize| json!({"file": "a.jpg", "faces": vec![json!({}); faces]});
        let video = json!({"input": "in/film.mp4", "frames": 30, "people": [{}, {}]});
        for (value, expected) in [
            (
                json!({"videos": [video], "photos": [photo(2), photo(1)], "photos_missed": 0}),
                "analysis    1 videos, 2 photos with 3 faces\nvideo       in/film.mp4: 30 frames, 2 people\n",
            ),
            (
                json!({"vary": [["nodes.smooth.vote", ["1", "9"]]], "runs": [{}, {}]}),
                "sweep       2 runs; sweep.html beside it shows them\nvaried      nodes.smooth.vote: 1, 9\n",
            ),
            (
                json!({"limit_ms": 200.0, "streams": 11, "is_most": false, "trials": [{}, {}]}),
                "sustained   11 streams, p99 below 200.0 ms, in 2 trials\n",
            ),
            (
                json!({"limit_ms": 5.0, "streams": null, "is_most": false, "trials": [{}]}),
                "sustained   not even the graph's own streams, p99 below 5.0 ms, in 1 trials\n",
            ),
            (
                json!({"run": "r1", "part": {"machine": "gate"}, "lives": [{}]}),
                "lives       1 of machine gate, run r1\n",
            ),
        ] {
            let told = json(Path::new("some.json"), &value).expect("no reader of its own");
            assert_eq!(told.as_deref(), Some(expected));
        }
        let other = json(Path::new("some.json"), &json!({"photos": []})).expect("no reader");
        assert_eq!(other, None);
    }
}
