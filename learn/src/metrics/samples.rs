//! Metrics of bootstrap samples, drawn with replacement from the rows of models; all models use the same samples. Owns
//! how rows are drawn and how a sample's metrics are summed; intervals are in [`super::bootstrap`].

use super::calibration_error::{BINS, Edges, place};
use super::rows::{Rows, brier};
use crate::keyed_random::KeyedRandom;
use crate::on_all_cores::in_pieces;

/// Names of the metrics of a sample.
pub(super) const NAMES: [&str; 5] = ["accuracy", "macro_f1", "nll", "brier", "ece"];

/// Value of each of [`NAMES`].
pub(super) type Values = [f64; NAMES.len()];

/// Samples that are measured together, in one pass over the rows with arithmetic that the compiler vectorises. Each
/// sample's sums are accumulated row by row, so that the result does not depend on how many samples are grouped.
const TOGETHER: usize = 8;

/// Number of times a row is drawn in each of the samples.
type Counts = [u16; TOGETHER];

/// Values of a row that a sample's metrics need.
#[derive(Clone, Copy)]
struct Sampled {
    nll: f64,
    brier: f64,
    confidence: f64,
    /// Bin of the calibration error.
    bin: u32,
    /// Index (label · classes + prediction) · bins + bin.
    slot: u32,
}

/// Rows of a model, compact and in order: a pass reads all of them once, front to back.
struct Sample {
    rows: Vec<Sampled>,
    classes: usize,
}

impl Sample {
    fn of(rows: &Rows<'_>) -> Self {
        let classes = rows.classes();
        let pieces = in_pieces(rows.len(), 1 << 14, |piece| {
            let sampled = piece.map(|row| {
                let bin = place(rows.confidence(row), Edges::Default);
                let cell = rows.label(row) * classes + rows.predicted[row];
                Sampled {
                    nll: rows.nll[row],
                    brier: brier(rows, row),
                    confidence: rows.confidence(row),
                    bin: bin as u32,
                    slot: (cell * BINS + bin) as u32,
                }
            });
            sampled.collect::<Vec<_>>()
        });
        Self {
            rows: pieces.concat(),
            classes,
        }
    }
}

/// Sums over the drawn rows of each sample; one vector lane per sample.
struct Sums {
    classes: usize,
    nll: [f64; TOGETHER],
    brier: [f64; TOGETHER],
    /// Sums by bin.
    confidence: [[f64; TOGETHER]; BINS],
    /// Counts by label, prediction and bin. 32 bits are enough: that many rows would not fit into memory.
    drawn: Vec<[u32; TOGETHER]>,
}

impl Sums {
    fn of_none(classes: usize) -> Self {
        Self {
            classes,
            nll: [0.0; TOGETHER],
            brier: [0.0; TOGETHER],
            confidence: [[0.0; TOGETHER]; BINS],
            drawn: vec![[0; TOGETHER]; classes * classes * BINS],
        }
    }

    /// Adds rows, each as many times as it was drawn.
    fn add(&mut self, rows: &[Sampled], counts: &[Counts]) {
        for (row, counts) in rows.iter().zip(counts) {
            let times = counts.map(f64::from);
            let confidence = &mut self.confidence[row.bin as usize];
            let drawn = &mut self.drawn[row.slot as usize];
            for lane in 0..TOGETHER {
                self.nll[lane] += times[lane] * row.nll;
                self.brier[lane] += times[lane] * row.brier;
                confidence[lane] += times[lane] * row.confidence;
                drawn[lane] += u32::from(counts[lane]);
            }
        }
    }

    /// Returns accuracy, macro-F1, NLL, Brier score and calibration error of one sample.
    fn values(&self, lane: usize) -> Values {
        let mut cells = vec![0u64; self.classes * self.classes];
        let mut right_in = [0u64; BINS];
        for (slot, drawn) in self.drawn.iter().enumerate() {
            let (cell, bin) = (slot / BINS, slot % BINS);
            cells[cell] += u64::from(drawn[lane]);
            if cell.is_multiple_of(self.classes + 1) {
                right_in[bin] += u64::from(drawn[lane]);
            }
        }
        let all = cells.iter().sum::<u64>() as f64;
        let hits = |class: usize| cells[class * (self.classes + 1)];
        let right: u64 = (0..self.classes).map(hits).sum();
        let f1 = (0..self.classes).map(|class| {
            let of_label = &cells[class * self.classes..(class + 1) * self.classes];
            let of_prediction = (0..self.classes).map(|label| cells[label * self.classes + class]);
            let both = of_label.iter().sum::<u64>() + of_prediction.sum::<u64>();
            if both == 0 {
                0.0
            } else {
                2.0 * hits(class) as f64 / both as f64
            }
        });
        let bins = right_in.iter().zip(&self.confidence);
        let error = bins.map(|(&right, confidence)| (right as f64 - confidence[lane]).abs());
        [
            right as f64 / all,
            f1.sum::<f64>() / self.classes as f64,
            self.nll[lane] / all,
            self.brier[lane] / all,
            error.sum::<f64>() / all,
        ]
    }
}

