//! Looks of invented people, and the effect of each expression on a face. Lengths are in halves of the face's width.
//! Draws nothing itself.

use fermata_vision::Expression;

use super::numbers::Random;
use super::paint::Rgb;

/// Skin colours, from light to dark.
const SKINS: [Rgb; 6] = [
    [242.0, 206.0, 178.0],
    [228.0, 183.0, 148.0],
    [205.0, 154.0, 116.0],
    [172.0, 120.0, 84.0],
    [140.0, 95.0, 66.0],
    [116.0, 78.0, 56.0],
];
/// Hair colours: black, brown, light brown, blond, red, gray.
const HAIRS: [Rgb; 6] = [
    [38.0, 28.0, 24.0],
    [74.0, 48.0, 30.0],
    [120.0, 80.0, 44.0],
    [196.0, 160.0, 96.0],
    [140.0, 66.0, 34.0],
    [150.0, 146.0, 142.0],
];
const IRISES: [Rgb; 4] = [
    [70.0, 44.0, 28.0],
    [60.0, 90.0, 120.0],
    [70.0, 100.0, 70.0],
    [50.0, 34.0, 24.0],
];

/// Hair styles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hair {
    Short,
    Long,
    Receding,
    Fringe,
}

/// What stays the same of a person from frame to frame.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) skin: Rgb,
    pub(super) hair: Rgb,
    pub(super) iris: Rgb,
    pub(super) shirt: Rgb,
    pub(super) style: Hair,
    /// Half the height of the head.
    pub(super) height: f32,
    pub(super) jaw: f32,
    pub(super) eye_x: f32,
    pub(super) eye_y: f32,
    pub(super) eye_width: f32,
    pub(super) brow: f32,
    pub(super) brow_y: f32,
    pub(super) nose: f32,
    pub(super) nose_y: f32,
    pub(super) mouth: f32,
    pub(super) mouth_y: f32,
    pub(super) lip: f32,
    /// Opacity of the beard.
    pub(super) beard: f32,
}

impl Look {
    /// Creates the person with this number under a seed. People of one seed differ in skin and hair.
    pub(super) fn new(seed: u64, identity: usize) -> Self {
        let mut random = Random::new(seed, 100 + identity as u64);
        let skin = SKINS[(Random::new(seed, 50).below(6) + 5 * identity) % 6];
        // Fair hair and eyes with dark skin are rare, and would hide the brows that detectors look for.
        let dark = skin[0] < 180.0;
        let hair = HAIRS[random.below(if dark { 2 } else { 6 })];
        let iris = IRISES[if dark { 0 } else { random.below(4) }];
        let style = match (Random::new(seed, 60).below(4) + identity) % 4 {
            0 => Hair::Short,
            1 => Hair::Long,
            2 => Hair::Receding,
            _ => Hair::Fringe,
        };
        let may_have_beard = matches!(style, Hair::Short | Hair::Receding);
        Self {
            skin,
            hair,
            iris,
            style,
            height: random.between(1.30, 1.38),
            jaw: random.between(0.10, 0.22),
            eye_x: random.between(0.345, 0.385),
            eye_y: random.between(-0.11, -0.06),
            eye_width: random.between(0.18, 0.21),
            brow: random.between(0.035, 0.06),
            brow_y: random.between(0.24, 0.28),
            nose: random.between(0.14, 0.18),
            nose_y: random.between(0.36, 0.42),
            mouth: random.between(0.32, 0.38),
            mouth_y: random.between(0.73, 0.78),
            lip: random.between(0.045, 0.08),
            beard: if may_have_beard && random.unit() < 0.5 {
                random.between(0.2, 0.5)
            } else {
                0.0
            },
            shirt: std::array::from_fn(|_| random.between(40.0, 180.0)),
        }
    }
}

/// Facial features that an expression moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// Inner ends of the brows, upwards.
    pub(super) brow_inner: f32,
    /// Outer ends of the brows, upwards.
    pub(super) brow_outer: f32,
    /// Brows towards each other.
    pub(super) frown: f32,
    /// How far the eyes are open; 1 at rest.
    pub(super) eye: f32,
    /// Inner corners of the eyes, upwards.
    pub(super) eye_tilt: f32,
    /// How far the lower lids are up, 0..1.
    pub(super) lower_lid: f32,
    /// Width of the mouth; 1 at rest.
    pub(super) mouth: f32,
    /// Corners of the mouth, upwards.
    pub(super) corners: f32,
    /// Opening of the mouth.
    pub(super) open: f32,
    /// How much of the teeth shows, 0..1.
    pub(super) teeth: f32,
    /// Upper lip, upwards.
    pub(super) upper_lip: f32,
    /// Depth of the folds from nose to mouth, 0..1.
    pub(super) folds: f32,
    /// Wrinkles between the eyes, 0..1.
    pub(super) wrinkles: f32,
}

