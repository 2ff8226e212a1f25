//! Writes the initial weights of a training: `cargo run --example first_weights -- resnet18 FILE.safetensors`.

use std::path::Path;

use fermata_learn::network::{Head, Network};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, file] = &arguments[..] else {
        return Err("expected a network's name and a file".into());
    };
    let head = Head::Linear { classes: 7 };
    let network = Network::new(architecture.parse()?, head, 0, tch::Device::Cpu);
    network.save(Path::new(file), None)?;
    Ok(())
}