/// Number of rows from which each row's count is drawn independently (Poisson with mean 1: Hanley and MacGibbon 2006;
/// the number of rows in a sample then varies by 1/√N, 0.3 % and less). Drawing row by row would access memory at
/// random a thousand times for each row.
pub(super) const MANY: usize = 1 << 17;

/// Draws samples with as many rows as there are.
struct Draw {
    rows: usize,
    random: [KeyedRandom; TOGETHER],
}

impl Draw {
    fn new(seed: u64, first_sample: usize, rows: usize) -> Self {
        let random = |lane: usize| KeyedRandom::new(&[seed, (first_sample + lane) as u64]);
        Self {
            rows,
            random: std::array::from_fn(random),
        }
    }

    /// Returns how many rows get their counts at once: few enough to stay in the cache, or all where each draw may hit
    /// any row.
    fn at_once(&self) -> usize {
        if self.rows >= MANY {
            1 << 12
        } else {
            self.rows
        }
    }

    /// Fills in how often each of the next rows is drawn.
    fn next(&mut self, counts: &mut [Counts]) {
        if self.rows >= MANY {
            draw_each(&mut self.random, counts);
            return;
        }
        counts.fill(Counts::default());
        for (lane, random) in self.random.iter_mut().enumerate() {
            for _ in 0..counts.len() {
                let row = random.below(counts.len() as u64) as usize;
                counts[row][lane] = counts[row][lane].saturating_add(1);
            }
        }
    }
}

/// Draws counts from a Poisson distribution with mean 1, each from 16 random bits: probabilities are exact to 1/65,536.
fn draw_each(random: &mut [KeyedRandom; TOGETHER], counts: &mut [Counts]) {
    // How many of the 65,536 numbers stand for at most 0, 1, 2, …
    const AT_MOST: [u16; 8] = [
        24_109, 48_219, 60_273, 64_292, 65_296, 65_497, 65_531, 65_535,
    ];
    for four in counts.chunks_mut(4) {
        let mut bits: [u64; TOGETHER] = std::array::from_fn(|lane| random[lane].bits());
        for drawn in four {
            *drawn = Counts::default();
            for most in AT_MOST {
                for (drawn, bits) in drawn.iter_mut().zip(&bits) {
                    *drawn += u16::from(*bits as u16 >= most);
                }
            }
            bits = bits.map(|bits| bits >> 16);
        }
    }
}

/// Metrics of a model on all rows, and on each sample of them.
pub(crate) struct Drawn {
    pub(super) all: Values,
    pub(super) samples: Vec<Values>,
}

