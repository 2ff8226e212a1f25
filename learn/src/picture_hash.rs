//! Which pictures are the same picture: scaled, compressed again, brighter, mirrored. Owns the hash, the distance up to which two pictures are taken for one, and
//! the search among many.

use std::collections::HashMap;
use std::ops::Range;

use fermata_vision::Frame;
use image::{GrayImage, imageops};
use image_hasher::{HashAlg, Hasher, HasherConfig};
use pathfinding::undirected::connected_components::components;

/// Bits of a hash: 16 × 16 low frequencies of a discrete cosine transform, each above or below their median ("pHash").
const SIDE: u32 = 16;
const WORDS: usize = (SIDE * SIDE / 64) as usize;
/// Most bits by which the hashes of one picture differ. On FER2013, a face that is scaled up, darkened, or halved in resolution differs from itself in at most
/// 12, and no two of 390 other faces in less than 94.
const MOST_DIFFERENCES: u32 = 24;

/// A picture's hash, and that of its mirror image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PictureHash {
    picture: [u64; WORDS],
    mirrored: [u64; WORDS],
}

/// Makes hashes.
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
    /// The hash of a picture.
    pub fn hash(&self, frame: &Frame) -> PictureHash {
        let brightness = frame.bgr().chunks_exact(3).map(|pixel| {
            let [blue, green, red] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            ((114 * blue + 587 * green + 299 * red + 500) / 1000) as u8
        });
        let (width, height) = (frame.width() as u32, frame.height() as u32);
        let picture = GrayImage::from_raw(width, height, brightness.collect());
        let picture = picture.expect("a frame has as many pixels as its size says");
        PictureHash {
            mirrored: self.words(&imageops::flip_horizontal(&picture)),
            picture: self.words(&picture),
        }
    }

    fn words(&self, picture: &GrayImage) -> [u64; WORDS] {
        let hash = self.0.hash_image(picture);
        let mut words = [0; WORDS];
        for (place, byte) in hash.as_bytes().iter().enumerate() {
            words[place / 8] |= u64::from(*byte) << (8 * (place % 8));
        }
        words
    }
}

fn differences(a: &[u64; WORDS], b: &[u64; WORDS]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

impl PictureHash {
    /// Whether the two are one picture, or one is the mirror image of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        differences(&self.picture, &other.picture).min(differences(&self.mirrored, &other.picture))
            <= MOST_DIFFERENCES
    }
}

/// Parts of a hash: of two hashes with at most [`MOST_DIFFERENCES`] differences at least one part differs in at most one bit.
const PARTS: usize = MOST_DIFFERENCES as usize / 2 + 1;

/// Bits of a part.
fn bits(number: usize) -> Range<usize> {
    let bits = WORDS * 64;
    number * bits / PARTS..(number + 1) * bits / PARTS
}

fn part(hash: &[u64; WORDS], number: usize) -> u64 {
    bits(number).fold(0, |value, bit| {
        value << 1 | (hash[bit / 64] >> (bit % 64) & 1)
    })
}

/// A part, and all that differ from it in one bit.
fn close_parts(hash: &[u64; WORDS], number: usize) -> impl Iterator<Item = (usize, u64)> {
    let part = part(hash, number);
    let flips = (0..bits(number).len()).map(|bit| 1 << bit);
    std::iter::once(0)
        .chain(flips)
        .map(move |flip| (number, part ^ flip))
}

/// Groups of pictures that are one: the places in `hashes` of each group of at least two, in order.
pub fn same_pictures(hashes: &[PictureHash]) -> Vec<Vec<usize>> {
    // Equal hashes are one picture each, however many there are of them.
    let mut places_of: HashMap<PictureHash, Vec<usize>> = HashMap::new();
    for (place, hash) in hashes.iter().enumerate() {
        places_of.entry(*hash).or_default().push(place);
    }
    let mut different: Vec<(PictureHash, Vec<usize>)> = places_of.into_iter().collect();
    different.sort_unstable_by_key(|(_, places)| places[0]);
    let mut with_part: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for (number, (hash, _)) in different.iter().enumerate() {
        for index in 0..PARTS {
            with_part
                .entry((index, part(&hash.picture, index)))
                .or_default()
                .push(number);
        }
    }
    let neighbours = |number: usize| {
        let hash = &different[number].0;
        let mut found = vec![number];
        for one in [&hash.picture, &hash.mirrored] {
            for close in (0..PARTS).flat_map(|index| close_parts(one, index)) {
                let candidates = with_part.get(&close).map_or(&[][..], Vec::as_slice);
                let same = |other: &&usize| **other < number && hash.is_same(&different[**other].0);
                found.extend(candidates.iter().filter(same));
            }
        }
        found
    };
    let linked: Vec<Vec<usize>> = (0..different.len()).map(neighbours).collect();
    let mut groups: Vec<Vec<usize>> = components(&linked)
        .into_iter()
        .map(|numbers| {
            let mut places: Vec<usize> = numbers
                .into_iter()
                .flat_map(|number| different[number].1.clone())
                .collect();
            places.sort_unstable();
            places
        })
        .filter(|places| places.len() > 1)
        .collect();
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyed_random::KeyedRandom;

    proptest! {
        /// The search finds what a comparison of all pairs finds.
        #[test]
        fn the_search_misses_nothing(seed: u64, flips in prop::collection::vec(prop::collection::vec(0usize..256, 0..40), 1..6)) {
            let mut random = KeyedRandom::new(&[seed]);
            let base: [u64; WORDS] = std::array::from_fn(|_| random.bits());
            let mut hashes = Vec::new();
            for flips in &flips {
                let mut picture = base;
                for &bit in flips {
                    picture[bit / 64] ^= 1 << (bit % 64);
                }
                hashes.push(PictureHash { picture, mirrored: std::array::from_fn(|_| random.bits()) });
            }
            let groups = same_pictures(&hashes);
            for a in 0..hashes.len() {
                for b in 0..a {
                    if hashes[a].is_same(&hashes[b]) {
                        prop_assert!(groups.iter().any(|group| group.contains(&a) && group.contains(&b)));
                    }
                }
            }
        }
    }
}
