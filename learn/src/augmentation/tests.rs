use fermata_vision::ModelCard;
use proptest::prelude::*;

use super::*;

/// Returns a black 33 × 21 picture with a bright spot at this place.
fn spot(x: usize, y: usize) -> Frame {
    let mut pixels = vec![0; 33 * 21 * 3];
    pixels[3 * (y * 33 + x)..][..3].fill(200);
    Frame::from_bgr(33, 21, pixels)
}

/// Returns the place of the brightest pixel.
fn brightest(frame: &Frame) -> (usize, usize) {
    let green = frame.bgr().chunks(3).map(|pixel| pixel[1]);
    let (place, _) = green
        .enumerate()
        .max_by_key(|&(place, value)| (value, usize::MAX - place))
        .unwrap();
    (place % frame.width(), place / frame.width())
}

/// Returns the hash of a row.
fn hash(row: u64) -> RowHash {
    let mut hash = [0; RowHash::LEN];
    hash[24..].copy_from_slice(&row.to_be_bytes());
    hash.into()
}

fn unchanged() -> Variation {
    Augmentation::NONE.drawn(0, 0, &hash(0))
}

fn applied(variation: &Variation, frame: &Frame) -> Frame {
    variation.apply(frame, &FramePool::new()).unwrap()
}

#[test]
fn no_augmentation_leaves_a_picture_as_it_is() {
    let picture = spot(3, 4);
    assert_eq!(applied(&unchanged(), &picture).bgr(), picture.bgr());
}

#[test]
fn a_mirror_image_is_exact_and_twice_the_picture() {
    let flipped = Variation {
        is_flipped: true,
        ..unchanged()
    };
    let picture = spot(3, 4);
    let once = applied(&flipped, &picture);
    assert_eq!(once.bgr(), spot(29, 4).bgr());
    assert_eq!(applied(&flipped, &once).bgr(), picture.bgr());
}

#[test]
fn a_spot_goes_where_geometry_says() {
    // The centre is (16, 10).
    let cases = [
        (
            Variation {
                shift: [3.0 / 33.0, -2.0 / 21.0],
                ..unchanged()
            },
            (16, 10),
            (19, 8),
        ),
        (
            Variation {
                radians: 90f64.to_radians(),
                ..unchanged()
            },
            (20, 10),
            (16, 14),
        ),
        (
            Variation {
                scale: 2.0,
                ..unchanged()
            },
            (18, 9),
            (20, 8),
        ),
        // Mirrored first, then shifted.
        (
            Variation {
                is_flipped: true,
                shift: [3.0 / 33.0, 0.0],
                ..unchanged()
            },
            (14, 10),
            (21, 10),
        ),
    ];
    for (variation, (x, y), expected) in cases {
        assert_eq!(
            brightest(&applied(&variation, &spot(x, y))),
            expected,
            "{variation:?}"
        );
    }
}

#[test]
fn tones_are_changed_and_clipped() {
    let tone = |variation: &Variation, value: usize| variation.tones(&[0, 200])[value];
    let brighter = Variation {
        brightness: 0.2,
        ..unchanged()
    };
    assert_eq!(
        [0, 100, 250].map(|value| tone(&brighter, value)),
        [51, 151, 255]
    );
    let darker = Variation {
        exponent: 2.0,
        ..unchanged()
    };
    assert_eq!(
        [0, 128, 255].map(|value| tone(&darker, value)),
        [0, 64, 255]
    );
    // The mean is 100.
    let softer = Variation {
        contrast: 0.75,
        ..unchanged()
    };
    assert_eq!(
        [0, 100, 200].map(|value| tone(&softer, value)),
        [25, 100, 175]
    );
    let harder = Variation {
        contrast: 1.25,
        ..unchanged()
    };
    assert_eq!(
        [0, 100, 140].map(|value| tone(&harder, value)),
        [0, 100, 150]
    );
}

#[test]
fn an_erased_square_has_sides_between_its_limits() {
    let augmentation = Augmentation {
        erase: 1.0,
        erase_side: Some([6.0 / 48.0, 17.0 / 48.0]),
        ..Augmentation::NONE
    };
    let (mut least, mut most) = (1.0f64, 0.0f64);
    for row in 0..2000 {
        let [left, top, width, height] = augmentation.drawn(1, 0, &hash(row)).erased.unwrap();
        assert_eq!(width, height);
        assert!(left >= 0.0 && top >= 0.0 && left + width <= 1.0 && top + height <= 1.0);
        least = least.min(width);
        most = most.max(width);
    }
    assert!(least >= 0.125 && most <= 17.0 / 48.0);
    assert!(least < 0.13 && most > 0.35, "{least} {most}");
    for wrong in [[0.0, 0.5], [0.5, 0.1], [0.5, 1.0], [f64::NAN, 0.5]] {
        let augmentation = Augmentation {
            erase_side: Some(wrong),
            ..augmentation
        };
        assert_eq!(augmentation.problems().len(), 1, "{wrong:?}");
    }
}

