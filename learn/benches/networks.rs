//! Times a forward pass (evaluation mode, no gradients) and a training step (forward, cross-entropy, backward, AdamW):
//! `cargo bench -p fermata-learn --bench networks -- [NETWORK SIZE BATCH forward|training SECONDS]`; without arguments
//! all cases, 3 s each. `benches/peers/networks.py` runs single cases beside Python's torch.
//!
//! Prints for each case one line with its name, the median milliseconds of a pass and the process's peak memory in MiB.

use std::time::{Duration, Instant};

use fermata_learn::losses::{CrossEntropy, cross_entropy};
use fermata_learn::network::{Architecture, Head, Mode, Network};
use fermata_learn::optimiser::{Optimiser, Rule};
use tch::{Device, Kind, Tensor, no_grad};

const CLASSES: i64 = 7;
/// Passes before timing starts.
const WARM_UP: usize = 2;

struct Case {
    architecture: Architecture,
    size: i64,
    batch: i64,
    is_training: bool,
}

/// Returns the median time of a pass.
fn measure(case: &Case, time: Duration) -> Duration {
    let head = Head::Linear { classes: CLASSES };
    let network = Network::new(case.architecture, head, 0, Device::Cpu);
    let input = Tensor::randn(
        [
            case.batch,
            case.architecture.channels(),
            case.size,
            case.size,
        ],
        (Kind::Float, Device::Cpu),
    );
    let labels = Tensor::arange(case.batch, (Kind::Int64, Device::Cpu)).remainder(CLASSES);
    let mut optimiser = Optimiser::new(network.trained(), Rule::ADAM_W, 0.05);
    let mut pass = || {
        if case.is_training {
            optimiser.zero_gradients();
            let logits = network
                .forward(&input, Mode::Training)
                .expect("the input fits");
            cross_entropy(&logits, &labels, &CrossEntropy::default()).backward();
            optimiser.step(1e-4);
        } else {
            let logits =
                no_grad(|| network.forward(&input, Mode::Evaluation)).expect("the input fits");
            assert_eq!(logits.size(), [case.batch, CLASSES]);
        }
    };
    for _ in 0..WARM_UP {
        pass();
    }
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time || times.len() < 3 {
        let began = Instant::now();
        pass();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn main() {
    // As in the programs.
    fermata_learn::memory::keep_freed_blocks();
    tch::set_num_threads(1);
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let (cases, time) = match &arguments[..] {
        [architecture, size, batch, pass, seconds] => {
            let case = Case {
                architecture: architecture.parse().expect("a network's name"),
                size: size.parse().expect("a size"),
                batch: batch.parse().expect("a batch"),
                is_training: pass == "training",
            };
            (vec![case], seconds.parse().expect("seconds"))
        }
        _ => {
            let mut cases = Vec::new();
            for architecture in [Architecture::MobileNetV3Large, Architecture::ResNet18] {
                for size in [64, 224] {
                    cases.extend([false, true].map(|is_training| Case {
                        architecture,
                        size,
                        batch: 32,
                        is_training,
                    }));
                }
            }
            (cases, 3.0)
        }
    };
    for case in cases {
        let median = measure(&case, Duration::from_secs_f64(time));
        let pass = if case.is_training {
            "training"
        } else {
            "forward"
        };
        println!(
            "{} {} {} {pass} {:.3} {:.0}",
            case.architecture,
            case.size,
            case.batch,
            1e3 * median.as_secs_f64(),
            peak_mib()
        );
    }
}
