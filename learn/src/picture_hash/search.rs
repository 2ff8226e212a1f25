//! Search for duplicates among many pictures without comparing all pairs: hashes that agree in a few randomly drawn
//! bits are compared (locality-sensitive hashing: Indyk and Motwani 1998), once for each of many draws. Owns the search
//! and how many pairs it misses.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fingerprint::{Fingerprint, Hash, MOST, SURE, View, WORDS, differences};
use crate::keyed_random::KeyedRandom;
use crate::on_all_cores::in_pieces;

/// Number of draws.
const DRAWS: usize = 256;
/// Returns the number of bits in a draw: such that about 32 to 64 random hashes would agree in them. A pair of hashes
/// that differ in d of 256 bits is found with probability 1 − (1 − (1 − d/256)^bits)^256: for 36,000 pictures above
/// 0.99999 up to 56 bits and 0.94 at 80, for half a million 0.998 and 0.6.
fn bits_drawn(hashes: usize) -> usize {
    (hashes.max(1).ilog2() as usize)
        .saturating_sub(4)
        .clamp(6, 16)
}
/// Draws whose pairs are held in memory at the same time.
const ROUND: usize = 16;
/// Most hashes of one draw that are compared with each: if there are more, they are nearly all one picture, and linked
/// through each other.
const MOST_ALIKE: usize = 2048;
/// Separates these random numbers from others.
const PURPOSE: u64 = 0x4C53_4820;
/// Pairs that are aligned before links are checked again.
const PAIRS: usize = 4096;

/// Links between pictures, as paths to a common root (union-find).
#[derive(Clone)]
struct Links(Vec<u32>);

impl Links {
    fn none(count: usize) -> Self {
        Self((0..count as u32).collect())
    }

    fn root(&mut self, mut item: u32) -> u32 {
        while self.0[item as usize] != item {
            let above = self.0[self.0[item as usize] as usize];
            self.0[item as usize] = above;
            item = above;
        }
        item
    }

    /// Links two pictures; returns false if they are already linked.
    fn link(&mut self, one: u32, other: u32) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other) as usize] = one.min(other);
        one != other
    }
}

/// Progress of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searching {
    /// Gathering similar hashes.
    Gathering {
        /// Draws so far.
        done: usize,
        /// Total number of draws.
        of: usize,
    },
    /// Aligning pairs.
    Aligning {
        /// Pairs so far.
        done: usize,
        /// Total number of pairs.
        of: usize,
    },
}

/// View of a picture, with the picture's index.
type Seen<'a> = (u32, &'a View);

/// Returns groups of duplicate pictures: the indices of each group of at least two, in order. `watch` is called with
/// the progress, from any thread.
pub fn same_pictures<P: Borrow<Fingerprint>>(
    pictures: &[P],
    watch: &(dyn Fn(Searching) + Sync),
) -> Vec<Vec<usize>> {
    let mut links = Links::none(pictures.len());
    // Equal hashes are one picture, however many there are.
    let mut first_with: HashMap<&Hash, u32> = HashMap::new();
    let mut seen: Vec<Seen<'_>> = Vec::new();
    for (place, picture) in pictures.iter().enumerate() {
        for view in &picture.borrow().views {
            if view.is_framed {
                seen.push((place as u32, view));
                continue;
            }
            match first_with.entry(&view.hashes[0]) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    links.link(*first.get(), place as u32);
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(place as u32);
                    seen.push((place as u32, view));
                }
            }
        }
    }
    let (sure, mut open) = alike(&seen, &links, watch);
    for (one, other) in sure {
        links.link(one, other);
    }
    // The most likely pairs come first, so that those they link need not be aligned.
    open.sort_unstable();
    for (number, pairs) in open.chunks(PAIRS).enumerate() {
        let (done, of) = (number * PAIRS, open.len());
        watch(Searching::Aligning { done, of });
        let unlinked: Vec<[u32; 2]> = pairs
            .iter()
            .map(|&(_, one, other)| [one, other])
            .filter(|pair| {
                let [one, other] = pair.map(|view| links.root(seen[view as usize].0));
                one != other
            })
            .collect();
        let same = in_pieces(unlinked.len(), 64, |piece| {
            let is_same =
                |&[one, other]: &[u32; 2]| seen[one as usize].1.is_same(seen[other as usize].1);
            unlinked[piece].iter().map(is_same).collect::<Vec<_>>()
        });
        for (pair, is_same) in unlinked.iter().zip(same.concat()) {
            if is_same {
                let [one, other] = pair.map(|view| seen[view as usize].0);
                links.link(one, other);
            }
        }
    }
    groups(links)
}

fn groups(mut links: Links) -> Vec<Vec<usize>> {
    let mut places_of: HashMap<u32, Vec<usize>> = HashMap::new();
    for place in 0..links.0.len() {
        let root = links.root(place as u32);
        places_of.entry(root).or_default().push(place);
    }
    let mut groups: Vec<Vec<usize>> = places_of
        .into_values()
        .filter(|places| places.len() > 1)
        .collect();
    groups.sort_unstable();
    groups
}

/// Pairs that differ in few bits: pictures that are certainly the same, and views that must be aligned, with their
/// differences.
type Alike = (Vec<(u32, u32)>, Vec<(u32, u32, u32)>);

