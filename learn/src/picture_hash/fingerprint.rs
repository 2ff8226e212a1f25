//! What is kept of a picture, and when two are taken for one.

use fermata_vision::Frame;
use image::{GrayImage, imageops};
use image_hasher::{HashAlg, Hasher, HasherConfig};

use super::alignment::{Aligned, SIDE as THUMBNAIL};

/// Bits of a hash: 16 × 16 low frequencies of a discrete cosine transform, each above or below their median ("pHash").
const SIDE: u32 = 16;
pub(super) const WORDS: usize = (SIDE * SIDE / 64) as usize;
/// Up to this many differing bits two pictures are one. On FER2013 a face that is scaled or compressed again differs
/// from itself in at most 20.
pub(super) const SURE: u32 = 24;
/// Up to here they are one if they roughly agree: of 33 pairs of FER2013's test part all were one photo.
const LIKELY: u32 = 56;
/// Up to here they are one if they agree well: of 77 pairs there 26 were one photo.
pub(super) const MOST: u32 = 80;
/// Share of each side that the second hash leaves out at each end.
const MARGIN: f64 = 0.025;
/// Hashes of two views that tell whether one is the other, and whether one is the other's mirror image. Two that are
/// both mirrored, or both without margin, tell no more than the whole ones.
const DIRECT: [(usize, usize); 3] = [(0, 0), (0, 2), (2, 0)];
const MIRRORED: [(usize, usize); 6] = [(1, 0), (0, 1), (1, 2), (2, 1), (3, 0), (0, 3)];
/// Least correlation of pictures up to [`LIKELY`], and up to [`MOST`]. With these, all of 84 pairs with two labels that
/// were drawn from what FER2013 loses by [`crate::manifest::Recipe`] are one photo; with 0.75 and 0.88 a quarter were
/// two faces.
const ROUGHLY: f32 = 0.8;
const WELL: f32 = 0.92;

pub(super) type Hash = [u64; WORDS];

/// One look at a picture: whole, or without its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Of the view, its mirror image, and both without [`MARGIN`]: a crop of the picture is closer to one of them than
    /// to the whole.
    pub(super) hashes: [Hash; 4],
    /// Whether it is the whole of a picture with a frame. Frames look alike: two such views tell nothing, what is
    /// inside does.
    pub(super) is_framed: bool,
    /// Gray, small, row after row.
    pub(super) thumbnail: Box<[u8; THUMBNAIL * THUMBNAIL]>,
}

/// What is kept of a picture to tell whether it is another: about 800 bytes, twice that if it has a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The whole picture, then what is inside its frame if it has one.
    pub(super) views: Vec<View>,
}

/// Makes fingerprints.
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
    /// What is kept of a picture.
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

/// Values of a row or column that differ by no more are one colour, but for compression.
const ONE_COLOUR: u8 = 16;
/// Most of a side that a frame takes at each end.
const WIDEST_FRAME: u32 = 5;

/// The picture without rows and columns of one colour at its edges, if it has any.
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
    /// Fewest differing bits of these hashes of this view and the other.
    fn differences(&self, other: &Self, of: &[(usize, usize)]) -> u32 {
        let each = of
            .iter()
            .map(|&(one, two)| differences(&self.hashes[one], &other.hashes[two]));
        each.min().unwrap_or(u32::MAX)
    }

    /// Whether the two are one picture, or one is the mirror image of the other.
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
    /// Whether the two are one picture, or one is the mirror image of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let mut views = self.views.iter();
        views.any(|one| other.views.iter().any(|other| one.is_same(other)))
    }
}
