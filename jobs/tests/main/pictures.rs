//! A small set of labelled pictures, and its manifest.

use std::fs;
use std::path::{Path, PathBuf};

use fermata_vision::Expression;
use image::GrayImage;

/// Pixels of a picture's side.
pub(crate) const SIDE: u32 = 16;

/// Returns a picture unlike any other of the set.
pub(crate) fn picture(class: usize, number: usize) -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| {
        let wave = (x as usize * (class + 1) + y as usize * (number + 2)) * 7;
        image::Luma([(wave % 256) as u8])
    })
}

/// Writes `rows` pictures and their manifest, alternating classes and splits. Returns the manifest.
pub(crate) fn set(folder: &Path, rows: usize) -> PathBuf {
    let mut csv = "image,label,source,split,group,sha256,width,height\n".to_owned();
    for row in 0..rows {
        let class = row % 7;
        let name = format!("{row:03}.png");
        let path = folder.join(&name);
        picture(class, row).save(&path).unwrap();
        let sha256 = fermata_files::sha256(&fs::read(&path).unwrap());
        let label = Expression::ALL[class];
        let split = ["train", "train", "validation", "test"][row / 7 % 4];
        csv += &format!("{name},{label},set,{split},g{row},{sha256},{SIDE},{SIDE}\n");
    }
    let manifest = folder.join("manifest.csv");
    fs::write(&manifest, csv).unwrap();
    manifest
}
