//! A person to be drawn: identity, position of the head, and painting in the head's coordinates. `portrait` does the
//! painting.

use super::looks::{Features, Look};
use super::paint::{Canvas, Egg, Glow, Oval, Rgb, Shape, Space, filter};

/// Position and pose of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stance {
    /// Centre of the head, horizontally, in pixels.
    pub(super) x: f32,
    /// Centre of the head, vertically, in pixels.
    pub(super) y: f32,
    /// Half the width of the face, in pixels.
    pub(super) scale: f32,
    /// Cosine and sine of the tilt towards a shoulder.
    pub(super) roll: (f32, f32),
    /// Sine of the turn to a side.
    pub(super) yaw: f32,
    /// Sine of the nod, downwards.
    pub(super) pitch: f32,
    /// How far the lids are shut, 0..1.
    pub(super) blink: f32,
}

impl Stance {
    /// Returns the part of the picture that the person may touch as left, top, right and bottom; right and bottom are
    /// exclusive.
    pub(super) fn place(&self, width: usize, height: usize) -> [usize; 4] {
        let (reach, head) = (2.35 * self.scale, 1.9 * self.scale);
        // The conversion to an integer saturates.
        [
            ((self.x - reach) as usize).min(width),
            ((self.y - head) as usize).min(height),
            ((self.x + reach) as usize).min(width),
            height,
        ]
    }
}

/// Direction of the light: rightwards, downwards.
pub(super) type Light = (f32, f32);

/// A person with an expression, a pose and a light.
pub(super) struct Person<'a> {
    pub(super) look: &'a Look,
    pub(super) features: Features,
    pub(super) stance: Stance,
    pub(super) light: Light,
}

/// A person being painted on the canvas in the coordinates of the head.
pub(super) struct Portrait<'a> {
    pub(super) canvas: &'a mut Canvas,
    /// Coordinates that rotate with the head; (0, 0) is its centre, 1 half its width.
    pub(super) space: Space,
    pub(super) upright: Space,
    pub(super) look: &'a Look,
    pub(super) features: Features,
    pub(super) stance: Stance,
    pub(super) light: Light,
    pub(super) cos_yaw: f32,
    pub(super) egg: Egg,
    /// Colour of lines and holes.
    pub(super) dark: Rgb,
    /// Strength of highlights: they show the relief of dark skin.
    pub(super) gloss: f32,
}

impl<'a> Portrait<'a> {
    /// Begins to paint a person on the part of a picture that starts at `place`.
    pub(super) fn new(canvas: &'a mut Canvas, place: [usize; 4], person: &Person<'a>) -> Self {
        let stance = person.stance;
        let upright = Space {
            x: stance.x - place[0] as f32,
            y: stance.y - place[1] as f32,
            scale: stance.scale,
            turn: (1.0, 0.0),
        };
        let look = person.look;
        let cos_yaw = 1.0 - stance.yaw * stance.yaw / 2.0;
        Self {
            canvas,
            space: Space {
                turn: stance.roll,
                ..upright
            },
            upright,
            look,
            features: person.features,
            stance,
            light: person.light,
            cos_yaw,
            egg: Egg {
                height: look.height,
                jaw: look.jaw,
                soft: 0.03,
                grow: 1.0,
            },
            dark: filter(look.skin, [0.5, 0.42, 0.4]),
            gloss: 1.0 + ((190.0 - look.skin.iter().sum::<f32>() / 3.0) / 75.0).max(0.0),
        }
    }
}

impl Portrait<'_> {
    /// Returns the horizontal position of a point at `depth` in front of the head's axis.
    pub(super) fn x(&self, x: f32, depth: f32) -> f32 {
        x * self.cos_yaw + depth * self.stance.yaw
    }

    /// Returns its vertical position.
    pub(super) fn y(&self, y: f32, depth: f32) -> f32 {
        y + depth * self.stance.pitch
    }

    pub(super) fn paint(&mut self, shape: &impl Shape, color: Rgb, opacity: f32) {
        self.canvas.paint(&self.space, shape, color, opacity);
    }

    pub(super) fn shade(&mut self, shape: &impl Shape, factor: f32, opacity: f32) {
        self.tone(shape, [factor; 3], opacity);
    }

    pub(super) fn tone(&mut self, shape: &impl Shape, factor: Rgb, opacity: f32) {
        self.canvas.shade(&self.space, shape, factor, opacity);
    }

    /// Paints a highlight.
    pub(super) fn lit(&mut self, shape: &impl Shape, factor: f32, opacity: f32) {
        self.shade(shape, 1.0 + (factor - 1.0) * self.gloss, opacity);
    }

    /// Returns a glow at a depth in front of the head's axis.
    pub(super) fn glow(&self, x: f32, y: f32, depth: f32, rx: f32, ry: f32) -> Glow {
        Glow::new(self.x(x, depth), self.y(y, 0.75), rx, ry)
    }
}

/// An ellipse.
pub(super) fn oval(x: f32, y: f32, rx: f32, ry: f32, soft: f32) -> Oval {
    Oval { x, y, rx, ry, soft }
}
