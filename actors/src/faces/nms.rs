//! Detection candidates, and non-maximum suppression of overlapping boxes.

use fermata_vision::{Landmarks, Rect};

/// A box that may hold a face, in pixels of the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// The box.
    pub(super) rect: Rect,
    /// Facial landmarks, if the detector provides them.
    pub(super) landmarks: Option<Landmarks>,
    /// Confidence, 0..1.
    pub(super) score: f32,
}

impl Candidate {
    /// Returns false if the detector computed NaN or infinity (NaN weights, an overflow).
    pub(super) fn is_finite(&self) -> bool {
        let Rect { x, y, w, h } = self.rect;
        let points = self.landmarks.iter().flatten();
        points.fold((x + y + w + h + self.score).is_finite(), |finite, point| {
            finite && (point.x + point.y).is_finite()
        })
    }
}

/// Greedy non-maximum suppression in place: keeps the best box, drops those whose intersection over union with it
/// exceeds `most_iou`, and so on. The remaining boxes are sorted by descending score, ties by position, so that the
/// result does not depend on the order of the candidates.
pub(super) fn suppress(candidates: &mut Vec<Candidate>, most_iou: f32) {
    candidates.sort_unstable_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        let by_row = || a.rect.y.total_cmp(&b.rect.y);
        let by_column = || a.rect.x.total_cmp(&b.rect.x);
        by_score.then_with(by_row).then_with(by_column)
    });
    let mut kept = 0;
    for next in 0..candidates.len() {
        let candidate = candidates[next];
        let better = &candidates[..kept];
        if better
            .iter()
            .all(|other| other.rect.iou(&candidate.rect) <= most_iou)
        {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x: f32, score: f32) -> Candidate {
        let rect = Rect {
            x,
            y: 0.0,
            w: 10.0,
            h: 10.0,
        };
        Candidate {
            rect,
            landmarks: None,
            score,
        }
    }

    #[test]
    fn the_best_of_overlapping_boxes_stays_and_distant_boxes_stay() {
        let mut candidates = vec![
            candidate(2.0, 0.7),
            candidate(0.0, 0.9),
            candidate(50.0, 0.8),
        ];
        suppress(&mut candidates, 0.3);
        assert_eq!(candidates, [candidate(0.0, 0.9), candidate(50.0, 0.8)]);
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing() {
        // A chain: each overlaps its neighbour by 4/16; the ends do not overlap.
        let mut candidates = vec![
            candidate(0.0, 0.9),
            candidate(6.0, 0.8),
            candidate(12.0, 0.7),
        ];
        suppress(&mut candidates, 0.2);
        assert_eq!(candidates, [candidate(0.0, 0.9), candidate(12.0, 0.7)]);
    }

    #[test]
    fn an_overlap_of_exactly_the_limit_is_allowed() {
        let mut candidates = vec![candidate(0.0, 0.9), candidate(5.0, 0.8)];
        let limit = candidates[0].rect.iou(&candidates[1].rect);
        suppress(&mut candidates, limit);
        assert_eq!(candidates.len(), 2);
        suppress(&mut candidates, limit - 1e-4);
        assert_eq!(candidates.len(), 1);
    }

    #[test]
    fn the_order_of_the_candidates_does_not_matter() {
        let mut forward: Vec<_> = (0..40).map(|i| candidate(i as f32 * 7.0, 0.5)).collect();
        let mut backward: Vec<_> = forward.iter().rev().copied().collect();
        suppress(&mut forward, 0.1);
        suppress(&mut backward, 0.1);
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), 20);
    }

    #[test]
    fn nonsense_is_recognised() {
        assert!(candidate(0.0, 0.5).is_finite());
        assert!(!candidate(0.0, f32::NAN).is_finite());
        assert!(!candidate(f32::INFINITY, 0.5).is_finite());
    }
}
