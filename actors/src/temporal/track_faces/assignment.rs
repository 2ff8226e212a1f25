//! Assignment of detected boxes to predicted ones that maximises the sum of their overlaps (Hungarian algorithm).

use fermata_vision::Rect;
use pathfinding::prelude::{Matrix, kuhn_munkres};

/// Resolution of the weights, millionths of IoU: the algorithm needs an order without NaN, and sums that do not round.
const PARTS: f32 = 1e6;

/// Returns pairs of positions (in `predicted`, in `detected`) whose IoU is above 0 and at least `least_iou`, by
/// ascending first position. Among all possible assignments it returns one with the greatest sum of IoU. Boxes must be
/// finite.
pub(super) fn assign(predicted: &[Rect], detected: &[Rect], least_iou: f32) -> Vec<(usize, usize)> {
    if predicted.is_empty() || detected.is_empty() {
        return Vec::new();
    }
    let weight =
        |(row, column): (usize, usize)| weigh(&predicted[row], &detected[column], least_iou);
    let weights = Matrix::from_fn(predicted.len(), detected.len(), weight);
    // The library requires at most as many rows as columns.
    let mut pairs: Vec<_> = if weights.rows <= weights.columns {
        kuhn_munkres(&weights).1.into_iter().enumerate().collect()
    } else {
        let by_column = kuhn_munkres(&weights.transposed()).1;
        let pairs = by_column.into_iter().enumerate();
        pairs.map(|(column, row)| (row, column)).collect()
    };
    pairs.retain(|&pair| weights[pair] > 0);
    pairs.sort_unstable();
    pairs
}

/// Returns the weight of a pair, 0 if it must not be matched.
fn weigh(predicted: &Rect, detected: &Rect, least_iou: f32) -> i64 {
    let iou = predicted.iou(detected);
    if iou > 0.0 && iou >= least_iou {
        1 + (iou.min(1.0) * PARTS) as i64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(x: f32) -> Rect {
        Rect {
            x,
            y: 0.0,
            w: 10.0,
            h: 10.0,
        }
    }

    #[test]
    fn overlaps_add_up_to_the_most_rather_than_the_first_getting_the_best() {
        // The first prediction overlaps the detection at 4 best, but then the second would get none.
        let pairs = assign(&[at(5.0), at(3.0)], &[at(4.0), at(8.0)], 0.1);
        assert_eq!(pairs, [(0, 1), (1, 0)]);
    }

    #[test]
    fn boxes_that_overlap_too_little_are_not_paired() {
        assert_eq!(assign(&[at(0.0)], &[at(6.0)], 0.3), []);
        assert_eq!(assign(&[at(0.0)], &[at(100.0)], 0.0), []);
        assert_eq!(assign(&[], &[at(0.0)], 0.3), []);
    }

    proptest! {
        #[test]
        fn no_box_is_paired_twice(
            predicted in proptest::collection::vec((-50.0..50.0_f32).prop_map(at), 0..8),
            detected in proptest::collection::vec((-50.0..50.0_f32).prop_map(at), 0..8),
        ) {
            let pairs = assign(&predicted, &detected, 0.3);
            for (index, &(row, column)) in pairs.iter().enumerate() {
                prop_assert!(predicted[row].iou(&detected[column]) >= 0.3);
                prop_assert!(pairs[..index].iter().all(|&(r, c)| r < row && c != column));
            }
        }
    }
}
