//! Units that other machines have computed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermata_engine::{ActorError, Graph, LoadOptions, Registry, RunOptions, RunningGraph};
use fermata_jobs::elsewhere::{HandingOut, HandsOut, Returned};
use fermata_learn::softlabels::Alignment;

use crate::export::Job;

/// Returns the units that are in a folder. When it is told that one has been taken, it notes whether the ledger says so.
struct Folder {
    units: PathBuf,
    ledger: PathBuf,
    taken: Arc<Mutex<Vec<(usize, usize, bool)>>>,
}

impl HandsOut for Folder {
    fn begin(&self) -> Result<(), ActorError> {
        assert!(!self.ledger.exists(), "there is a ledger already");
        Ok(())
    }

    fn hand_out(&self, _: usize) {}

    fn result(&self, unit: usize, _: Duration) -> Result<Option<Returned>, ActorError> {
        let bytes = fs::read(self.units.join(format!("{unit:06}.unit")))?;
        let worker = "one".to_owned();
        Ok(Some(Returned { worker, bytes }))
    }

    fn taken(&self, unit: usize, rows: usize) {
        let ledger = fs::read_to_string(&self.ledger).unwrap();
        let commit = format!(r#"{{"what":"commit","unit":{unit},"#);
        let is_committed = ledger.contains(&commit);
        self.taken.lock().unwrap().push((unit, rows, is_committed));
    }

    fn reject(&self, unit: usize, reason: &str) {
        panic!("unit {unit} is rejected: {reason}");
    }

    fn withdraw(&self, _: usize) {}
}

/// A job that has run on one machine, in `alone`, and whose units another one has computed, in `worker`.
fn computed() -> (Job, Alignment) {
    let job = Job::new();
    job.run("alone", &[]);
    job.run(
        "worker",
        &[("max_failures: 2", "max_failures: 2, assemble: false")],
    );
    let alignment = fs::read_to_string(job.path("worker/units/alignment.json")).unwrap();
    (job, serde_json::from_str(&alignment).unwrap())
}

/// Hands the units out in a folder. Returns those that were taken: number, rows, and whether it was committed.
fn hand_out(job: &Job, alignment: Alignment, out: &Path) -> Vec<(usize, usize, bool)> {
    let units = job.path("worker/units");
    let manifest = job.manifest.display();
    let text = format!(
        "
fermata: 1
streams: {{use: manifest_units, manifest: \"{manifest}\", unit: 7, ledger: \"${{run.dir}}/ledger.jsonl\", open: 2}}
nodes:
  rows:  {{use: returned_rows, each: stream, unit: \"${{stream.uri}}\"}}
  write: {{use: write_softlabels, in: rows, dir: \"${{run.dir}}\", on_error: stop}}
run: {{clock: asap}}
"
    );
    let mut registry = Registry::builtin();
    fermata_jobs::register(&mut registry);
    let graph = Graph::parse("shared.yaml", &text, &registry, &LoadOptions::new(out)).unwrap();
    let taken = Arc::default();
    let folder = Folder {
        units,
        ledger: out.join("ledger.jsonl"),
        taken: Arc::clone(&taken),
    };
    let services = fermata_jobs::services()
        .with(Arc::new(HandingOut(Box::new(folder))))
        .with(Arc::new(alignment));
    let options = RunOptions {
        services,
        ..RunOptions::default()
    };
    let report = RunningGraph::start(graph, Arc::new(registry), options)
        .unwrap()
        .wait();
    assert!(report.balanced, "{:?}", report.imbalances);
    let mut taken = taken.lock().unwrap().clone();
    taken.sort_unstable();
    taken
}

/// Whoever computed it may remove it then, and a coordinator that is killed before would have lost it.
#[test]
fn a_result_is_taken_once_it_is_committed() {
    let (job, alignment) = computed();
    let out = job.path("shared");
    fs::create_dir(&out).unwrap();
    let taken = hand_out(&job, alignment, &out);
    let rows = [7, 7, 7, 7, 7, 5].into_iter().enumerate();
    let expected: Vec<_> = rows.map(|(unit, rows)| (unit, rows, true)).collect();
    assert_eq!(taken, expected);
    assert_eq!(job.files("alone"), job.files("shared"));
}

#[test]
fn the_alignment_that_the_program_lends_counts_whatever_another_process_writes_into_the_folder() {
    let (job, alignment) = computed();
    let mut other = alignment.clone();
    other.seed += 1;
    let out = job.path("shared");
    fs::create_dir_all(out.join("units")).unwrap();
    let text = serde_json::to_vec(&other).unwrap();
    fs::write(out.join("units/alignment.json"), text).unwrap();
    hand_out(&job, alignment, &out);
    assert_eq!(job.files("alone"), job.files("shared"));
}
