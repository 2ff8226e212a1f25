//! A job over units of work that may be killed at any moment: it resumes with the units that are not in its ledger, and
//! nothing is lost or done twice.
//!
//! `cargo run --example unit_job` starts the job as a process, kills it, and resumes it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermata_engine::graph::StreamSpec;
use fermata_engine::{
    Actor, ActorError, Captured, End, Graph, Input, LoadOptions, Next, Outputs, Payload, Ports,
    ProviderSetup, Registry, RunOptions, RunningGraph, Services, Setup, Source, Stream,
    StreamProvider,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Units of the job, and numbers in each.
const UNITS: u64 = 40;
const ROWS: u64 = 50;

/// The sums of the completed units: a file with one line per unit, synced to disk before the next unit begins.
struct Ledger {
    file: Mutex<File>,
    done: BTreeMap<u64, u64>,
}

impl Ledger {
    /// Reads the completed units. A line truncated by a kill is cut off, so its unit is done again.
    fn open(path: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let mut done = BTreeMap::new();
        for line in text[..whole].lines() {
            let (unit, sum) = line.split_once(' ').ok_or("a line without a sum")?;
            let earlier = done.insert(unit.parse()?, sum.parse()?);
            if earlier.is_some() {
                return Err(format!("unit {unit} was done twice").into());
            }
        }
        let file = Mutex::new(file);
        Ok(Self { file, done })
    }

    fn commit(&self, unit: u64, sum: u64) -> Result<(), ActorError> {
        let mut file = self.file.lock().map_err(|_| "the ledger broke")?;
        let end = file.stream_position()?;
        let written = file.write_all(format!("{unit} {sum}\n").as_bytes());
        if written.is_err() {
            // What was written of the line must not become the beginning of the next one.
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
        }
        written?;
        file.sync_data()?;
        Ok(())
    }
}

/// Provides the units that are not done.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnitsSettings {
    /// The file that lists the completed units.
    ledger: String,
}

/// See `UnitsSettings`.
struct Units(std::vec::IntoIter<u64>);

impl StreamProvider for Units {
    const NAME: &'static str = "units";
    type Settings = UnitsSettings;

    fn create(settings: UnitsSettings, _: &ProviderSetup) -> Result<Self, ActorError> {
        let done = Ledger::open(settings.ledger.as_ref())?.done;
        let to_do: Vec<u64> = (0..UNITS).filter(|unit| !done.contains_key(unit)).collect();
        Ok(Self(to_do.into_iter()))
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        Ok(self.0.next().map(|unit| StreamSpec {
            name: format!("unit-{unit}"),
            uri: unit.to_string(),
        }))
    }

    fn ended(&mut self, unit: &str, end: End) -> Result<(), ActorError> {
        if end.is_complete() {
            Ok(())
        } else {
            // The unit is not in the ledger, so the next run will do it.
            Err(format!("{unit} is not complete").into())
        }
    }
}

struct Number(u64);

impl Payload for Number {}

/// Produces the numbers of a unit.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NumbersSettings {
    /// The unit. A text, because it is `${stream.uri}`, which is not known when the graph is checked.
    unit: String,
}

/// See `NumbersSettings`.
struct Numbers(std::ops::Range<u64>);

impl Source for Numbers {
    const NAME: &'static str = "numbers";
    type Settings = NumbersSettings;

    fn ports(_: &NumbersSettings) -> Ports {
        Ports::new().output::<Number>("out")
    }

    fn create(settings: NumbersSettings, _: &Setup) -> Result<Self, ActorError> {
        let unit: u64 = settings.unit.parse()?;
        Ok(Self(unit * ROWS..(unit + 1) * ROWS))
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        Ok(self.0.next().map_or(Next::End, |number| {
            Next::Packet(Captured::new(Arc::new(Number(number)), 0))
        }))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CommitSettings {}

/// Writes the sum of each unit into the ledger once the whole unit has arrived.
struct Commit {
    ledger: Arc<Ledger>,
    sums: BTreeMap<u32, u64>,
}

impl Actor for Commit {
    const NAME: &'static str = "commit";
    type Settings = CommitSettings;

    fn ports(_: &CommitSettings) -> Ports {
        Ports::new()
            .input::<Number>("in")
            .keeps_streams_apart()
            .needs::<Ledger>()
    }

    fn create(_: CommitSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            ledger: setup.service().ok_or("no ledger")?,
            sums: BTreeMap::new(),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let number = input.take::<Number>().0;
        *self.sums.entry(input.envelope.stream.id).or_default() += number;
        Ok(())
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        let sum = self.sums.remove(&stream.id).unwrap_or(0);
        if end.is_complete() {
            self.ledger.commit(stream.uri.parse()?, sum)
        } else {
            Ok(())
        }
    }
}

/// Does the units that are not done.
fn job(ledger: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut registry = Registry::builtin();
    registry.register_provider::<Units>();
    registry.register_source::<Numbers>();
    registry.register::<Commit>();
    let text = format!(
        "
fermata: 1
streams: {{use: units, open: 3, ledger: '{}'}}
nodes:
  numbers: {{use: numbers, each: stream, unit: \"${{stream.uri}}\"}}
  work:    {{use: identity, in: numbers, work: 200us, replicas: 2, batch: {{max: 8, each: stream}}}}
  commit:  {{use: commit, in: work}}
run: {{clock: asap}}
",
        ledger.display()
    );
    let options = LoadOptions::new(std::env::temp_dir());
    let graph = Graph::parse("unit_job", &text, &registry, &options)?;
    let run_options = RunOptions {
        services: Services::new().with(Arc::new(Ledger::open(ledger)?)),
        ..RunOptions::default()
    };
    let report = RunningGraph::start(graph, Arc::new(registry), run_options)?.wait();
    match report.faults.first() {
        Some(fault) => Err(fault.message.clone().into()),
        None => Ok(()),
    }
}

/// The environment variable that holds the ledger of the process to be killed.
const LEDGER: &str = "UNIT_JOB_LEDGER";

/// Has `program`, which calls this function again, do the job; kills it halfway and resumes it.
pub(crate) fn run(mut program: Command) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if let Some(ledger) = std::env::var_os(LEDGER) {
        return job(ledger.as_ref());
    }
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger");
    program.env(LEDGER, &ledger).stdout(Stdio::null());
    let mut child = program.spawn()?;
    let lines = || std::fs::read_to_string(&ledger).map_or(0, |text| text.lines().count());
    while lines() < 5 && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    let before = Ledger::open(&ledger)?.done;
    job(&ledger)?;
    let after = Ledger::open(&ledger)?.done;
    println!(
        "{} of {UNITS} units were done before the kill",
        before.len()
    );

    assert!(before.len() >= 5, "the job did not begin");
    assert!(
        before
            .iter()
            .all(|(unit, sum)| after.get(unit) == Some(sum))
    );
    assert!(after.keys().copied().eq(0..UNITS), "{after:?}");
    let rows = UNITS * ROWS;
    assert_eq!(after.values().sum::<u64>(), rows * (rows - 1) / 2);
    Ok(())
}

// The test suite runs this example as a module and gives `run` another program.
#[allow(dead_code)]
fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    run(Command::new(std::env::current_exe()?))
}
