//! Trains a network on a manifest's rows, or takes a run up again; a run's folder is described in `fermata_learn::training`.
//!
//! `cargo run --release -p fermata-learn --example train -- RUN TRAINING.yaml CARD.yaml MANIFEST.csv`, and to go on: `… -- RUN [MORE_EPOCHS]`

use std::ops::ControlFlow;
use std::path::Path;

use fermata_learn::memory;
use fermata_learn::training::{Event, TrainingRun};
use fermata_vision::ModelCard;
use tch::Device;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    memory::keep_freed_blocks();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut run = match &arguments[..] {
        [folder, training, card, manifest] => {
            let training = serde_saphyr::from_str(&std::fs::read_to_string(training)?)?;
            let card = ModelCard::parse(&std::fs::read_to_string(card)?, Path::new(card))?;
            TrainingRun::create(
                Path::new(folder),
                Path::new(manifest),
                card,
                training,
                Device::Cpu,
            )?
        }
        [folder] => TrainingRun::resume(Path::new(folder), None, Device::Cpu)?,
        [folder, more] => TrainingRun::resume(Path::new(folder), Some(more.parse()?), Device::Cpu)?,
        _ => {
            return Err(
                "expected RUN TRAINING.yaml CARD.yaml MANIFEST.csv, or RUN [MORE_EPOCHS]".into(),
            );
        }
    };
    let outcome = run.train(&mut |event| {
        match event {
            Event::Step(done, progress) if progress.step % 50 == 0 => {
                println!(
                    "epoch {}, step {}: loss {:.4}",
                    progress.epoch, progress.step, done.loss
                );
            }
            Event::Step(..) => {}
            Event::Epoch(row) => println!(
                "epoch {}: loss {:.4}, validation accuracy {:.4}, macro-F1 {:.4}",
                row.epoch, row.train_loss, row.accuracy, row.macro_f1
            ),
        }
        ControlFlow::Continue(())
    })?;
    println!("{outcome:?}");
    Ok(())
}
