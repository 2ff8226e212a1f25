//! Draws a person's mouth: closed lips, teeth, and the space between them.

use crate::sources::synthetic_faces::numbers::smooth;
use crate::sources::synthetic_faces::paint::{Glow, Lens, Mouth, Rgb, Shape, filter, times};
use crate::sources::synthetic_faces::person::{Portrait, oval};

impl Portrait<'_> {
    pub(super) fn mouth(&mut self) {
        let (look, features, egg) = (self.look, self.features, self.egg);
        let open = features.open;
        let x = self.x(0.0, 0.88);
        let top = self.y(look.mouth_y, 0.85) - features.upper_lip * 0.3;
        let line = Lens {
            x,
            y: top + features.corners * 0.5,
            half_width: look.mouth * features.mouth * self.cos_yaw,
            bend: -features.corners,
            ..Lens::default()
        };
        let width = line.half_width;
        self.shade(&Glow::new(x, top - 0.16, 0.07, 0.12), 0.86, 0.8);
        let below = Glow::new(x, top + open + 0.18, width * 0.8, 0.11);
        self.shade(&below.within(egg), 0.62, 0.75);
        let chin = Glow::new(x, top + open * 0.6 + 0.37, 0.3, 0.2);
        self.lit(&chin.within(egg), 1.1, 0.8);
        let around = Glow::new(x, top + open * 0.5, width * 1.5, 0.25 + open * 0.5);
        self.shade(&around.within(egg), 0.9, 0.6);
        if open > 0.01 {
            self.open_mouth(&line);
        } else {
            let lips = Lens {
                up: look.lip,
                down: look.lip * 1.5,
                soft: 0.045,
                ..line
            };
            self.paint(&lips, self.lips(), 1.0);
            let shine = Glow::new(x, line.y + look.lip * 0.8, width * 0.5, 0.05);
            self.lit(&shine, 1.25, 0.8);
        }
        if open <= 0.06 {
            let seam = Lens {
                half_width: width * 1.05,
                up: 0.016,
                down: 0.016,
                soft: 0.035,
                ..line
            };
            let opacity = 0.95 * (1.0 - open / 0.06);
            self.paint(&seam, times(self.dark, 0.4), opacity);
        }
        for side in [-1.0, 1.0] {
            let corner = Glow::new(x + side * width * 1.02, line.y + line.bend, 0.07, 0.07);
            self.shade(&corner, 0.6, 0.8);
        }
    }

    fn lips(&self) -> Rgb {
        let tint = filter(self.look.skin, [0.662, 0.46, 0.46]);
        [tint[0] + 13.0, tint[1], tint[2] + 4.0]
    }

    fn open_mouth(&mut self, line: &Lens) {
        let (lip, features) = (self.look.lip, self.features);
        let (x, width) = (line.x, line.half_width);
        let round = smooth((features.open - 0.15) / 0.12);
        let (up, down) = (
            features.open * 0.35 + features.upper_lip,
            features.open * 0.95,
        );
        let mouth = |widen: f32, rx: f32, up: f32, down: f32, soft: f32| Mouth {
            arc: Lens {
                half_width: width * widen,
                up,
                down,
                soft,
                ..*line
            },
            oval: oval(x, line.y + (down - up) / 2.0, rx, (up + down) / 2.0, soft),
            round,
        };
        let outer = mouth(1.04, width * 0.85 + lip, up + lip, down + lip * 1.5, 0.04);
        self.paint(&outer, self.lips(), 1.0);
        let shine = Glow::new(x, line.y + down + lip * 0.9, width * 0.5, 0.06);
        self.lit(&shine, 1.3, 0.8);
        let inside = mouth(0.96, width * 0.85, up, down, 0.03);
        self.paint(&inside, [48.0, 16.0, 18.0], 1.0);
        let teeth = Lens {
            y: line.y - up,
            half_width: width * 0.9,
            up: 0.03,
            down: down.min(0.11) + 0.02,
            bend: line.bend + features.open * 0.21,
            soft: 0.03,
            ..*line
        };
        self.paint(
            &teeth.within(&inside),
            [225.0, 220.0, 212.0],
            features.teeth,
        );
        if features.open > 0.2 {
            let tongue = Glow::new(x, line.y + features.open * 0.8, width * 0.6, 0.12);
            self.paint(&tongue.within(&inside), [150.0, 70.0, 70.0], 0.8);
        }
    }
}