fn alike(seen: &[Seen<'_>], links: &Links, watch: &(dyn Fn(Searching) + Sync)) -> Alike {
    let bits = bits_drawn(seen.len());
    let done = AtomicUsize::new(0);
    let (mut all, mut links) = (Alike::default(), links.clone());
    // Most pairs are found by many draws: each round removes duplicates and skips pairs that are already linked.
    for round in 0..DRAWS.div_ceil(ROUND) {
        let first = round * ROUND;
        let of_draws = in_pieces(ROUND.min(DRAWS - first), 1, |draws| {
            let mut found = Alike::default();
            for draw in draws {
                of_draw(seen, first + draw, bits, links.clone(), &mut found);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                watch(Searching::Gathering { done, of: DRAWS });
            }
            found
        });
        for (sure, open) in of_draws {
            for (one, other) in sure {
                let (one, other) = (seen[one as usize].0, seen[other as usize].0);
                links.link(one, other);
                all.0.push((one, other));
            }
            all.1.extend(open);
        }
        all.1.sort_unstable();
        all.1.dedup();
    }
    all
}

fn of_draw(seen: &[Seen<'_>], draw: usize, bits: usize, mut links: Links, found: &mut Alike) {
    let mut random = KeyedRandom::new(&[PURPOSE, draw as u64]);
    let places: Vec<u32> = (0..bits)
        .map(|_| random.below(64 * WORDS as u64) as u32)
        .collect();
    let drawn = |hash: &Hash| {
        places.iter().fold(0u64, |key, &bit| {
            key << 1 | (hash[bit as usize / 64] >> (bit % 64) & 1)
        })
    };
    // Key, view and index of the hash, packed into one number.
    let mut entries: Vec<u64> = Vec::with_capacity(4 * seen.len());
    for (number, (_, view)) in seen.iter().enumerate() {
        for (index, hash) in view.hashes.iter().enumerate() {
            entries.push(drawn(hash) << 40 | (number as u64) << 2 | index as u64);
        }
    }
    entries.sort_unstable();
    for alike in entries.chunk_by(|one, other| one >> 40 == other >> 40) {
        for (index, one) in alike.iter().enumerate() {
            for other in alike[index + 1..].iter().take(MOST_ALIKE) {
                // Both mirrored, or both without margin.
                if one & other & 3 != 0 {
                    continue;
                }
                let hash = |entry: u64| {
                    let number = (entry >> 2) as u32;
                    (number, &seen[number as usize].1.hashes[entry as usize & 3])
                };
                let ((one, hash), (other, another)) = (hash(*one), hash(*other));
                let differences = differences(hash, another);
                let [one_view, other_view] = [one, other].map(|number| seen[number as usize].1);
                if one_view.is_framed && other_view.is_framed {
                    continue;
                }
                let owners = [one, other].map(|number| seen[number as usize].0);
                if differences > MOST || links.root(owners[0]) == links.root(owners[1]) {
                    continue;
                }
                if differences <= SURE {
                    links.link(owners[0], owners[1]);
                    found.0.push((one, other));
                } else {
                    found.1.push((differences, one.min(other), one.max(other)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the fingerprint of a plain picture with this hash, which only its hash can match.
    fn with_hash(picture: Hash, others: [Hash; 3]) -> Fingerprint {
        let [mirrored, inside, inside_mirrored] = others;
        let view = View {
            hashes: [picture, mirrored, inside, inside_mirrored],
            is_framed: false,
            thumbnail: Box::new([0; 576]),
        };
        Fingerprint { views: vec![view] }
    }

    proptest! {
        /// The search finds everything that comparing all pairs finds.
        #[test]
        fn the_search_misses_nothing(seed: u64, flips in prop::collection::vec(prop::collection::vec(0usize..256, 0..40), 1..6)) {
            let mut random = KeyedRandom::new(&[seed]);
            let base: Hash = std::array::from_fn(|_| random.bits());
            let mut pictures = Vec::new();
            for flips in &flips {
                let mut picture = base;
                for &bit in flips {
                    picture[bit / 64] ^= 1 << (bit % 64);
                }
                let mut other = || -> Hash { std::array::from_fn(|_| random.bits()) };
                // Unchanged, as the mirror image of something, or without something's margin.
                pictures.push(match flips.len() % 3 {
                    0 => with_hash(picture, [other(), other(), other()]),
                    1 => with_hash(other(), [picture, other(), other()]),
                    _ => with_hash(other(), [other(), picture, other()]),
                });
            }
            let groups = same_pictures(&pictures, &|_| {});
            for a in 0..pictures.len() {
                for b in 0..a {
                    if pictures[a].is_same(&pictures[b]) || pictures[b].is_same(&pictures[a]) {
                        prop_assert!(groups.iter().any(|group| group.contains(&a) && group.contains(&b)));
                    }
                }
            }
        }
    }

    #[test]
    fn many_pictures_that_are_nearly_one_are_one_group_in_time() {
        let mut random = KeyedRandom::new(&[1]);
        let base: Hash = std::array::from_fn(|_| random.bits());
        let pictures: Vec<Fingerprint> = (0..5000)
            .map(|_| {
                let mut picture = base;
                for _ in 0..4 {
                    let bit = random.below(256) as usize;
                    picture[bit / 64] ^= 1 << (bit % 64);
                }
                with_hash(
                    picture,
                    std::array::from_fn(|_| std::array::from_fn(|_| random.bits())),
                )
            })
            .collect();
        let groups = same_pictures(&pictures, &|_| {});
        assert_eq!(groups, [(0..5000).collect::<Vec<_>>()]);
    }
}
