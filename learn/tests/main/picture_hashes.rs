//! One picture is found again in other sizes, brightnesses and mirrored; another is not.

use fermata_learn::picture_hash::{PictureHash, PictureHasher, same_pictures};
use fermata_vision::Frame;
use image::GrayImage;
use image::imageops::flip_horizontal;

use crate::pictures::{blobs, brighter};

fn hash(picture: &GrayImage) -> PictureHash {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let pixels = picture.as_raw().iter().flat_map(|&value| [value; 3]);
    PictureHasher::default().hash(&Frame::from_bgr(width, height, pixels.collect()))
}

#[test]
fn a_picture_is_itself_when_it_is_scaled_brightened_or_mirrored() {
    for seed in 0..20 {
        let original = blobs(seed, 64);
        let is_same = |other: &GrayImage| hash(&original).is_same(&hash(other));
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
    let hashes = pictures.map(hash);
    assert_eq!(same_pictures(&hashes), [vec![0, 2, 5], vec![1, 4, 6]]);
}
