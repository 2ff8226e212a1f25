//! Aligns one small grayscale picture with another by shift, rotation and scale, and returns how well they agree.
//! Insensitive to light and contrast, since values are normalised by their surroundings. Owns the fit (Lucas and Kanade
//! 1981, Gauss-Newton over a similarity transform).

/// Side of a picture in pixels.
pub(super) const SIDE: usize = 24;
const PIXELS: usize = SIDE * SIDE;
/// Radii of the windows for a value's local mean and deviation.
const MEAN_RADIUS: usize = 3;
const DEVIATION_RADIUS: usize = 5;
/// Term added to the deviation, in steps of 1/255, so that noise in plain areas stays small.
const LEAST_DEVIATION: f32 = 4.0;
/// Blur radius and number of steps in each round.
const ROUNDS: [(usize, usize); 2] = [(2, 6), (1, 6)];
/// Limits of a small change: of the scale, the sine of the rotation, and the shift in pixels.
const MOST_CHANGE: f32 = 0.2;
const MOST_SHIFT: f32 = 4.0;

type Plane = [f32; PIXELS];

/// Picture prepared for alignment: locally normalised, and blurred for each round.
pub(super) struct Aligned {
    rounds: [Plane; 2],
}

/// Similarity transform between places of two pictures, around the centre: [scale − 1, rotation, right, down].
type Similarity = [f32; 4];

impl Aligned {
    /// Prepares a picture's values, or those of its mirror image.
    pub(super) fn of(values: &[u8; PIXELS], is_mirrored: bool) -> Self {
        let plane: Plane = std::array::from_fn(|place| {
            let (y, x) = (place / SIDE, place % SIDE);
            let x = if is_mirrored { SIDE - 1 - x } else { x };
            f32::from(values[y * SIDE + x])
        });
        let mean = blurred(&plane, MEAN_RADIUS);
        let apart: Plane = std::array::from_fn(|place| plane[place] - mean[place]);
        let squares: Plane = std::array::from_fn(|place| apart[place] * apart[place]);
        let variance = blurred(&squares, DEVIATION_RADIUS);
        let compared: Plane = std::array::from_fn(|place| {
            apart[place] / (variance[place].max(0.0).sqrt() + LEAST_DEVIATION)
        });
        Self {
            rounds: ROUNDS.map(|(radius, _)| blurred(&compared, radius)),
        }
    }

    /// Returns the correlation with the other picture where they overlap after alignment; −1 if alignment fails.
    pub(super) fn correlation(&self, other: &Self) -> f32 {
        let mut change = [0.0; 4];
        for (round, (_, steps)) in ROUNDS.into_iter().enumerate() {
            let (still, moved) = (&self.rounds[round], &other.rounds[round]);
            let (across, down) = slopes(moved);
            for _ in 0..steps {
                if !improve(&mut change, still, [moved, &across, &down]) {
                    return -1.0;
                }
            }
        }
        let last = ROUNDS.len() - 1;
        let mut pairs = Vec::with_capacity(PIXELS);
        for place in 0..PIXELS {
            if let Some(from) = source(&change, place) {
                pairs.push((
                    self.rounds[last][place],
                    interpolated(&other.rounds[last], from),
                ));
            }
        }
        if pairs.len() < PIXELS / 2 {
            return -1.0;
        }
        correlation(&pairs)
    }
}

/// Returns the mean of the square around each value; beyond the edges the outermost value is repeated.
fn blurred(plane: &Plane, radius: usize) -> Plane {
    let reach = radius as isize;
    let along = |plane: &Plane, stride: usize, other: usize| -> Plane {
        let mut out = [0.0; PIXELS];
        for line in 0..SIDE {
            let at = |place: isize| {
                plane[line * other + place.clamp(0, SIDE as isize - 1) as usize * stride]
            };
            let mut sum: f32 = (-reach..=reach).map(at).sum();
            for place in 0..SIDE as isize {
                out[line * other + place as usize * stride] = sum / (2 * radius + 1) as f32;
                sum += at(place + reach + 1) - at(place - reach);
            }
        }
        out
    };
    along(&along(plane, 1, SIDE), SIDE, 1)
}

/// Returns the central differences across and down; at the edges the difference to the only neighbour.
fn slopes(plane: &Plane) -> (Plane, Plane) {
    let slope = |place: usize, index: usize, stride: usize| match index {
        0 => plane[place + stride] - plane[place],
        index if index == SIDE - 1 => plane[place] - plane[place - stride],
        _ => (plane[place + stride] - plane[place - stride]) / 2.0,
    };
    (
        std::array::from_fn(|place| slope(place, place % SIDE, 1)),
        std::array::from_fn(|place| slope(place, place / SIDE, SIDE)),
    )
}

/// Returns column and row relative to the centre.
fn from_centre(place: usize) -> [f32; 2] {
    let centre = (SIDE as f32 - 1.0) / 2.0;
    [place % SIDE, place / SIDE].map(|index| index as f32 - centre)
}

