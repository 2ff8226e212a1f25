//! Placement of panels: beside their face, inside the frame, never over a face or another panel; and in their previous
//! place if it is free.

use std::collections::BTreeMap;

use fermata_vision::{FrameMut, Rect};

/// Number of frames for which the place of a panel that is no longer drawn is remembered.
const REMEMBERED: u64 = 50;

/// A region of the frame in whole pixels: first, and one past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Area {
    fn of(rect: &Rect) -> Self {
        // Casting a float to an integer saturates and turns NaN into 0; boxes far outside stay comparable.
        let bound = |value: f32| (value as i32).clamp(-100_000, 100_000);
        Self {
            left: bound(rect.x.floor()),
            top: bound(rect.y.floor()),
            right: bound((rect.x + rect.w).ceil()),
            bottom: bound((rect.y + rect.h).ceil()),
        }
    }

    fn at((left, top): (i32, i32), (width, height): (i32, i32)) -> Self {
        Self {
            left,
            top,
            right: left + width,
            bottom: top + height,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

/// Regions of a frame that faces and panels occupy.
pub(super) struct Free {
    size: (i32, i32),
    taken: Vec<Area>,
}

impl Free {
    pub(super) fn new<'a>(frame: &FrameMut, faces: impl Iterator<Item = &'a Rect>) -> Self {
        Self {
            size: (frame.width() as i32, frame.height() as i32),
            taken: faces.map(Area::of).collect(),
        }
    }

    /// Takes the first free place for a panel of this size, trying the place of the slot `before` first.
    pub(super) fn take(
        &mut self,
        places: &[(i32, i32)],
        size: (i32, i32),
        before: Option<usize>,
    ) -> Option<usize> {
        let first = before.filter(|&slot| slot < places.len());
        let slots = first.into_iter().chain(0..places.len());
        let found = slots
            .map(|slot| (slot, Area::at(places[slot], size)))
            .find(|(_, area)| self.is_free(area));
        let (slot, area) = found?;
        self.taken.push(area);
        Some(slot)
    }

    fn is_free(&self, area: &Area) -> bool {
        let (width, height) = self.size;
        let inside =
            area.left >= 0 && area.top >= 0 && area.right <= width && area.bottom <= height;
        inside && !self.taken.iter().any(|taken| taken.meets(area))
    }

    /// Returns places in the corners of the frame.
    pub(super) fn corners(&self, (width, height): (i32, i32)) -> [(i32, i32); 4] {
        let (right, bottom) = (self.size.0 - width, self.size.1 - height);
        [(0, 0), (right, 0), (0, bottom), (right, bottom)]
    }

    /// Returns places for a label: above and below the box at its left and right edges, then beside it.
    pub(super) fn around(&self, face: &Rect, size: (i32, i32), gap: i32) -> [(i32, i32); 6] {
        let area = Area::of(face);
        let (width, height) = size;
        let (above, below) = (area.top - gap - height, area.bottom + gap);
        let (first, last) = (
            self.across(area.left, width),
            self.across(area.right - width, width),
        );
        let beside = self.down(area.top, height);
        [
            (first, above),
            (last, above),
            (first, below),
            (last, below),
            (area.right + gap, beside),
            (area.left - gap - width, beside),
        ]
    }

    /// Returns places for a panel: right and left of the box, along its upper and lower edges, then below and above it.
    pub(super) fn beside(&self, face: &Rect, size: (i32, i32), gap: i32) -> [(i32, i32); 6] {
        let area = Area::of(face);
        let (width, height) = size;
        let (right, left) = (area.right + gap, area.left - gap - width);
        let (top, bottom) = (
            self.down(area.top, height),
            self.down(area.bottom - height, height),
        );
        let first = self.across(area.left, width);
        [
            (right, top),
            (left, top),
            (right, bottom),
            (left, bottom),
            (first, area.bottom + gap),
            (first, area.top - gap - height),
        ]
    }

    /// Moves `x` so that the panel is inside the frame.
    fn across(&self, x: i32, width: i32) -> i32 {
        x.min(self.size.0 - width).max(0)
    }

    fn down(&self, y: i32, height: i32) -> i32 {
        y.min(self.size.1 - height).max(0)
    }
}

/// The place at which each panel was last drawn, so that it does not jump.
#[derive(Debug, Default)]
pub(super) struct Slots {
    frame: u64,
    /// Slot, and the frame in which it was last drawn.
    last: BTreeMap<u64, (usize, u64)>,
}

impl Slots {
    pub(super) fn of(&self, key: Option<u64>) -> Option<usize> {
        self.last.get(&key?).map(|(slot, _)| *slot)
    }

    pub(super) fn keep(&mut self, key: Option<u64>, slot: usize) {
        if let Some(key) = key {
            self.last.insert(key, (slot, self.frame));
        }
    }

    /// Forgets panels that have not been drawn for a while.
    pub(super) fn next_frame(&mut self) {
        self.frame += 1;
        let frame = self.frame;
        self.last
            .retain(|_, (_, drawn)| frame - *drawn < REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use fermata_vision::FramePool;
    use proptest::prelude::*;

    use super::*;

    fn square(x: f32, y: f32, side: f32) -> Rect {
        Rect {
            x,
            y,
            w: side,
            h: side,
        }
    }

    fn free(width: usize, height: usize, faces: &[Rect]) -> Free {
        Free::new(&FramePool::new().take(width, height), faces.iter())
    }

    #[test]
    fn a_panel_goes_to_the_other_side_where_the_frame_ends_and_stays_there() {
        let face = square(250.0, 50.0, 60.0);
        let mut slots = Slots::default();
        let mut place = |face: &Rect| {
            let mut free = free(320, 240, &[*face]);
            let places = free.beside(face, (60, 80), 5);
            let slot = free.take(&places, (60, 80), slots.of(Some(1))).unwrap();
            slots.keep(Some(1), slot);
            slots.next_frame();
            places[slot]
        };
        assert_eq!(place(&face), (185, 50), "to the left");
        assert_eq!(place(&square(150.0, 50.0, 60.0)), (85, 50), "still");
        assert_eq!(
            place(&square(20.0, 50.0, 60.0)),
            (85, 50),
            "no room there any more"
        );
        assert_eq!(
            place(&square(100.0, 50.0, 60.0)),
            (165, 50),
            "still on the right"
        );
    }

    #[test]
    fn there_may_be_no_place() {
        let face = square(0.0, 0.0, 100.0);
        let mut free = free(100, 100, &[face]);
        let places = free.around(&face, (20, 10), 3);
        assert_eq!(free.take(&places, (20, 10), None), None);
    }

    #[test]
    fn where_a_panel_was_is_forgotten_in_time() {
        let mut slots = Slots::default();
        slots.keep(Some(7), 3);
        for _ in 0..REMEMBERED - 1 {
            slots.next_frame();
        }
        assert_eq!(slots.of(Some(7)), Some(3));
        slots.next_frame();
        assert_eq!(slots.of(Some(7)), None);
    }

    fn any_faces() -> impl Strategy<Value = Vec<Rect>> {
        let side = prop_oneof![20 => -50.0..400.0_f32, 1 => Just(f32::NAN), 1 => any::<f32>()];
        let face = (side.clone(), side, 1.0..200.0_f32);
        let face = face.prop_map(|(x, y, side)| square(x, y, side));
        proptest::collection::vec(face, 0..8)
    }

    proptest! {
        #[test]
        fn panels_cover_no_face_and_no_other_panel(faces in any_faces(), width in 10..300_i32, height in 10..120_i32) {
            let mut free = free(320, 240, &faces);
            let mut panels: Vec<Area> = Vec::new();
            for (index, face) in faces.iter().enumerate() {
                let size = (width >> (index % 3), height >> (index % 2));
                for places in [free.around(face, size, 3), free.beside(face, size, 5)] {
                    if let Some(slot) = free.take(&places, size, Some(index % 9)) {
                        panels.push(Area::at(places[slot], size));
                    }
                }
            }
            for (index, panel) in panels.iter().enumerate() {
                prop_assert!(panel.left >= 0 && panel.top >= 0 && panel.right <= 320 && panel.bottom <= 240);
                prop_assert!(!faces.iter().any(|face| Area::of(face).meets(panel)));
                prop_assert!(!panels[..index].iter().any(|other| other.meets(panel)));
            }
        }
    }
}
