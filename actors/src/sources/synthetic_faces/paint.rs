//! Soft shapes on a picture: how much of a pixel each one covers, and applying colour or shade to that part. Uses
//! floats with additions, multiplications, divisions and square roots only, which every machine rounds alike. Knows
//! nothing of what the shapes depict.

use super::numbers::smooth;

/// Red, green, blue: 0..255.
pub(super) type Rgb = [f32; 3];

/// Multiplies every channel by a factor.
pub(super) fn times(color: Rgb, factor: f32) -> Rgb {
    color.map(|channel| channel * factor)
}

/// Multiplies two colours channel by channel.
pub(super) fn filter(color: Rgb, by: Rgb) -> Rgb {
    std::array::from_fn(|channel| color[channel] * by[channel])
}

/// Left, top, right, bottom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent(f32, f32, f32, f32);

/// A shape with a soft edge. `pixel` is the size of a pixel in the shape's own unit: no edge is sharper than that.
pub(super) trait Shape {
    /// Returns the cover of a point, from 0 outside to 1 inside.
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32;
    /// Returns where the cover may be above 0.
    fn extent(&self) -> Extent;

    /// Intersects this shape with another.
    fn within<S: Shape>(self, other: S) -> Within<Self, S>
    where
        Self: Sized,
    {
        Within(self, other)
    }
}

impl<S: Shape> Shape for &S {
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        (**self).cover(x, y, pixel)
    }

    fn extent(&self) -> Extent {
        (**self).extent()
    }
}

/// An intersection of shapes; see [`Shape::within`].
pub(super) struct Within<A, B>(A, B);

impl<A: Shape, B: Shape> Shape for Within<A, B> {
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let cover = self.0.cover(x, y, pixel);
        if cover > 0.0 {
            cover * self.1.cover(x, y, pixel)
        } else {
            0.0
        }
    }

    fn extent(&self) -> Extent {
        self.0.extent()
    }
}

/// The area between two arcs: eyes, brows, lips, lines. `t` runs from −1 to 1 over the width; the middle line is `y +
/// tilt·t + bend·t²`, the upper arc is `up·(1 − t²)` above it and the lower one `down·(1 − t²)` below.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lens {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) half_width: f32,
    pub(super) up: f32,
    pub(super) down: f32,
    pub(super) tilt: f32,
    pub(super) bend: f32,
    pub(super) soft: f32,
}

impl Shape for Lens {
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let t = (x - self.x) / self.half_width;
        let arc = 1.0 - t * t;
        if arc <= 0.0 {
            return 0.0;
        }
        let soft = self.soft.max(1.3 * pixel);
        let middle = self.y + self.tilt * t + self.bend * t * t;
        let inside = (y - (middle - self.up * arc)).min(middle + self.down * arc - y);
        let end = (1.0 - t.abs()) * self.half_width;
        smooth(inside / soft + 0.5) * smooth(end / soft)
    }

    fn extent(&self) -> Extent {
        let (low, high) = (self.bend.min(0.0), self.bend.max(0.0));
        let tilt = self.tilt.abs() + 0.1;
        Extent(
            self.x - self.half_width,
            self.y - self.up.max(0.0) - tilt + low,
            self.x + self.half_width,
            self.y + self.down.max(0.0) + tilt + high,
        )
    }
}

/// An ellipse with a soft edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oval {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) rx: f32,
    pub(super) ry: f32,
    pub(super) soft: f32,
}

impl Shape for Oval {
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let (u, v) = ((x - self.x) / self.rx, (y - self.y) / self.ry);
        let inside = (1.0 - (u * u + v * v).sqrt()) * self.rx.min(self.ry);
        smooth(inside / self.soft.max(1.3 * pixel) + 0.5)
    }

    fn extent(&self) -> Extent {
        let grow = 1.0 + self.soft.max(0.05) / self.rx.min(self.ry);
        let (rx, ry) = (self.rx * grow, self.ry * grow);
        Extent(self.x - rx, self.y - ry, self.x + rx, self.y + ry)
    }
}

/// An ellipse that fades from its centre to nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glow {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) rx: f32,
    pub(super) ry: f32,
    /// Vertical shift of the rows per column, which slants the whole.
    pub(super) lean: f32,
}

impl Glow {
    pub(super) fn new(x: f32, y: f32, rx: f32, ry: f32) -> Self {
        let lean = 0.0;
        Self { x, y, rx, ry, lean }
    }
}

impl Shape for Glow {
    fn cover(&self, x: f32, y: f32, _: f32) -> f32 {
        let u = x - self.x;
        let v = (y - self.y - self.lean * u) / self.ry;
        let u = u / self.rx;
        let left = (1.0 - u * u - v * v).max(0.0);
        left * left
    }

    fn extent(&self) -> Extent {
        let ry = self.ry + self.lean.abs() * self.rx;
        let (x, y) = (self.x, self.y);
        Extent(x - self.rx, y - ry, x + self.rx, y + ry)
    }
}

/// The outline of a head around (0, 0): half its width is 1, and it becomes narrower towards the chin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Egg {
    /// Half the height.
    pub(super) height: f32,
    /// Fraction of the width that is missing at the chin.
    pub(super) jaw: f32,
    pub(super) soft: f32,
    pub(super) grow: f32,
}

impl Egg {
    /// Maps a point of the head to the unit disc.
    pub(super) fn on_disc(&self, x: f32, y: f32) -> (f32, f32) {
        let v = y / self.height / self.grow;
        let below = v.clamp(0.0, 1.2);
        (x / ((1.0 - self.jaw * below * below) * self.grow), v)
    }
}

