//! Times the bare trainer: `Trainer::train` on batches that are already in memory, with a training's settings (network,
//! objective, rule, clipping, average). `cargo bench -p fermata-learn --bench trainer -- TRAINING.yaml SIZE SECONDS`;
//! `benches/peers/trainings.py` runs it beside a training as a graph and beside Python's torch.
//!
//! Prints the median milliseconds per step, and rows per second.

use std::time::{Duration, Instant};

use fermata_learn::training::{Batch, Trainer, TrainingSpec};
use tch::{Device, Kind, Tensor};

const CLASSES: usize = 7;
/// Steps before timing starts.
const WARM_UP: u64 = 3;
/// More steps than are trained here.
const STEPS: usize = 10_000;

fn main() {
    // As in the programs.
    fermata_learn::memory::keep_freed_blocks();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [settings, size, seconds] = &arguments[..] else {
        println!("nothing measured: expected TRAINING.yaml SIZE SECONDS");
        return;
    };
    let text = std::fs::read_to_string(settings).expect("the settings are there");
    let spec: TrainingSpec = serde_saphyr::from_str(&text).expect("they are a training's");
    let size: i64 = size.parse().expect("a size");
    let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
    tch::set_num_threads(spec.threads as i32);
    let shape = [spec.architecture.channels(), size, size];
    let rows = spec.batch;
    let labels: Vec<usize> = (0..rows * STEPS).map(|row| row % CLASSES).collect();
    let values = rows as i64 * shape.iter().product::<i64>();
    let inputs = Tensor::randn([values], (Kind::Float, Device::Cpu));
    let mut batch = Batch {
        inputs: Vec::<f32>::try_from(inputs).expect("they are numbers"),
        labels: labels[..rows].iter().map(|&label| label as i64).collect(),
        ..Batch::default()
    };
    let trainer = Trainer::new(spec, shape, &labels, CLASSES as i64, Device::Cpu);
    let mut trainer = trainer.expect("the settings fit");
    let mut times = Vec::new();
    let mut start = Instant::now();
    while batch.step < WARM_UP + 3 || start.elapsed() < time {
        if batch.step == WARM_UP {
            start = Instant::now();
        }
        let began = Instant::now();
        trainer.train(&batch).expect("the batch is the next one");
        if batch.step >= WARM_UP {
            times.push(began.elapsed());
        }
        batch.step += 1;
    }
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64();
    println!("{:.3} {:.1}", 1e3 * median, rows as f64 / median);
}
