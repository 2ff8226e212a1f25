//! Draws one person: shirt, neck, head, and the expression of the face. Identity and pose are given.
//!
//! The factors are chosen so that detectors trained on photographs find the faces: soft sockets under dark brows, a lit
//! bridge of the nose between them, cheeks brighter than the eyes. The detector tests beside the source check this.

mod mouth;

use super::looks::Hair;
use super::paint::{Canvas, Egg, Glow, Lens, Shape, times};
use super::person::{Person, Portrait, oval};

/// Draws a person on the part of a picture that starts at `place`.
pub(super) fn draw(canvas: &mut Canvas, place: [usize; 4], person: &Person<'_>) {
    let mut portrait = Portrait::new(canvas, place, person);
    portrait.body();
    portrait.head();
    portrait.nose();
    for side in [-1.0, 1.0] {
        portrait.folds(side);
        portrait.eye(side);
        portrait.brow(side);
    }
    portrait.mouth();
    portrait.hair();
}

impl Portrait<'_> {
    fn body(&mut self) {
        let (look, space) = (self.look, self.upright);
        if look.style == Hair::Long {
            let back = oval(0.0, 0.3, 1.2, 1.5, 0.12);
            self.paint(&back, times(look.hair, 0.6), 1.0);
        }
        let shirt = oval(0.0, 4.3, 2.25, 2.7, 0.08);
        let shine = Glow::new(-0.9, 2.5, 1.2, 1.4).within(shirt);
        let collar = oval(0.0, 1.7, 0.72, 0.36, 0.05);
        let neck = oval(0.0, 1.25, 0.52, 0.72, 0.06);
        let shadow = Glow::new(0.0, 1.2, 0.75, 0.6).within(neck);
        let canvas = &mut *self.canvas;
        canvas.paint(&space, &shirt, look.shirt, 1.0);
        canvas.paint(&space, &shine, times(look.shirt, 1.25), 0.5);
        canvas.paint(&space, &collar, times(look.shirt, 0.7), 1.0);
        canvas.paint(&space, &neck, times(look.skin, 0.7), 1.0);
        canvas.paint(&space, &shadow, times(look.skin, 0.38), 0.8);
    }

    fn head(&mut self) {
        let (look, dark, egg) = (self.look, self.dark, self.egg);
        for side in [-1.0, 1.0] {
            let x = side * 0.98 - self.stance.yaw * 0.25;
            self.paint(&oval(x, 0.05, 0.13, 0.26, 0.04), times(look.skin, 0.8), 1.0);
            self.paint(&Glow::new(x, 0.07, 0.08, 0.18), dark, 0.5);
        }
        let light = self.light;
        self.canvas.lay(&self.space, &egg, |pixel, cover, x, y| {
            // Lambert's law on an ellipsoid.
            let (u, v) = egg.on_disc(x, y);
            let front = (1.0 - (u * u + v * v).min(1.0) * 0.92).sqrt();
            let lit = (u * light.0 + v * light.1 + front * 0.82).clamp(0.0, 1.2);
            for (channel, skin) in pixel.iter_mut().zip(look.skin) {
                *channel += (skin * (0.62 + 0.42 * lit) - *channel) * cover;
            }
        });
        let forehead = self.glow(0.0, -0.75, 0.75, 0.8, 0.5);
        self.lit(&forehead.within(egg), 1.12, 0.8);
        for side in [-1.0, 1.0] {
            let cheek = self.glow(side * 0.5, 0.32, 0.6, 0.36, 0.32);
            let warm = [1.12, 1.05, 1.03].map(|factor: f32| 1.0 + (factor - 1.0) * self.gloss);
            self.tone(&cheek.within(egg), warm, 0.9);
            let mut hollow = self.glow(side * 0.62, 0.72, 0.5, 0.3, 0.5);
            hollow.lean = -side * 0.4;
            self.shade(&hollow.within(egg), 0.8, 0.6);
            let socket = self.glow(side * look.eye_x, look.eye_y - 0.02, 0.7, 0.34, 0.24);
            self.tone(&socket.within(egg), [0.42, 0.37, 0.37], 0.95);
            let root = self.glow(side * 0.17, look.eye_y, 0.85, 0.13, 0.28);
            self.shade(&root.within(egg), 0.68, 0.8);
        }
        if look.beard > 0.0 {
            let chin = oval(0.0, 1.25, 0.9, 0.85, 0.3);
            let beard = self.glow(0.0, 1.05, 0.6, 0.95, 0.75);
            let color = times(look.hair, 0.9);
            self.paint(&beard.within(egg).within(chin), color, look.beard);
        }
    }

    fn nose(&mut self) {
        let (y, half) = (self.look.nose_y, self.look.nose);
        let bridge = Glow::new(self.x(0.0, 1.02), self.y(y - 0.32, 1.0), 0.10, 0.5);
        self.lit(&bridge, 1.22, 0.9);
        let away = if self.light.0 < 0.0 { 0.14 } else { -0.14 };
        let flank = self.glow(away, y - 0.2, 0.85, 0.12, 0.42);
        self.shade(&flank, 0.78, 0.7);
        let tip = Glow::new(self.x(0.0, 1.0), self.y(y - 0.03, 1.0), 0.13, 0.12);
        self.lit(&tip, 1.18, 0.8);
        let under = self.glow(0.0, y + 0.13, 0.9, half * 2.1, 0.16);
        self.shade(&under, 0.6, 0.85);
        for side in [-1.0, 1.0] {
            let wing = self.glow(side * half * 1.05, y + 0.02, 0.8, 0.09, 0.14);
            self.shade(&wing, 0.74, 0.8);
            let nostril = self.glow(side * half * 0.6, y + 0.09, 0.93, 0.085, 0.055);
            self.paint(&nostril, times(self.dark, 0.35), 0.95);
        }
    }

    /// Draws the wrinkles between the eyes and the folds from nose to mouth.
    fn folds(&mut self, side: f32) {
        let (look, features) = (self.look, self.features);
        if features.wrinkles > 0.0 {
            let across = Lens {
                x: self.x(side * 0.1, 0.85),
                y: self.y(look.eye_y + 0.08, 0.75),
                half_width: 0.07,
                up: 0.02,
                down: 0.02,
                tilt: -side * 0.05,
                bend: 0.0,
                soft: 0.04,
            };
            self.shade(&across, 0.6, features.wrinkles * 0.8);
            let upright = Lens {
                x: self.x(side * 0.07, 0.85),
                y: self.y(look.eye_y - 0.16, 0.75),
                half_width: 0.03,
                up: 0.1,
                down: 0.1,
                tilt: 0.0,
                ..across
            };
            self.shade(&upright, 0.65, features.wrinkles * 0.7);
        }
        let x = side * (look.nose + 0.2);
        let y = (look.nose_y + look.mouth_y) / 2.0;
        let soft = self.glow(x + side * 0.05 * features.mouth, y + 0.02, 0.7, 0.07, 0.26);
        self.shade(&soft, 0.62, features.folds * 0.6);
        let sharp = Lens {
            x: self.x(x, 0.72),
            y: self.y(y - 0.02, 0.75),
            half_width: 0.15,
            up: 0.03,
            down: 0.03,
            tilt: side * 0.17,
            bend: -0.03,
            soft: 0.06,
        };
        self.shade(&sharp, 0.6, features.folds);
    }

    fn eye(&mut self, side: f32) {
        let (look, features, blink) = (self.look, self.features, self.stance.blink);
        let open = Lens {
            x: self.x(side * look.eye_x, 0.72),
            y: self.y(look.eye_y, 0.72) + 0.03 * blink,
            half_width: look.eye_width * self.cos_yaw,
            up: (0.095 * features.eye * (1.0 - blink)).max(0.004),
            down: 0.055 * (1.0 - features.lower_lid) * (1.0 - 0.7 * blink),
            tilt: side * (features.eye_tilt - 0.015),
            bend: 0.0,
            soft: 0.025,
        };
        if blink < 0.85 {
            self.eyeball(&open);
        }
        let line = |y: f32, bend: f32, width: f32, half: f32, soft: f32| Lens {
            y,
            half_width: open.half_width * width,
            up: half,
            down: half,
            bend,
            soft,
            ..open
        };
        let lid = open.y - open.up;
        let lashes = line(lid, open.up, 1.08, 0.022, 0.03);
        self.paint(&lashes, [28.0, 20.0, 18.0], 0.9);
        let crease = line(lid - 0.055, open.up * 0.9, 1.05, 0.012, 0.04);
        self.paint(&crease, times(self.dark, 0.7), 0.6);
        let lower = open.y + open.down;
        let rim = line(lower + 0.008, -open.down, 0.95, 0.012, 0.03);
        self.paint(&rim, times(self.dark, 0.6), 0.55);
        let bag = Glow::new(open.x, lower + 0.06, open.half_width * 1.1, 0.07);
        self.shade(&bag, 0.8, 0.4 + 0.5 * features.lower_lid);
    }

    /// Draws the visible part of an eye between the lids.
    fn eyeball(&mut self, open: &Lens) {
        let (skin, iris) = (self.look.skin, self.look.iris);
        let white = [127.5, 126.0, 124.5];
        let white = std::array::from_fn(|channel| skin[channel] * 0.25 + white[channel]);
        self.paint(open, white, 1.0);
        let shadow = Glow::new(
            open.x,
            open.y - open.up,
            open.half_width * 1.2,
            open.up * 1.3,
        );
        self.paint(&shadow.within(open), [60.0, 50.0, 48.0], 0.7);
        // The gaze turns a little further to the side than the head.
        let (x, y) = (open.x + self.stance.yaw * 0.08, open.y - 0.02);
        let disc = oval(x, y, 0.092, 0.092, 0.03);
        self.paint(&disc.within(open), times(iris, 0.6), 1.0);
        let glint = Glow::new(x, y + 0.04, 0.085, 0.07);
        self.paint(&glint.within(open), times(iris, 1.5), 0.6);
        let pupil = oval(x, y, 0.045, 0.045, 0.025);
        self.paint(&pupil.within(open), [12.0, 10.0, 10.0], 1.0);
        let reflection = oval(x - 0.03, y - 0.035, 0.018, 0.018, 0.02);
        self.paint(&reflection.within(open), [245.0; 3], 0.9);
    }

    fn brow(&mut self, side: f32) {
        let (look, features) = (self.look, self.features);
        let (inner, outer) = (features.brow_inner, features.brow_outer);
        let brow = Lens {
            x: self.x(side * (look.eye_x + 0.02 - features.frown * 0.5), 0.74),
            y: self.y(look.eye_y - look.brow_y - (inner + outer) / 2.0, 0.75),
            half_width: 0.27 * self.cos_yaw,
            up: look.brow,
            down: look.brow * 0.9,
            tilt: side * (inner - outer) / 2.0,
            bend: 0.05,
            soft: 0.045,
        };
        self.paint(&brow, times(look.hair, 0.42), 0.94);
    }

    fn hair(&mut self) {
        let (style, color, height) = (self.look.style, self.look.hair, self.look.height);
        let cap = |jaw: f32, soft: f32, grow: f32| Egg {
            height,
            jaw,
            soft,
            grow,
        };
        let (line, bend) = match style {
            Hair::Short => (-0.80, 0.55),
            Hair::Long => (-0.85, 0.55),
            Hair::Fringe => (-0.70, 0.3),
            Hair::Receding => {
                let crown = oval(0.0, -1.35, 1.3, 0.62, 0.25);
                self.paint(&cap(0.3, 0.1, 1.02).within(crown), color, 0.75);
                return;
            }
        };
        let above = Lens {
            x: 0.0,
            y: line,
            half_width: 1.25,
            up: 1.6,
            down: 0.0,
            tilt: 0.0,
            bend,
            soft: 0.1,
        };
        let grow = if style == Hair::Long { 1.12 } else { 1.07 };
        self.paint(&cap(0.1, 0.06, grow).within(above), color, 1.0);
        let shine = Glow::new(-0.35, -1.25, 0.7, 0.3);
        let bright = color.map(|channel| channel * 1.5 + 20.0);
        self.paint(
            &shine.within(cap(0.0, 0.05, 1.1)).within(above),
            bright,
            0.5,
        );
        for side in [-1.0, 1.0] {
            if style == Hair::Long {
                let strand = oval(side * 1.03, 0.42, 0.2, 1.12, 0.1);
                self.paint(&strand, times(color, 0.85), 1.0);
                self.shade(&Glow::new(side, 0.6, 0.1, 1.0), 0.7, 0.6);
            } else {
                let sideburn = Lens {
                    x: side * 0.93,
                    y: -0.42,
                    half_width: 0.085,
                    up: 0.3,
                    down: 0.3,
                    soft: 0.07,
                    ..Lens::default()
                };
                self.paint(&sideburn, times(color, 0.92), 1.0);
            }
        }
    }
}