const NEUTRAL: Features = Features {
    brow_inner: 0.0,
    brow_outer: 0.0,
    frown: 0.0,
    eye: 1.0,
    eye_tilt: 0.0,
    lower_lid: 0.05,
    mouth: 1.0,
    corners: 0.0,
    open: 0.0,
    teeth: 0.0,
    upper_lip: 0.0,
    folds: 0.12,
    wrinkles: 0.0,
};

impl Features {
    /// Returns the features of an expression, after the action units of P. Ekman and W. Friesen, "Facial Action Coding
    /// System", 1978.
    pub(super) fn of(expression: Expression) -> Self {
        match expression {
            Expression::Angry => Self {
                brow_inner: -0.19,
                brow_outer: 0.06,
                frown: 0.09,
                eye: 0.85,
                eye_tilt: -0.06,
                lower_lid: 0.3,
                mouth: 0.9,
                corners: -0.07,
                folds: 0.5,
                wrinkles: 0.8,
                ..NEUTRAL
            },
            Expression::Disgust => Self {
                brow_inner: -0.08,
                brow_outer: -0.02,
                frown: 0.04,
                eye: 0.55,
                eye_tilt: -0.01,
                lower_lid: 0.5,
                mouth: 0.9,
                corners: -0.07,
                open: 0.06,
                teeth: 0.8,
                upper_lip: 0.07,
                folds: 0.9,
                wrinkles: 1.0,
            },
            Expression::Fear => Self {
                brow_inner: 0.14,
                brow_outer: 0.02,
                frown: 0.05,
                eye: 1.35,
                eye_tilt: 0.03,
                lower_lid: 0.0,
                mouth: 1.05,
                corners: -0.08,
                open: 0.15,
                teeth: 0.7,
                folds: 0.2,
                ..NEUTRAL
            },
            Expression::Happy => Self {
                brow_inner: 0.02,
                brow_outer: 0.02,
                frown: -0.01,
                eye: 0.8,
                lower_lid: 0.45,
                mouth: 1.3,
                corners: 0.17,
                open: 0.13,
                teeth: 1.0,
                upper_lip: 0.02,
                folds: 0.9,
                ..NEUTRAL
            },
            Expression::Sad => Self {
                brow_inner: 0.15,
                brow_outer: -0.08,
                frown: 0.04,
                eye: 0.72,
                eye_tilt: 0.06,
                lower_lid: 0.15,
                mouth: 0.9,
                corners: -0.16,
                upper_lip: -0.02,
                folds: 0.3,
                ..NEUTRAL
            },
            Expression::Surprise => Self {
                brow_inner: 0.11,
                brow_outer: 0.11,
                frown: -0.02,
                eye: 1.38,
                lower_lid: 0.0,
                mouth: 0.72,
                corners: -0.01,
                open: 0.23,
                teeth: 0.3,
                folds: 0.1,
                ..NEUTRAL
            },
            Expression::Neutral => NEUTRAL,
        }
    }

    /// Interpolates between two expressions: `share` is 0 at `self` and 1 at `other`.
    pub(super) fn towards(&self, other: &Self, share: f32) -> Self {
        let mix = |from: f32, to: f32| from + (to - from) * share;
        Self {
            brow_inner: mix(self.brow_inner, other.brow_inner),
            brow_outer: mix(self.brow_outer, other.brow_outer),
            frown: mix(self.frown, other.frown),
            eye: mix(self.eye, other.eye),
            eye_tilt: mix(self.eye_tilt, other.eye_tilt),
            lower_lid: mix(self.lower_lid, other.lower_lid),
            mouth: mix(self.mouth, other.mouth),
            corners: mix(self.corners, other.corners),
            open: mix(self.open, other.open),
            teeth: mix(self.teeth, other.teeth),
            upper_lip: mix(self.upper_lip, other.upper_lip),
            folds: mix(self.folds, other.folds),
            wrinkles: mix(self.wrinkles, other.wrinkles),
        }
    }
}
