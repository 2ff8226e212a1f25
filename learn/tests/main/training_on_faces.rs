//! A training on real faces, interrupted in its middle. They are looked for in `FERMATA_DATA`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fermata_learn::manifest::COLUMNS;
use fermata_learn::npz::Npz;
use fermata_learn::training::{Event, Outcome, TrainingRun, TrainingSpec};
use image::GrayImage;
use tch::Device;

use crate::pictures::write;
use crate::training::{create, results, to_the_end};

/// 2,000 labelled images of FER2013 to train (of its validation part, the smaller file), and 300 to validate.
fn fer(folder: &Path, data: &Path) -> PathBuf {
    let mut text = format!("{}\n", COLUMNS.join(","));
    for (file, split, count) in [("valid", "train", 2000), ("test", "validation", 300)] {
        let mut npz = Npz::open(&data.join(format!("fer/fer2013plus_{file}.npz"))).unwrap();
        let images = npz.integers("images").unwrap();
        let labels = npz.integers("fer2013_label").unwrap().values;
        let size = images.shape[1] as u32;
        let pixels = images.values.chunks((size * size) as usize);
        let labelled = pixels
            .zip(labels)
            .enumerate()
            .filter(|(_, (_, label))| *label >= 0);
        for (number, (pixels, label)) in labelled.take(count) {
            let pixels = pixels.iter().map(|&value| value as u8).collect();
            let picture = GrayImage::from_raw(size, size, pixels).unwrap();
            text += &write(
                folder,
                &format!("{split}{number}.png"),
                &picture,
                label as usize,
                split,
            );
        }
    }
    let path = folder.join("manifest.csv");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn two_halves_of_a_training_on_real_faces_equal_the_whole() {
    let Some(data) = std::env::var_os("FERMATA_DATA") else {
        println!("skipped: no FERMATA_DATA");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = fer(folder.path(), Path::new(&data));
    let training = || {
        let yaml = "architecture: mobilenetv3_large_100\nepochs: 3\nbatch: 64\nseed: 1\nlearning_rate: {base: 1e-3}\naverage_decay: 0.99\n";
        serde_saphyr::from_str::<TrainingSpec>(yaml).unwrap()
    };
    let mut whole = create(&at("whole"), &manifest, training()).unwrap();
    to_the_end(&mut whole);
    let mut first = create(&at("halves"), &manifest, training()).unwrap();
    // 32 steps an epoch, 96 in all.
    let stopped = first.train(&mut |event| match event {
        Event::Step(_, progress) if (progress.epoch, progress.step) == (1, 16) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(stopped.unwrap(), Outcome::Interrupted);
    drop(first);
    let mut second = TrainingRun::resume(&at("halves"), None, Device::Cpu).unwrap();
    to_the_end(&mut second);
    assert!(results(&at("halves")) == results(&at("whole")));
    let history = &whole.progress().history;
    assert!(history[2].train_loss < history[0].train_loss, "{history:?}");
}
