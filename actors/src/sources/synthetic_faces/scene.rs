//! The scene of a synthetic video: who is where, doing what, at each time; the room behind them; the picture at a given
//! time. Everything follows from the settings and the time, so a frame can be drawn without the preceding ones.

use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{Expression, FrameMut, GroundTruth, Rect, TrueFace};

use super::looks::{Features, Look};
use super::numbers::{Random, sine, smooth};
use super::paint::{Canvas, Rgb};
use super::person::{Light, Person, Stance};
use super::portrait;

/// Size and cast of a scene.
#[derive(Clone, Copy, Debug)]
pub(super) struct SceneSpec {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) faces: usize,
    pub(super) seed: u64,
    pub(super) crossing: bool,
    /// Time from one expression to the next.
    pub(super) every_ns: u64,
    /// Largest deviation of a channel by sensor noise.
    pub(super) noise: u8,
}

/// Time in which an expression turns into the next one, unless a third of its own time is less.
const TURN_NS: u64 = 500_000_000;
/// Number of precomputed deviations from which noisy pictures are made; a power of two.
const NOISE_LEN: usize = 1 << 16;

/// A scene to be drawn; see [`SceneSpec`].
pub(super) struct Scene {
    spec: SceneSpec,
    looks: Vec<Look>,
    /// Phases of each person's rhythms, in turns, by identity.
    phases: Vec<[f64; 8]>,
    light: Light,
    room: Vec<u8>,
    noise: Vec<i8>,
    canvas: Canvas,
}

impl Scene {
    pub(super) fn new(spec: SceneSpec) -> Self {
        let phases = |identity: usize| {
            let mut random = Random::new(spec.seed, 200 + identity as u64);
            std::array::from_fn(|_| f64::from(random.unit()))
        };
        let mut random = Random::new(spec.seed, 3);
        Self {
            looks: (0..spec.faces)
                .map(|identity| Look::new(spec.seed, identity))
                .collect(),
            phases: (0..spec.faces).map(phases).collect(),
            light: (random.between(-0.5, 0.5), random.between(-0.5, -0.25)),
            room: room(&spec),
            noise: noise(&spec),
            canvas: Canvas::default(),
            spec,
        }
    }

    /// Draws the picture at a time and returns its ground truth.
    pub(super) fn draw(&mut self, frame: &mut FrameMut, time_ns: u64) -> GroundTruth {
        let width = self.spec.width;
        let stances: Vec<Stance> = (0..self.spec.faces)
            .map(|identity| self.stance(identity, time_ns))
            .collect();
        // Larger people are nearer and hide the others.
        let mut order: Vec<usize> = (0..stances.len()).collect();
        order.sort_by(|&a, &b| stances[a].scale.total_cmp(&stances[b].scale));
        let pixels = frame.bgr_mut();
        pixels.copy_from_slice(&self.room);
        for identity in order {
            let stance = stances[identity];
            let place = stance.place(width, self.spec.height);
            let person = Person {
                look: &self.looks[identity],
                features: self.features(identity, time_ns),
                stance,
                light: self.light,
            };
            self.canvas.load(pixels, width, place);
            portrait::draw(&mut self.canvas, place, &person);
            self.canvas.store(pixels, width, place);
        }
        self.add_noise(pixels, time_ns);
        let faces = stances.iter().enumerate().map(|(identity, stance)| {
            // From the hairline to the chin.
            let chin = self.looks[identity].height;
            TrueFace {
                identity: identity as u32,
                rect: Rect {
                    x: stance.x - stance.scale,
                    y: stance.y - 0.95 * stance.scale,
                    w: 2.0 * stance.scale,
                    h: (0.95 + chin) * stance.scale,
                },
                expression: self.expression(identity, time_ns),
            }
        });
        GroundTruth {
            faces: faces.collect(),
        }
    }

    fn stance(&self, identity: usize, time_ns: u64) -> Stance {
        let spec = &self.spec;
        let time = time_ns as f64 / 1e9;
        let phases = &self.phases[identity];
        let sway = |period: f64, phase: f64| sine(time / period + phase);
        let (width, height) = (spec.width as f32, spec.height as f32);
        let (x, y, scale) = if spec.crossing {
            // From one side to the other and back in eight seconds, the second person behind the first and slightly
            // higher.
            let side = if identity == 0 { 1.0 } else { -1.0 };
            let behind = identity as f32;
            (
                width * (0.5 + 0.3 * side * sway(8.0, 0.25)),
                height * (0.48 - 0.1 * behind + 0.02 * sway(5.3, phases[2])),
                (0.15 * height).min(0.17 * width) * (1.0 - 0.2 * behind),
            )
        } else {
            let slot = width / spec.faces as f32;
            let size = (0.155 * height).min(0.27 * slot) * (1.0 - 0.06 * (identity % 2) as f32);
            let reach = if spec.faces == 1 { 0.19 } else { 0.13 };
            (
                slot * (identity as f32 + 0.5 + reach * sway(9.1, phases[1])),
                height * (0.46 + 0.05 * sway(5.3, phases[2])),
                size * (1.0 + 0.12 * sway(7.3, phases[0])),
            )
        };
        let roll = 0.075 / std::f64::consts::TAU * f64::from(sway(4.7, phases[3]));
        Stance {
            x,
            y,
            scale,
            roll: (sine(roll + 0.25), sine(roll)),
            yaw: 0.17 * sway(6.1, phases[4]),
            pitch: 0.05 * sway(5.9, phases[5]),
            blink: blink(time, 3.1 + 1.5 * phases[6], phases[7]),
        }
    }

