//! Fingerprints of pictures, and when two are taken for the same picture.

use fermata_vision::Frame;
use image::{GrayImage, imageops};
use image_hasher::{HashAlg, Hasher, HasherConfig};

use super::alignment::{Aligned, SIDE as THUMBNAIL};

/// Side of a hash in bits: 16 × 16 low frequencies of a discrete cosine transform, each above or below their median
/// ("pHash").
const SIDE: u32 = 16;
pub(super) const WORDS: usize = (SIDE * SIDE / 64) as usize;
/// Largest number of differing bits at which two pictures are the same without further checks. On FER2013 a face that
/// is scaled or recompressed differs from itself in at most 20.
pub(super) const SURE: u32 = 24;
/// Largest number of differing bits at which rough agreement is enough: all of 33 such pairs in FER2013's test part
/// were one photo.
const LIKELY: u32 = 56;
/// Largest number of differing bits at which good agreement is enough: 26 of 77 such pairs there were one photo.
pub(super) const MOST: u32 = 80;
/// Share of each side that the second hash leaves out at each end.
const MARGIN: f64 = 0.025;
/// Pairs of hashes of two views that show whether one is the other, and whether one is the other's mirror image.
/// Comparing two mirrored ones, or two without margin, adds nothing to the whole ones.
const DIRECT: [(usize, usize); 3] = [(0, 0), (0, 2), (2, 0)];
const MIRRORED: [(usize, usize); 6] = [(1, 0), (0, 1), (1, 2), (2, 1), (3, 0), (0, 3)];
/// Minimum correlation of pictures up to [`LIKELY`], and up to [`MOST`]. With these, all of 84 pairs with two labels
/// that were drawn from those that [`crate::manifest::Recipe`] removes from FER2013 are one photo; with 0.75 and 0.88 a
/// quarter were two faces.
const ROUGHLY: f32 = 0.8;
const WELL: f32 = 0.92;

pub(super) type Hash = [u64; WORDS];

/// View of a picture: whole, or without its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Hashes of the view, its mirror image, and both without [`MARGIN`]: a crop of the picture is closer to one of
    /// them than to the whole.
    pub(super) hashes: [Hash; 4],
    /// Whether it is the whole of a picture with a frame. Since frames look alike, two such views are not compared;
    /// only their insides are.
    pub(super) is_framed: bool,
    /// Small grayscale version, row after row.
    pub(super) thumbnail: Box<[u8; THUMBNAIL * THUMBNAIL]>,
}

/// Summary of a picture for finding duplicates: about 800 bytes, twice that with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Views: the whole picture, then the inside of its frame if it has one.
    pub(super) views: Vec<View>,
}

/// Computes fingerprints.
pub struct PictureHasher(Hasher);

impl Default for PictureHasher {
    fn default() -> Self {
        let config = HasherConfig::new()
            .hash_size(SIDE, SIDE)
            .hash_alg(HashAlg::Median);
        Self(config.preproc_dct().to_hasher())
    }
}

impl PictureHasher {
    /// Returns the fingerprint of a picture.
    pub fn fingerprint(&self, frame: &Frame) -> Fingerprint {
        let brightness = frame.bgr().chunks_exact(3).map(|pixel| {
            let [blue, green, red] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            ((114 * blue + 587 * green + 299 * red + 500) / 1000) as u8
        });
        let (width, height) = (frame.width() as u32, frame.height() as u32);
        let picture = GrayImage::from_raw(width, height, brightness.collect());
        let picture = picture.expect("a frame has as many pixels as its size says");
        let inside = inside_of_frame(&picture);
        let mut views = vec![self.view(&picture, inside.is_some())];
        views.extend(inside.map(|inside| self.view(&inside, false)));
        Fingerprint { views }
    }

