//! Texts of the labels of faces.

use fermata_vision::draw::ChipLook;
use fermata_vision::{Expression, Face};

/// A label, in full and at its shortest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// `3 happy 0.87`, as far as it is known; `3 happy 0.31 held` if another expression leads.
    pub(super) text: String,
    /// `3`, the number of its track. Without a `#`, which is illegible in small letters.
    pub(super) tag: String,
    pub(super) look: ChipLook,
}

impl Label {
    pub(super) fn of(face: &Face) -> Self {
        let tag = face
            .track
            .map_or_else(String::new, |track| track.to_string());
        let mut text = tag.clone();
        let mut look = ChipLook::Filled;
        let mut add = |part: &str| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(part);
        };
        if let Some(label) = face.label.or(face.raw_label) {
            add(label.name());
            // The smoothed label is shown with the smoothed probability, the classifier's label with its own.
            let numbers = match face.label {
                Some(_) => face.smoothed.or(face.probabilities),
                None => face.probabilities,
            };
            if let Some(numbers) = numbers {
                add(&format!("{:.2}", numbers[label.index()]));
                if Expression::most_probable(&numbers) != label {
                    add("held");
                    look = ChipLook::Outlined;
                }
            }
        }
        Self { text, tag, look }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Face {
        Face {
            track: Some(3),
            probabilities: Some([0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.8]),
            raw_label: Some(Expression::Neutral),
            ..Face::default()
        }
    }

    #[test]
    fn the_number_is_the_labels_own() {
        let raw = Label::of(&face());
        assert_eq!((&*raw.text, raw.look), ("3 neutral 0.80", ChipLook::Filled));
        let smoothed = Face {
            smoothed: Some([0.0, 0.0, 0.0, 0.55, 0.0, 0.0, 0.45]),
            label: Some(Expression::Happy),
            ..face()
        };
        let shown = Label::of(&smoothed);
        assert_eq!(
            (&*shown.text, shown.look),
            ("3 happy 0.55", ChipLook::Filled)
        );
    }

    #[test]
    fn a_label_that_does_not_lead_says_that_it_is_held() {
        let held = Face {
            smoothed: Some([0.0, 0.0, 0.0, 0.45, 0.0, 0.0, 0.55]),
            label: Some(Expression::Happy),
            ..face()
        };
        let shown = Label::of(&held);
        assert_eq!(shown.text, "3 happy 0.45 held");
        assert_eq!((&*shown.tag, shown.look), ("3", ChipLook::Outlined));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(Label::of(&Face::default()).text, "");
        let tracked = Face {
            track: Some(1),
            ..Face::default()
        };
        assert_eq!(Label::of(&tracked).text, "1");
    }
}