impl Shape for Egg {
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let (u, v) = self.on_disc(x, y);
        let inside = 1.0 - (u * u + v * v).sqrt();
        smooth(inside / self.soft.max(1.3 * pixel) + 0.5)
    }

    fn extent(&self) -> Extent {
        let (x, y) = (self.grow * 1.08, self.height * self.grow * 1.08);
        Extent(-x, -y, x, y)
    }
}

/// A mouth: an arc that becomes rounder the wider it opens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mouth {
    pub(super) arc: Lens,
    pub(super) oval: Oval,
    /// 0 for the arc, 1 for the oval.
    pub(super) round: f32,
}

impl Shape for Mouth {
    fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let arc = self.arc.cover(x, y, pixel) * (1.0 - self.round);
        arc + self.oval.cover(x, y, pixel) * self.round
    }

    fn extent(&self) -> Extent {
        let (a, b) = (self.arc.extent(), self.oval.extent());
        Extent(a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3))
    }
}

/// Placement of a drawing's own coordinates in the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Column of the origin, in pixels.
    pub(super) x: f32,
    /// Row of the origin, in pixels.
    pub(super) y: f32,
    /// Pixels per unit.
    pub(super) scale: f32,
    /// Cosine and sine of the rotation, clockwise.
    pub(super) turn: (f32, f32),
}

impl Space {
    /// Returns the columns and rows that a shape may touch: the first, and one after the last.
    fn pixels(&self, extent: Extent, width: usize, height: usize) -> [usize; 4] {
        let (cos, sin) = self.turn;
        let (x, y) = ((extent.0 + extent.2) / 2.0, (extent.1 + extent.3) / 2.0);
        let (rx, ry) = ((extent.2 - extent.0) / 2.0, (extent.3 - extent.1) / 2.0);
        let center_x = self.x + (cos * x - sin * y) * self.scale;
        let center_y = self.y + (sin * x + cos * y) * self.scale;
        let reach_x = (cos.abs() * rx + sin.abs() * ry) * self.scale + 2.0;
        let reach_y = (sin.abs() * rx + cos.abs() * ry) * self.scale + 2.0;
        // The conversion to an integer saturates: anything left of or above the picture becomes 0.
        [
            (center_x - reach_x) as usize,
            (center_y - reach_y) as usize,
            ((center_x + reach_x) as usize).min(width),
            ((center_y + reach_y) as usize).min(height),
        ]
    }
}

/// A picture of floats.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// Loads the part of a BGR picture between these columns and rows to draw on it; [`Canvas::store`] puts it back.
    pub(super) fn load(&mut self, bgr: &[u8], width: usize, place: [usize; 4]) {
        let [left, top, right, bottom] = place;
        (self.width, self.height) = (right - left, bottom - top);
        self.pixels.clear();
        for row in top..bottom {
            let row = &bgr[(row * width + left) * 3..(row * width + right) * 3];
            let pixels = row.chunks_exact(3).map(|p| [p[2], p[1], p[0]]);
            self.pixels.extend(pixels.map(|pixel| pixel.map(f32::from)));
        }
    }

    /// Writes the part back; see [`Canvas::load`].
    pub(super) fn store(&self, bgr: &mut [u8], width: usize, place: [usize; 4]) {
        let [left, top, right, bottom] = place;
        let mut rows = self.pixels.chunks_exact(self.width.max(1));
        for row in top..bottom {
            let row = &mut bgr[(row * width + left) * 3..(row * width + right) * 3];
            let Some(drawn) = rows.next() else { return };
            for (pixel, &[red, green, blue]) in row.chunks_exact_mut(3).zip(drawn) {
                pixel.copy_from_slice(&[blue, green, red].map(|value| (value + 0.5) as u8));
            }
        }
    }

    /// Paints a shape in a colour.
    pub(super) fn paint(&mut self, space: &Space, shape: &impl Shape, color: Rgb, opacity: f32) {
        self.lay(space, shape, |pixel, cover, _, _| {
            for (channel, ink) in pixel.iter_mut().zip(color) {
                *channel += (ink - *channel) * cover * opacity;
            }
        });
    }

    /// Makes the area under a shape darker (factors below 1) or lighter.
    pub(super) fn shade(&mut self, space: &Space, shape: &impl Shape, factor: Rgb, opacity: f32) {
        self.lay(space, shape, |pixel, cover, _, _| {
            for (channel, factor) in pixel.iter_mut().zip(factor) {
                *channel *= 1.0 + (factor - 1.0) * cover * opacity;
            }
        });
    }

    /// Calls `ink` with each pixel under a shape, its cover and its position in the shape's own unit.
    pub(super) fn lay(
        &mut self,
        space: &Space,
        shape: &impl Shape,
        mut ink: impl FnMut(&mut Rgb, f32, f32, f32),
    ) {
        let [left, top, right, bottom] = space.pixels(shape.extent(), self.width, self.height);
        let unit = 1.0 / space.scale;
        let (cos, sin) = (space.turn.0 * unit, space.turn.1 * unit);
        for row in top..bottom {
            let dy = row as f32 + 0.5 - space.y;
            let pixels = self.pixels[row * self.width..(row + 1) * self.width].iter_mut();
            for (column, pixel) in pixels.enumerate().take(right).skip(left) {
                let dx = column as f32 + 0.5 - space.x;
                let (x, y) = (cos * dx + sin * dy, cos * dy - sin * dx);
                let cover = shape.cover(x, y, unit);
                if cover > 0.0 {
                    ink(pixel, cover, x, y);
                }
            }
        }
    }
}
