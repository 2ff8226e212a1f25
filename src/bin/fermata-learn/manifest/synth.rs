//! `fermata manifest synth`: cuts out faces of drawn people as detectors would, labelled with their expressions.
//!
//! The drawing is that of the source `synthetic_faces`, so that a model trained on these pictures works on the
//! demonstration's cameras. In each round of seven expressions every person is taken once with each, so that all labels
//! are equally frequent. A scene is a group: its people share a room and a light.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use fermata::manifest_cli::SynthArguments;
use fermata::print::print_line;
use fermata_actors::sources::synthetic_faces::{DrawnVideo, SyntheticFacesSettings};
use fermata_learn::image_set::{About, ImageSet, MANIFEST};
use fermata_learn::keyed_random::KeyedRandom;
use fermata_learn::manifest::{DRAWN, Draw, Row};
use fermata_learn::on_all_cores::in_pieces;
use fermata_vision::face::EXPRESSIONS;
use fermata_vision::{Frame, Rect};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::progress::Progress;

/// Maximum number of people in a scene.
const MOST_PEOPLE: u64 = 4;
/// Maximum of the drawn sensor noise.
const MOST_NOISE: u64 = 8;
/// The part of an expression's time in which it is labelled: not while it blends into another.
const SHOWN: (f64, f64) = (0.08, 0.92);
/// Side of the square that is cut out, in widths of the face; detectors differ and jitter.
const SIDE: (f64, f64) = (0.9, 1.3);
/// Maximum distance of its centre from the face's, in widths of the face.
const SHIFT: f64 = 0.08;
/// Distinguishes these random numbers from others with the same seed.
const PURPOSE: u64 = 0x5379_6e74;

pub(super) fn synth(arguments: &SynthArguments) -> anyhow::Result<()> {
    let draw = Draw {
        seed: 0,
        validation: arguments.validation,
        test: arguments.test,
    };
    if !draw.is_possible() {
        bail!(
            "--validation {} and --test {} must be shares of 0 to below 1 that leave scenes to train",
            draw.validation,
            draw.test
        );
    }
    super::own_folder::refuse_what_is_there(&arguments.out, arguments.overwrite)?;
    let set = ImageSet::create(&arguments.out)?;
    let seeds = arguments.seeds.clone();
    let scenes = seeds.end - seeds.start;
    let scenes = usize::try_from(scenes).context("there are too many scenes")?;
    let (progress, done) = (Progress::new("scenes drawn"), AtomicU64::new(0));
    let pieces = in_pieces(scenes, 1, |piece| {
        let mut rows = Vec::new();
        for scene in piece {
            rows.extend(of_scene(
                seeds.start + scene as u64,
                arguments,
                &draw,
                &set,
            )?);
            progress.show(done.fetch_add(1, Ordering::Relaxed) + 1, scenes as u64);
        }
        anyhow::Ok(rows)
    });
    let rows: Vec<Vec<Row>> = pieces.into_iter().collect::<anyhow::Result<_>>()?;
    let manifest = set.finish(rows.concat())?;
    super::stats::print_table(&manifest)?;
    print_line(&format!(
        "\n{} pictures written to {}",
        manifest.rows.len(),
        arguments.out.join(MANIFEST).display()
    ))
}

fn of_scene(
    seed: u64,
    arguments: &SynthArguments,
    draw: &Draw,
    set: &ImageSet,
) -> anyhow::Result<Vec<Row>> {
    let mut random = KeyedRandom::new(&[PURPOSE, seed]);
    let settings: SyntheticFacesSettings = serde_json::from_value(serde_json::json!({
        "seed": seed,
        "faces": 1 + seed % MOST_PEOPLE,
        "noise": random.below(MOST_NOISE + 1),
    }))?;
    let every_ns = settings.expression_every.0.as_nanos() as f64;
    let mut video = DrawnVideo::new(settings)?;
    let group = format!("scene-{seed}");
    let mut rows = Vec::new();
    for number in 0..arguments.each * EXPRESSIONS as u64 {
        let at = (number as f64 + random.uniform(SHOWN.0, SHOWN.1)) * every_ns;
        let drawn = video.at(at as u64);
        let truth = drawn.truth.context("what is drawn is known")?;
        for face in &truth.faces {
            let picture = cut_out(&drawn.frame, &face.rect, arguments.size, &mut random);
            let name = format!("{seed}/{}-{number}-{}", face.identity, face.expression);
            let about = About {
                label: face.expression,
                source: DRAWN,
                split: draw.split(&group),
                group: &group,
            };
            rows.push(set.picture(&name, &picture, &about)?);
        }
    }
    Ok(rows)
}

/// Cuts out a square around a face, slightly off in position and size, like a detector's. Beyond the frame, the edge
/// pixels are repeated.
fn cut_out(frame: &Frame, face: &Rect, size: u32, random: &mut KeyedRandom) -> Frame {
    let width = f64::from(face.w);
    let side = (width * random.uniform(SIDE.0, SIDE.1)).round().max(1.0);
    let mut shift = || width * random.uniform(-SHIFT, SHIFT);
    let left = f64::from(face.x + face.w / 2.0) - side / 2.0 + shift();
    let top = f64::from(face.y + face.h / 2.0) - side / 2.0 + shift();
    let (left, top, side) = (left.round() as i64, top.round() as i64, side as u32);
    let inside = |place: i64, most: usize| place.clamp(0, most as i64 - 1) as usize;
    let square = RgbImage::from_fn(side, side, |x, y| {
        let x = inside(left + i64::from(x), frame.width());
        let y = inside(top + i64::from(y), frame.height());
        let pixel = &frame.bgr()[3 * (y * frame.width() + x)..][..3];
        Rgb([pixel[2], pixel[1], pixel[0]])
    });
    let small = imageops::resize(&square, size, size, FilterType::Triangle);
    let bgr = small
        .pixels()
        .flat_map(|pixel| [pixel.0[2], pixel.0[1], pixel.0[0]]);
    Frame::from_bgr(size as usize, size as usize, bgr.collect())
}