/// Returns column and row in the other picture that are mapped to a place, if they are inside it.
fn source([scale, turn, right, down]: &Similarity, place: usize) -> Option<[f32; 2]> {
    let centre = (SIDE as f32 - 1.0) / 2.0;
    let [x, y] = from_centre(place);
    let column = centre + (1.0 + scale) * x - turn * y + right;
    let row = centre + turn * x + (1.0 + scale) * y + down;
    let inside = 1.0..=SIDE as f32 - 2.0;
    (inside.contains(&column) && inside.contains(&row)).then_some([column, row])
}

fn interpolated(plane: &Plane, [column, row]: [f32; 2]) -> f32 {
    let (x, y) = (column as usize, row as usize);
    let (right, below) = (column - x as f32, row - y as f32);
    let at = |y: usize, x: usize| plane[y.min(SIDE - 1) * SIDE + x.min(SIDE - 1)];
    let upper = at(y, x) * (1.0 - right) + at(y, x + 1) * right;
    let lower = at(y + 1, x) * (1.0 - right) + at(y + 1, x + 1) * right;
    upper * (1.0 - below) + lower * below
}

/// Performs one Gauss-Newton step on the least squares of still − gain · (moved + J·δ), each without its mean. Returns
/// false if the change is no longer small.
fn improve(change: &mut Similarity, still: &Plane, [moved, across, down]: [&Plane; 3]) -> bool {
    // Still, moved, and the derivative for each component of the change.
    let mut rows: Vec<[f32; 6]> = Vec::with_capacity(PIXELS);
    for (place, value) in still.iter().enumerate() {
        let Some(from) = source(change, place) else {
            continue;
        };
        let [x, y] = from_centre(place);
        let (right, below) = (interpolated(across, from), interpolated(down, from));
        rows.push([
            *value,
            interpolated(moved, from),
            right * x + below * y,
            below * x - right * y,
            right,
            below,
        ]);
    }
    if rows.len() < PIXELS / 2 {
        return false;
    }
    let mut means = [0.0f32; 6];
    for row in &rows {
        for (mean, value) in means.iter_mut().zip(row) {
            *mean += value / rows.len() as f32;
        }
    }
    let mut products = [[0.0f32; 6]; 6];
    for row in &rows {
        let apart: [f32; 6] = std::array::from_fn(|column| row[column] - means[column]);
        for (one, products) in apart.iter().zip(&mut products) {
            for (other, product) in apart.iter().zip(products) {
                *product += one * other;
            }
        }
    }
    let gain = if products[0][1] > 0.0 && products[1][1] > 0.0 {
        (products[0][1] / products[1][1]).clamp(0.7, 1.4)
    } else {
        1.0
    };
    let trace: f32 = (2..6).map(|index| products[index][index]).sum();
    let mut system = [[0.0; 5]; 4];
    for (row, equation) in system.iter_mut().enumerate() {
        for (column, value) in equation.iter_mut().take(4).enumerate() {
            *value = products[row + 2][column + 2];
        }
        equation[row] += 1e-3 * trace / 4.0 + f32::MIN_POSITIVE;
        equation[4] = products[row + 2][0] / gain - products[row + 2][1];
    }
    for (part, step) in change.iter_mut().zip(solved(system)) {
        *part += step;
    }
    let [scale, turn, right, down] = change.map(f32::abs);
    scale <= MOST_CHANGE && turn <= MOST_CHANGE && right <= MOST_SHIFT && down <= MOST_SHIFT
}

/// Solves four equations with a positive definite matrix; the right-hand side is in the last column.
fn solved(mut system: [[f32; 5]; 4]) -> [f32; 4] {
    for pivot in 0..4 {
        let line = system[pivot];
        for equation in system.iter_mut().skip(pivot + 1) {
            let factor = equation[pivot] / line[pivot];
            for (value, above) in equation.iter_mut().zip(line) {
                *value -= factor * above;
            }
        }
    }
    let mut found = [0.0; 4];
    for row in (0..4).rev() {
        let known: f32 = (row + 1..4)
            .map(|column| system[row][column] * found[column])
            .sum();
        found[row] = (system[row][4] - known) / system[row][row];
    }
    found
}

fn correlation(pairs: &[(f32, f32)]) -> f32 {
    let count = pairs.len() as f32;
    let one = pairs.iter().map(|pair| pair.0).sum::<f32>() / count;
    let other = pairs.iter().map(|pair| pair.1).sum::<f32>() / count;
    let mut sums = [0.0f32; 3];
    for pair in pairs {
        let (a, b) = (pair.0 - one, pair.1 - other);
        sums[0] += a * b;
        sums[1] += a * a;
        sums[2] += b * b;
    }
    sums[0] / (sums[1] * sums[2]).sqrt().max(f32::MIN_POSITIVE)
}
