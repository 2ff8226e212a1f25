//! Pictures are found again when resized, brightened, cropped, rotated, framed, watermarked or mirrored; different
//! pictures are not. Measured on generated pictures, and on faces if there are any (`--nocapture` shows the table).

use std::io::Cursor;

use fermata_learn::npz::Npz;
use fermata_learn::picture_hash::{Fingerprint, PictureHasher, same_pictures};
use fermata_vision::Frame;
use image::imageops::{FilterType, flip_horizontal, resize};
use image::{GrayImage, ImageFormat, Luma};

use crate::pictures::{blobs, brighter};
use crate::skipped::data;

fn fingerprint(picture: &GrayImage) -> Fingerprint {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let pixels = picture.as_raw().iter().flat_map(|&value| [value; 3]);
    PictureHasher::default().fingerprint(&Frame::from_bgr(width, height, pixels.collect()))
}

#[test]
fn a_picture_is_itself_when_it_is_scaled_brightened_or_mirrored() {
    for seed in 0..20 {
        let original = blobs(seed, 64);
        let is_same = |other: &GrayImage| fingerprint(&original).is_same(&fingerprint(other));
        assert!(is_same(&blobs(seed, 150)), "{seed}: scaled");
        assert!(is_same(&brighter(&original)), "{seed}: brighter");
        assert!(is_same(&flip_horizontal(&original)), "{seed}: mirrored");
        assert!(!is_same(&blobs(seed + 100, 64)), "{seed}: another");
    }
}

#[test]
fn groups_hold_all_pictures_that_are_one() {
    let mirrored = flip_horizontal(&blobs(1, 64));
    let two = blobs(2, 64);
    let pictures = [
        &blobs(1, 64),
        &two,
        &mirrored,
        &blobs(3, 64),
        &two,
        &blobs(1, 90),
        &two,
    ];
    let groups = same_pictures(&pictures.map(fingerprint), &|_| {});
    assert_eq!(groups, [vec![0, 2, 5], vec![1, 4, 6]]);
}

/// Returns the picture scaled, rotated around the centre and shifted by shares of its side; the outermost pixels are
/// repeated.
fn moved(picture: &GrayImage, scale: f64, degrees: f64, shift: [f64; 2]) -> GrayImage {
    let (width, height) = picture.dimensions();
    let (sin, cos) = degrees.to_radians().sin_cos();
    GrayImage::from_fn(width, height, |x, y| {
        let [u, v] = [
            f64::from(x) - f64::from(width - 1) / 2.0,
            f64::from(y) - f64::from(height - 1) / 2.0,
        ];
        let along = |side: u32, place: f64, shift: f64| {
            let place = f64::from(side - 1) / 2.0 + scale * place + shift * f64::from(side);
            place.clamp(0.0, f64::from(side - 1))
        };
        let column = along(width, cos * u - sin * v, shift[0]);
        let row = along(height, sin * u + cos * v, shift[1]);
        let at =
            |row: f64, column: f64| f64::from(picture.get_pixel(column as u32, row as u32).0[0]);
        let (right, below) = (column.fract(), row.fract());
        let line =
            |row: f64| at(row, column.floor()) * (1.0 - right) + at(row, column.ceil()) * right;
        let value = line(row.floor()) * (1.0 - below) + line(row.ceil()) * below;
        Luma([value.round() as u8])
    })
}

fn framed(picture: &GrayImage, share: f64, value: u8) -> GrayImage {
    let (width, height) = picture.dimensions();
    let edge = (f64::from(width) * share).round().max(1.0) as u32;
    GrayImage::from_fn(width + 2 * edge, height + 2 * edge, |x, y| {
        let inside = |place: u32, side: u32| place.checked_sub(edge).filter(|place| *place < side);
        match (inside(x, width), inside(y, height)) {
            (Some(x), Some(y)) => *picture.get_pixel(x, y),
            _ => Luma([value]),
        }
    })
}

/// Adds white bars as wide as letters across the lower part.
fn marked(picture: &GrayImage) -> GrayImage {
    let (width, height) = picture.dimensions();
    let mut marked = picture.clone();
    for (x, y, pixel) in marked.enumerate_pixels_mut() {
        let (x, y) = (64 * x / width, 64 * y / height);
        if (52..58).contains(&y) && (8..56).contains(&x) && x % 4 < 2 {
            pixel.0[0] = pixel.0[0].saturating_add(90);
        }
    }
    marked
}

