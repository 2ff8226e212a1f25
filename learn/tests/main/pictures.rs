//! A small set of pictures that a network can learn, with its manifest and a card.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use fermata_learn::keyed_random::KeyedRandom;
use fermata_learn::manifest::COLUMNS;
use fermata_vision::{Expression, ModelCard};
use image::{GrayImage, Luma};
use sha2::{Digest, Sha256};

/// Side of a picture in pixels.
pub(crate) const SIDE: u32 = 40;

/// Returns a picture of a class: as many bars as the class's number, at a random place and brightness, and noise.
pub(crate) fn picture(class: usize, number: u64) -> GrayImage {
    let mut random = KeyedRandom::new(&[class as u64, number]);
    let (phase, bright) = (random.uniform(0.0, 6.0), random.uniform(60.0, 120.0));
    GrayImage::from_fn(SIDE, SIDE, |x, _| {
        let bars = (f64::from(x) / f64::from(SIDE) * (class + 1) as f64 * TAU + phase).sin();
        let value = 128.0 + bright * bars + 8.0 * random.normal();
        Luma([value.clamp(0.0, 255.0) as u8])
    })
}

/// Writes a picture and returns its line of a manifest.
pub(crate) fn write(
    folder: &Path,
    name: &str,
    picture: &GrayImage,
    class: usize,
    split: &str,
) -> String {
    let path = folder.join(name);
    picture.save(&path).unwrap();
    let digest = Sha256::digest(std::fs::read(&path).unwrap());
    let label = Expression::ALL[class];
    let (width, height) = picture.dimensions();
    format!("{name},{label},bars,{split},{name},{digest:x},{width},{height}\n")
}

/// Writes `counts` pictures of each class for train, validation and test; returns the path of the manifest.
pub(crate) fn set(folder: &Path, counts: [u64; 3]) -> PathBuf {
    let mut text = format!("{}\n", COLUMNS.join(","));
    let mut number = 0;
    for (split, count) in ["train", "validation", "test"].into_iter().zip(counts) {
        for _ in 0..count {
            for class in 0..Expression::ALL.len() {
                number += 1;
                text += &write(
                    folder,
                    &format!("{number}.png"),
                    &picture(class, number),
                    class,
                    split,
                );
            }
        }
    }
    let path = folder.join("manifest.csv");
    std::fs::write(&path, text).unwrap();
    path
}

/// Returns a card for inputs of 32 × 32 pixels.
pub(crate) fn card() -> ModelCard {
    let text = "input: {name: input, size: 32, layout: nchw, colour: rgb}
interpolation: area
scaling: [{divide: 127.5}, {subtract: 1}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: a test
";
    ModelCard::parse(text, Path::new("card.yaml")).unwrap()
}

/// Returns a picture of soft blobs, unlike that of any other seed, with sides of this many pixels.
pub(crate) fn blobs(seed: u64, side: u32) -> GrayImage {
    let mut random = KeyedRandom::new(&[seed, 1]);
    let blobs: Vec<[f64; 4]> = (0..80)
        .map(|_| {
            [
                random.unit(),
                random.unit(),
                random.uniform(0.02, 0.1),
                random.uniform(-60.0, 60.0),
            ]
        })
        .collect();
    GrayImage::from_fn(side, side, |x, y| {
        let at = |place: u32| (f64::from(place) + 0.5) / f64::from(side);
        let sum: f64 = blobs
            .iter()
            .map(|[cx, cy, size, weight]| {
                let square = (at(x) - cx).powi(2) + (at(y) - cy).powi(2);
                weight * (-square / (2.0 * size * size)).exp()
            })
            .sum();
        Luma([(128.0 + sum).clamp(0.0, 255.0) as u8])
    })
}

/// Returns the same picture, brighter and with less contrast.
pub(crate) fn brighter(picture: &GrayImage) -> GrayImage {
    let mut picture = picture.clone();
    for pixel in picture.pixels_mut() {
        pixel.0[0] = (f64::from(pixel.0[0]) * 0.9 + 20.0) as u8;
    }
    picture
}