    fn view(&self, picture: &GrayImage, is_framed: bool) -> View {
        let side = THUMBNAIL as u32;
        let small = imageops::resize(picture, side, side, imageops::FilterType::Triangle);
        let small: Box<[u8]> = small.into_raw().into_boxed_slice();
        let (width, height) = picture.dimensions();
        let [left, top] = [width, height].map(|side| (f64::from(side) * MARGIN).round() as u32);
        let inside =
            imageops::crop_imm(picture, left, top, width - 2 * left, height - 2 * top).to_image();
        View {
            hashes: [
                self.words(picture),
                self.words(&imageops::flip_horizontal(picture)),
                self.words(&inside),
                self.words(&imageops::flip_horizontal(&inside)),
            ],
            is_framed,
            thumbnail: small.try_into().expect("it has this side"),
        }
    }

    fn words(&self, picture: &GrayImage) -> Hash {
        let hash = self.0.hash_image(picture);
        let mut words = [0; WORDS];
        for (place, byte) in hash.as_bytes().iter().enumerate() {
            words[place / 8] |= u64::from(*byte) << (8 * (place % 8));
        }
        words
    }
}

/// Largest difference within a row or column of one colour, which compression may cause.
const ONE_COLOUR: u8 = 16;
/// Inverse of the largest share of a side that a frame takes at each end.
const WIDEST_FRAME: u32 = 5;

/// Returns the picture without plain rows and columns at its edges, if it has any.
fn inside_of_frame(picture: &GrayImage) -> Option<GrayImage> {
    let (width, height) = picture.dimensions();
    let is_plain = |values: &mut dyn Iterator<Item = u8>| {
        let (least, most) = values.fold((u8::MAX, 0), |(least, most), value| {
            (value.min(least), value.max(most))
        });
        most.saturating_sub(least) <= ONE_COLOUR
    };
    let is_row = |&y: &u32| is_plain(&mut (0..width).map(|x| picture.get_pixel(x, y).0[0]));
    let is_column = |&x: &u32| is_plain(&mut (0..height).map(|y| picture.get_pixel(x, y).0[0]));
    let ends = |side: u32, is_plain: &dyn Fn(&u32) -> bool| {
        let most = side / WIDEST_FRAME;
        let before = (0..most).take_while(is_plain).count() as u32;
        let after = (0..most)
            .map(|place| side - 1 - place)
            .take_while(is_plain)
            .count() as u32;
        (before, after)
    };
    let ((top, bottom), (left, right)) = (ends(height, &is_row), ends(width, &is_column));
    if [top, bottom, left, right] == [0; 4] {
        return None;
    }
    let (width, height) = (width - left - right, height - top - bottom);
    Some(imageops::crop_imm(picture, left, top, width, height).to_image())
}

pub(super) fn differences(a: &Hash, b: &Hash) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

impl View {
    /// Returns the fewest differing bits among these pairs of hashes of this view and the other.
    fn differences(&self, other: &Self, of: &[(usize, usize)]) -> u32 {
        let each = of
            .iter()
            .map(|&(one, two)| differences(&self.hashes[one], &other.hashes[two]));
        each.min().unwrap_or(u32::MAX)
    }

    /// Returns whether the two show one picture, or one is the mirror image of the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if self.is_framed && other.is_framed {
            return false;
        }
        let lies_on = |is_mirrored: bool, differences: u32| {
            if differences <= SURE || differences > MOST {
                return differences <= SURE;
            }
            let least = if differences <= LIKELY { ROUGHLY } else { WELL };
            let one = Aligned::of(&self.thumbnail, is_mirrored);
            let other = Aligned::of(&other.thumbnail, false);
            one.correlation(&other) >= least || other.correlation(&one) >= least
        };
        lies_on(false, self.differences(other, &DIRECT))
            || lies_on(true, self.differences(other, &MIRRORED))
    }
}

impl Fingerprint {
    /// Returns whether the two are one picture, or one is the mirror image of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let mut views = self.views.iter();
        views.any(|one| other.views.iter().any(|other| one.is_same(other)))
    }
}