fn compressed(picture: &GrayImage, quality: u8) -> GrayImage {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
    picture.write_with_encoder(encoder).unwrap();
    let read = image::load_from_memory_with_format(bytes.get_ref(), ImageFormat::Jpeg);
    read.unwrap().into_luma8()
}

type Change = fn(&GrayImage) -> GrayImage;

/// Changes of a picture, and the minimum share that must be found again.
const CHANGES: [(&str, Change, f64); 13] = [
    (
        "half size",
        |picture| {
            resize(
                picture,
                picture.width() / 2,
                picture.height() / 2,
                FilterType::Triangle,
            )
        },
        1.0,
    ),
    ("JPEG 30", |picture| compressed(picture, 30), 1.0),
    (
        "mirrored, JPEG 50",
        |picture| compressed(&flip_horizontal(picture), 50),
        1.0,
    ),
    ("darker", brighter, 1.0),
    (
        "cropped 2 %",
        |picture| moved(picture, 0.98, 0.0, [0.01, -0.01]),
        1.0,
    ),
    (
        "cropped 5 %",
        |picture| moved(picture, 0.95, 0.0, [-0.02, 0.025]),
        0.9,
    ),
    (
        "cropped 5 %, mirrored",
        |picture| moved(&flip_horizontal(picture), 0.95, 0.0, [0.02, 0.0]),
        0.9,
    ),
    (
        "turned 2 degrees",
        |picture| moved(picture, 1.0, 2.0, [0.0; 2]),
        1.0,
    ),
    (
        "turned 5 degrees",
        |picture| moved(picture, 1.0, -5.0, [0.0; 2]),
        0.7,
    ),
    (
        "cropped 10 %",
        |picture| moved(picture, 0.9, 0.0, [-0.02, 0.02]),
        0.0,
    ),
    ("black frame 4 %", |picture| framed(picture, 0.04, 0), 0.95),
    (
        "white frame 10 %",
        |picture| framed(picture, 0.1, 255),
        0.95,
    ),
    ("watermark", marked, 0.95),
];

/// Prints how many of the pictures are found again after each change, and asserts the minimum shares. The pictures must
/// be different ones.
fn measure(pictures: &[GrayImage], most_false: usize) {
    let originals: Vec<Fingerprint> = pictures.iter().map(fingerprint).collect();
    let groups = same_pictures(&originals, &|_| {});
    println!(
        "{} pictures: {} groups among themselves",
        pictures.len(),
        groups.len()
    );
    assert!(groups.len() <= most_false, "{groups:?}");
    for (name, change, least) in CHANGES {
        let mut all = originals.clone();
        all.extend(pictures.iter().map(|picture| fingerprint(&change(picture))));
        let groups = same_pictures(&all, &|_| {});
        let found = (0..pictures.len())
            .filter(|place| {
                let twin = place + pictures.len();
                groups
                    .iter()
                    .any(|group| group.contains(place) && group.contains(&twin))
            })
            .count();
        // Groups with several different pictures.
        let merged = groups
            .iter()
            .filter(|group| {
                let mut different: Vec<usize> =
                    group.iter().map(|place| place % pictures.len()).collect();
                different.sort_unstable();
                different.dedup();
                different.len() > 1
            })
            .count();
        let share = found as f64 / pictures.len() as f64;
        println!("{name:<24}{share:>8.3} found, {merged} groups of several pictures");
        assert!(share >= least, "{name}: {share}");
        assert!(merged <= most_false + 1, "{name}: {merged}");
    }
}

#[test]
fn changed_pictures_are_found_again_and_others_are_not() {
    let pictures: Vec<GrayImage> = (0..150).map(|seed| blobs(seed, 64)).collect();
    measure(&pictures, 0);
}

#[test]
fn changed_faces_are_found_again_and_others_are_not() {
    let Some(data) = data() else { return };
    let path = data.join("fer/fer2013plus_valid.npz");
    let images = Npz::open(&path).unwrap().integers("images").unwrap();
    let side = images.shape[1] as u32;
    let pictures: Vec<GrayImage> = images
        .values
        .chunks((side * side) as usize)
        .take(300)
        .map(|pixels| {
            let pixels = pixels.iter().map(|&value| value as u8).collect();
            GrayImage::from_raw(side, side, pixels).unwrap()
        })
        .collect();
    // FER2013 itself has duplicates.
    measure(&pictures, 3);
}