/// Measures models on the same samples of as many rows as each has. The same seed draws the same rows.
pub(crate) fn draw(models: &[&Rows<'_>], samples: usize, seed: u64) -> Vec<Drawn> {
    let rows = models.first().map_or(0, |rows| rows.len());
    debug_assert!(models.iter().all(|model| model.len() == rows));
    let models: Vec<Sample> = models.iter().map(|rows| Sample::of(rows)).collect();
    let pieces = in_pieces(samples, TOGETHER, |piece| {
        let mut draw = Draw::new(seed, piece.start, rows);
        let none = models.iter().map(|model| Sums::of_none(model.classes));
        let mut sums: Vec<Sums> = none.collect();
        let mut counts = vec![Counts::default(); draw.at_once()];
        for first in (0..rows).step_by(counts.len().max(1)) {
            let next = first..(first + counts.len()).min(rows);
            let counts = &mut counts[..next.len()];
            draw.next(counts);
            for (model, sums) in models.iter().zip(&mut sums) {
                sums.add(&model.rows[next.clone()], counts);
            }
        }
        let of_model = |sums: &Sums| -> Vec<Values> {
            (0..piece.len()).map(|lane| sums.values(lane)).collect()
        };
        sums.iter().map(of_model).collect::<Vec<_>>()
    });
    let each = models.iter().enumerate().map(|(number, model)| {
        let mut once = Sums::of_none(model.classes);
        once.add(&model.rows, &vec![[1; TOGETHER]; rows]);
        Drawn {
            all: once.values(0),
            samples: pieces
                .iter()
                .flat_map(|models| models[number].iter().copied())
                .collect(),
        }
    });
    each.collect()
}

impl Drawn {
    /// Returns this model's metrics minus another's, measured on the same samples.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let minus = |one: &Values, other: &Values| -> Values {
            std::array::from_fn(|index| one[index] - other[index])
        };
        let samples = self.samples.iter().zip(&other.samples);
        Self {
            all: minus(&self.all, &other.all),
            samples: samples.map(|(one, other)| minus(one, other)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Predictions;

    /// Returns the metrics of one sample, added up row by row.
    fn alone(rows: &Rows<'_>, counts: &[u16]) -> Values {
        let classes = rows.classes();
        let (mut nll, mut brier_sum) = (0.0, 0.0);
        let mut cells = vec![0u64; classes * classes];
        let mut bins = [(0u64, 0.0); BINS];
        for (row, &count) in counts.iter().enumerate() {
            let times = f64::from(count);
            nll += times * rows.nll[row];
            brier_sum += times * brier(rows, row);
            cells[rows.label(row) * classes + rows.predicted[row]] += u64::from(count);
            let bin = &mut bins[place(rows.confidence(row), Edges::Default)];
            bin.0 += u64::from(count) * u64::from(rows.is_right(row));
            bin.1 += times * rows.confidence(row);
        }
        let all = cells.iter().sum::<u64>() as f64;
        let hits = |class: usize| cells[class * (classes + 1)] as f64;
        let f1 = (0..classes).map(|class| {
            let label: u64 = (0..classes)
                .map(|other| cells[class * classes + other])
                .sum();
            let said: u64 = (0..classes)
                .map(|other| cells[other * classes + class])
                .sum();
            2.0 * hits(class) / ((label + said).max(1)) as f64
        });
        let error = bins.iter().map(|bin| (bin.0 as f64 - bin.1).abs());
        [
            (0..classes).map(hits).sum::<f64>() / all,
            f1.sum::<f64>() / classes as f64,
            nll / all,
            brier_sum / all,
            error.sum::<f64>() / all,
        ]
    }

    /// Samples measured together give bit-identical results to each alone, whatever the number of samples and threads.
    #[test]
    fn samples_that_go_together_come_out_as_each_alone() {
        for rows in [1, 37, MANY + 3] {
            let mut random = KeyedRandom::new(&[7]);
            let logits = (0..3 * rows).map(|_| 2.0 * random.normal()).collect();
            let labels: Vec<i64> = (0..rows).map(|_| random.below(3) as i64).collect();
            let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
            let predictions = Predictions::new(classes, logits, &labels).unwrap();
            let measured = Rows::of(&predictions);
            // A number that is not a multiple of the group size.
            let found = draw(&[&measured, &measured], 11, 5);
            assert_eq!(found[0].all, alone(&measured, &vec![1; rows]));
            for sample in [0, 7, 8, 10] {
                let mut draw = Draw::new(5, sample, rows);
                let mut counts = Vec::new();
                while counts.len() < rows {
                    let mut next = vec![Counts::default(); draw.at_once().min(rows - counts.len())];
                    draw.next(&mut next);
                    counts.extend(next.iter().map(|counts| counts[0]));
                }
                let expected = alone(&measured, &counts);
                assert_eq!(found[0].samples[sample], expected, "{rows} rows");
                assert_eq!(found[1].samples[sample], expected);
            }
        }
    }

    /// Returns how often each of `MANY` rows is drawn in a sample.
    fn drawn(seed: u64, sample: usize) -> Vec<u16> {
        let mut counts = vec![Counts::default(); MANY];
        Draw::new(seed, sample, MANY).next(&mut counts);
        counts.iter().map(|counts| counts[0]).collect()
    }

    #[test]
    fn many_rows_are_drawn_as_poisson_says() {
        let counts = drawn(3, 0);
        let share = |wanted: u16| {
            counts.iter().filter(|&&count| count == wanted).count() as f64 / MANY as f64
        };
        let mut expected = (-1f64).exp();
        for count in 0..6 {
            // Five standard deviations.
            let near = 5.0 * (expected / MANY as f64).sqrt();
            assert!(
                (share(count) - expected).abs() < near,
                "{count}: {}",
                share(count)
            );
            expected /= f64::from(count + 1);
        }
        assert_ne!(counts, drawn(3, 1));
    }
}