fn input(layout: &str) -> InputSpec {
    let text = format!(
        "input: {{name: x, size: [40, 20], layout: {layout}, colour: rgb}}
interpolation: area
scaling: []
output: {{name: y, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: none
source: a test
sha256: '{}'
",
        "0".repeat(64)
    );
    ModelCard::parse(&text, std::path::Path::new("card.yaml"))
        .unwrap()
        .input
}

#[test]
fn the_same_rectangle_is_erased_in_both_layouts() {
    let variation = Variation {
        erased: Some([0.25, 0.5, 0.5, 0.25]),
        ..unchanged()
    };
    let erased = |layout: &str| {
        let mut values = vec![1.0; 40 * 20 * 3];
        variation.erase(&mut values, &input(layout));
        values
    };
    let (planes, pixels) = (erased("nchw"), erased("nhwc"));
    for y in 0..20 {
        for x in 0..40 {
            let is_inside = (10..30).contains(&x) && (10..15).contains(&y);
            let expected = if is_inside { 0.0 } else { 1.0 };
            for channel in 0..3 {
                assert_eq!(planes[(channel * 20 + y) * 40 + x], expected);
                assert_eq!(pixels[(y * 40 + x) * 3 + channel], expected);
            }
        }
    }
}

#[test]
fn rows_and_views_differ_and_shares_are_as_asked() {
    let augmentation = Augmentation::default();
    assert_ne!(
        augmentation.drawn(1, 0, &hash(7)),
        augmentation.drawn(1, 1, &hash(7))
    );
    assert_ne!(
        augmentation.drawn(1, 0, &hash(7)),
        augmentation.drawn(1, 0, &hash(8))
    );
    assert_ne!(
        augmentation.drawn(1, 0, &hash(7)),
        augmentation.drawn(2, 0, &hash(7))
    );
    let drawn: Vec<Variation> = (0..4000)
        .map(|row| augmentation.drawn(1, 0, &hash(row)))
        .collect();
    let flipped = drawn.iter().filter(|drawn| drawn.is_flipped).count();
    let erased = drawn.iter().filter(|drawn| drawn.erased.is_some()).count();
    // Within five standard deviations.
    assert!(flipped.abs_diff(2000) < 5 * 32, "{flipped}");
    assert!(erased.abs_diff(1000) < 5 * 28, "{erased}");
}

#[test]
fn amounts_out_of_range_are_named() {
    let wrong = Augmentation {
        flip: 1.5,
        scale: -0.1,
        gamma: f64::NAN,
        ..Augmentation::default()
    };
    assert_eq!(
        wrong.problems(),
        [
            "augmentation.flip is 1.5; expected 0 to 1",
            "augmentation.scale is -0.1; expected 0 to 0.9",
            "augmentation.gamma is NaN; expected 0 to 10"
        ]
    );
    assert!(Augmentation::default().problems().is_empty());
}

proptest! {
    #[test]
    fn draws_stay_within_their_limits_and_one_does_not_move_another(seed: u64, view in 0u32..100, row: u64) {
        let augmentation = Augmentation { erase: 1.0, contrast: 0.25, ..Augmentation::default() };
        let drawn = augmentation.drawn(seed, view, &hash(row));
        prop_assert_eq!(&drawn, &augmentation.drawn(seed, view, &hash(row)));
        prop_assert!(drawn.shift.iter().all(|shift| shift.abs() <= 0.0625));
        prop_assert!((drawn.scale - 1.0).abs() <= 0.1 && drawn.radians.abs() <= 15f64.to_radians());
        prop_assert!((drawn.contrast - 1.0).abs() <= 0.25);
        prop_assert!(drawn.brightness.abs() <= 0.2 && drawn.exponent <= 1.25 + 1e-9 && drawn.exponent >= 0.8 - 1e-9);
        if let Some([left, top, width, height]) = drawn.erased {
            prop_assert!(left >= 0.0 && top >= 0.0 && left + width <= 1.0 + 1e-9 && top + height <= 1.0 + 1e-9);
            prop_assert!(width * height >= 0.02 - 1e-9 && width * height <= 0.33 + 1e-9);
        }
        let without = Augmentation { rotate_degrees: 0.0, flip: 0.0, ..augmentation }.drawn(seed, view, &hash(row));
        prop_assert_eq!(without, Variation { radians: 0.0, is_flipped: false, ..drawn });
    }
}

#[test]
fn a_view_depends_on_seed_view_and_image_alone_and_view_0_is_the_plain_one() {
    let augmentation = Augmentation::default();
    let bytes: [u8; RowHash::LEN] = std::array::from_fn(|byte| byte as u8);
    let one = RowHash::from(bytes);
    let other = RowHash::from(bytes.map(|byte| if byte == 31 { 30 } else { byte }));
    let view = augmentation.view(7, 3, &one);
    assert!(view.is_some());
    assert_eq!(view, augmentation.view(7, 3, &one));
    for differs in [
        augmentation.view(8, 3, &one),
        augmentation.view(7, 4, &one),
        augmentation.view(7, 3, &other),
    ] {
        assert_ne!(view, differs);
    }
    assert_eq!(augmentation.view(7, 0, &one), None);
    assert_eq!(Augmentation::NONE.view(7, 3, &one), None);
}