    /// Returns a face's expression at a time: each of the seven in turn, in a different order in each round, and never
    /// one twice in a row.
    pub(super) fn expression(&self, identity: usize, time_ns: u64) -> Expression {
        self.nth_expression(identity, time_ns / self.spec.every_ns)
    }

    fn nth_expression(&self, identity: usize, number: u64) -> Expression {
        let count = EXPRESSIONS as u64;
        let (round, place) = (number / count, (number % count) as usize);
        let mut order = self.round(identity, round);
        if round > 0 && self.round(identity, round - 1)[EXPRESSIONS - 1] == order[0] {
            order.swap(0, 1);
        }
        order[place]
    }

    /// Returns the expressions in a random order (Fisher and Yates).
    fn round(&self, identity: usize, round: u64) -> [Expression; EXPRESSIONS] {
        let key = 1000 + identity as u64 + round.wrapping_mul(16);
        let mut random = Random::new(self.spec.seed, key);
        let mut order = Expression::ALL;
        for last in (1..EXPRESSIONS).rev() {
            order.swap(last, random.below(last + 1));
        }
        order
    }

    /// Returns the features of a face, interpolated around each change of its expression.
    fn features(&self, identity: usize, time_ns: u64) -> Features {
        let every = self.spec.every_ns;
        let turn = TURN_NS.min(every / 3).max(1);
        let (number, since) = (time_ns / every, time_ns % every);
        let now = Features::of(self.nth_expression(identity, number));
        let share = |ns: u64| smooth(0.5 + ns as f32 / turn as f32);
        if since < turn / 2 && number > 0 {
            let before = Features::of(self.nth_expression(identity, number - 1));
            before.towards(&now, share(since))
        } else if every - since < turn / 2 {
            let next = Features::of(self.nth_expression(identity, number + 1));
            next.towards(&now, share(every - since))
        } else {
            now
        }
    }

    fn add_noise(&self, pixels: &mut [u8], time_ns: u64) {
        if self.noise.is_empty() {
            return;
        }
        let mut random = Random::new(self.spec.seed, time_ns.wrapping_add(7));
        for row in pixels.chunks_exact_mut(self.spec.width * 3) {
            for part in row.chunks_mut(NOISE_LEN / 2) {
                let start = random.below(NOISE_LEN / 2);
                for (value, deviation) in part.iter_mut().zip(&self.noise[start..]) {
                    *value = value.saturating_add_signed(*deviation);
                }
            }
        }
    }
}

/// Returns how far the lids are shut: they close and open within a fifth of a second, once in each period.
fn blink(time: f64, period: f64, phase: f64) -> f32 {
    let turns = time / period + phase;
    let since = ((turns - turns.floor()) * period) as f32;
    smooth(((1.0 - (since - 0.1).abs() / 0.1) * 1.3).clamp(0.0, 1.0))
}

/// Draws a wall lit from one side, with out-of-focus objects.
fn room(spec: &SceneSpec) -> Vec<u8> {
    let mut random = Random::new(spec.seed, 1);
    let (width, height) = (spec.width as f32, spec.height as f32);
    let mut gray = |low: f32, high: f32, cast: (f32, f32)| -> Rgb {
        let level = random.between(low, high);
        std::array::from_fn(|_| level * random.between(cast.0, cast.1))
    };
    let near = gray(100.0, 165.0, (0.85, 1.1));
    let far = near.map(|channel| channel * 0.6);
    let things: Vec<(Rgb, [f32; 4])> = (0..5)
        .map(|index| {
            let color = gray(50.0, 190.0, (0.75, 1.15));
            let mut random = Random::new(spec.seed, 20 + index);
            let place = [
                random.between(0.0, width),
                random.between(0.0, height),
                random.between(0.1, 0.4) * width,
                random.between(0.1, 0.5) * height,
            ];
            (color, place)
        })
        .collect();
    let mut pixels = Vec::with_capacity(spec.width * spec.height * 3);
    let mut random = Random::new(spec.seed, 2);
    for row in 0..spec.height {
        for column in 0..spec.width {
            let (x, y) = (column as f32, row as f32);
            let share = 0.4 * x / width + 0.6 * y / height;
            let mut color: Rgb = std::array::from_fn(|c| near[c] + (far[c] - near[c]) * share);
            for (thing, [left, top, rx, ry]) in &things {
                let (u, v) = ((x - left) / rx, (y - top) / ry);
                let cover = (1.0 - u * u - v * v).max(0.0);
                for (channel, ink) in color.iter_mut().zip(thing) {
                    *channel += (ink - *channel) * cover * cover * 0.5;
                }
            }
            // Dithered, so that the gradients have no visible steps.
            let dither = random.unit();
            pixels.extend([2, 1, 0].map(|channel: usize| (color[channel] + dither) as u8));
        }
    }
    pixels
}

/// Returns deviations with a triangular distribution.
fn noise(spec: &SceneSpec) -> Vec<i8> {
    if spec.noise == 0 {
        return Vec::new();
    }
    let mut random = Random::new(spec.seed, 4);
    let most = f32::from(spec.noise) + 0.999;
    (0..NOISE_LEN)
        .map(|_| ((random.unit() - random.unit()) * most) as i8)
        .collect()
}
