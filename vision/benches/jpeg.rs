//! Measures decoding and encoding of JPEG beside the `image` crate, which is pure Rust: one thread, photographs at 224
//! pixels.
//!
//!     FERMATA_DATA=../shared/data cargo bench -p fermata-vision --bench jpeg

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fermata_vision::{Frame, FramePool, image_file, jpeg};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use opencv::core::Size;
use opencv::imgproc;

const ROUNDS: usize = 7;
const PHOTOGRAPHS: usize = 100;
const QUALITY: u8 = 85;

/// Returns the microseconds that a call takes for each of these.
fn microseconds<T, R>(all: &[T], call: impl Fn(&T) -> R) -> f64 {
    let begin = Instant::now();
    for one in all {
        black_box(call(one));
    }
    begin.elapsed().as_secs_f64() * 1e6 / all.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures both in turns, and prints medians and the ratio of each round.
fn compare<T, R, S>(what: &str, all: &[T], ours: impl Fn(&T) -> R, theirs: impl Fn(&T) -> S) {
    let rounds = |_| (microseconds(all, &ours), microseconds(all, &theirs));
    let times: Vec<(f64, f64)> = (0..ROUNDS).map(rounds).collect();
    let ratios: Vec<f64> = times.iter().map(|(ours, theirs)| theirs / ours).collect();
    let (least, most) = ratios
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), &ratio| {
            (least.min(ratio), most.max(ratio))
        });
    let (ours, theirs) = times.into_iter().unzip();
    println!(
        "{what}: {:.0} µs, image {:.0} µs, image by ours {:.2} ({least:.2} to {most:.2})",
        median(ours),
        median(theirs),
        median(ratios),
    );
}

fn at_224(path: &Path, pool: &FramePool) -> Frame {
    let photograph = image_file::read(path, pool).expect("a photograph");
    let mut frame = pool.take(224, 224);
    imgproc::resize(
        &photograph.mat().expect("pixels"),
        &mut frame.mat_mut().expect("pixels"),
        Size::new(224, 224),
        0.0,
        0.0,
        imgproc::INTER_AREA,
    )
    .expect("resized");
    frame.freeze()
}

fn main() {
    let data =
        std::env::var_os("FERMATA_DATA").expect("FERMATA_DATA names the folder of test data");
    let folder = PathBuf::from(data).join("fer/muxspace/happy");
    let entries = folder.read_dir().expect("the folder of photographs");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "jpg"));
    paths.sort();
    paths.truncate(PHOTOGRAPHS);
    let pool = FramePool::new();
    let frames: Vec<Frame> = paths.iter().map(|path| at_224(path, &pool)).collect();
    let encode = |frame: &Frame| jpeg::encode(frame, QUALITY).expect("encoded");
    let files: Vec<Vec<u8>> = frames.iter().map(encode).collect();
    let pixels: usize = frames
        .iter()
        .map(|frame| frame.width() * frame.height())
        .sum();
    let (count, kilobytes) = (
        files.len(),
        files.iter().map(Vec::len).sum::<usize>() / 1000,
    );
    println!(
        "{count} photographs of {} pixels and {} kB",
        pixels / count,
        kilobytes / count
    );

    let decode = |bytes: &Vec<u8>| image_file::decode(bytes, &pool).expect("decoded");
    compare("decode", &files, decode, |bytes| {
        image::load_from_memory(bytes).expect("decoded")
    });
    compare("encode", &frames, encode, |frame| {
        let (width, height) = (frame.width() as u32, frame.height() as u32);
        // The order of the channels is not what is measured.
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, QUALITY)
            .encode(frame.bgr(), width, height, ExtendedColorType::Rgb8)
            .expect("encoded");
        bytes
    });
}
