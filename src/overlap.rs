//! The overlap of two boxes of a table.

/// Returns the intersection over union of two boxes `[x, y, width, height]`, 0 to 1; 0 if either is not a valid box.
pub(crate) fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let overlap = |from: usize| {
        let end = (a[from] + a[from + 2]).min(b[from] + b[from + 2]);
        (end - a[from].max(b[from])).max(0.0)
    };
    let both = overlap(0) * overlap(1);
    let area = |rect: [f64; 4]| rect[2].max(0.0) * rect[3].max(0.0);
    let either = area(a) + area(b) - both;
    let is_sound = a.iter().chain(&b).all(|side| side.is_finite());
    if is_sound && either > 0.0 {
        both / either
    } else {
        0.0
    }
}
