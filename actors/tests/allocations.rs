//! Checks what detector, crop and classifier allocate per frame once they are warm: nothing above 4 KiB.
//!
//! An actor is warm when it has seen as many and as large faces before: its buffers only grow, by doubling, and a crop
//! in progress needs one of its own. So every clip is shown twice, and only the second time counts.
//!
//! A program of its own, because it replaces the allocator by a counting one: it counts what Rust code allocates during
//! a call, on the thread that calls an actor. Memory that libraries take from `malloc` themselves is not counted: ONNX
//! Runtime's; OpenCV's tables inside each `resize` and `warpAffine` (5 to 16 KiB) and, with `clahe`, its bordered copy
//! of a crop. Sources, and the engine between the actors, are not examined.

#[path = "../../tests/skipped.rs"]
mod skipped;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_actors::faces::crop_faces::CropFaces;
use fermata_actors::faces::detect_faces::DetectFaces;
use fermata_actors::inference::classify_expression::ClassifyExpression;
use fermata_actors::payload::Faces;
use fermata_actors::sources::synthetic_faces::SyntheticFaces;
use fermata_actors::sources::video_source::VideoSource;
use fermata_engine::testing::{ActorDriver, Emission, SourceDriver};
use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup, Source};
use fermata_files::sha256_of_file;
use fermata_vision::Face;
use fermata_vision::card::{CARD_FILE, ONNX_FILE};
use serde_json::{Value, json};
use skipped::data;

/// Size in bytes above which an allocation is large.
const LARGE: usize = 4096;
/// Number of frames in a clip; in the test of batches, number of packets in a batch.
const FRAMES: usize = 64;

/// Totals of allocations.
#[derive(Clone, Copy, Default)]
struct Tally {
    large: u64,
    small: u64,
    small_bytes: u64,
    largest: usize,
}

impl Tally {
    const NOTHING: Self = Self {
        large: 0,
        small: 0,
        small_bytes: 0,
        largest: 0,
    };

    fn add(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes);
        if bytes > LARGE {
            self.large += 1;
        } else {
            self.small += 1;
            self.small_bytes += bytes as u64;
        }
    }
}

thread_local! {
    /// Allocations of this thread. Without a destructor, so that the allocator may use it at any time.
    static ALLOCATED: Cell<Tally> = const { Cell::new(Tally::NOTHING) };
}

/// The system's allocator, with counters.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: usize) {
    let mut tally = ALLOCATED.get();
    tally.add(bytes);
    ALLOCATED.set(tally);
}

#[allow(
    unsafe_code,
    reason = "an allocator cannot be replaced without; every call goes to the system's as it came"
)]
// SAFETY: allocates nothing itself and forwards its arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(place, layout, new_size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

/// An actor whose allocations during calls are counted.
struct Counted<A> {
    actor: A,
    warming: Tally,
    tally: Tally,
}

impl<A: Actor> Counted<A> {
    fn count(
        &mut self,
        call: impl FnOnce(&mut A) -> Result<(), ActorError>,
    ) -> Result<(), ActorError> {
        ALLOCATED.set(self.tally);
        let done = call(&mut self.actor);
        self.tally = ALLOCATED.get();
        done
    }
}

impl<A: Actor> Actor for Counted<A> {
    const NAME: &'static str = A::NAME;
    type Settings = A::Settings;

    fn ports(settings: &A::Settings) -> Ports {
        A::ports(settings)
    }

    fn create(settings: A::Settings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            actor: A::create(settings, setup)?,
            warming: Tally::NOTHING,
            tally: Tally::NOTHING,
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.count(|actor| actor.process(input, out))
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        self.count(|actor| actor.process_batch(inputs, out))
    }
}

/// A counted actor in a test driver.
struct Driven<A: Actor>(ActorDriver<Counted<A>>);

impl<A: Actor> Driven<A> {
    fn new(settings: Value) -> Self {
        Self(ActorDriver::new(settings).expect("an actor"))
    }

    /// Ends the warm-up: allocations count from now on.
    fn warm(&mut self) {
        let counted = &mut self.0.actor;
        counted.warming = std::mem::take(&mut counted.tally);
    }

    fn process(&mut self, packet: Input) -> Input {
        let mut emitted = self.0.process(packet).expect("no error").emitted;
        emitted.pop().expect("a packet for the packet").into_input()
    }

    fn process_batch(&mut self, packets: Vec<Input>) -> Vec<Input> {
        let count = packets.len();
        let emitted = self.0.process_batch(packets).expect("no error").emitted;
        assert_eq!(emitted.len(), count, "a packet for each packet");
        emitted.into_iter().map(Emission::into_input).collect()
    }

    /// Prints the totals and fails if there was a large allocation.
    fn close(&self, with: impl fmt::Display) {
        let Tally {
            large,
            small,
            small_bytes,
            largest,
        } = self.0.actor.tally;
        let frames = FRAMES as f64;
        println!(
            "{} ({with}): {:.2} large allocations for a frame, {:.1} small ones of {:.0} bytes together, none above {largest} bytes; {} large ones to warm up",
            A::NAME,
            large as f64 / frames,
            small as f64 / frames,
            small_bytes as f64 / frames,
            self.0.actor.warming.large,
        );
        assert_eq!(
            large,
            0,
            "{} ({with}) allocated more than {LARGE} bytes in {FRAMES} frames, at most {largest}",
            A::NAME
        );
    }
}

/// Returns a clip; each frame is produced on demand.
fn frames<S: Source>(settings: Value) -> impl Iterator<Item = Input> {
    let source = SourceDriver::<S>::new(settings).expect("a source");
    source.take(FRAMES).map(|frame| frame.expect("a frame"))
}

/// Returns a clip of two people who move.
fn drawn() -> Box<dyn Iterator<Item = Input>> {
    let settings = json!({ "faces": 2, "noise": 8 });
    Box::new(frames::<SyntheticFaces>(settings))
}

/// Returns a clip of one large face that moves, from the real data if available, else drawn.
fn clip(data: Option<&PathBuf>) -> Box<dyn Iterator<Item = Input>> {
    let Some(data) = data else { return drawn() };
    let path = data.join("videos/pyfeat_WolfgangLanger_Pexels.mp4");
    Box::new(frames::<VideoSource>(json!({ "uri": path })))
}

/// Returns the faces in an actor's output.
fn faces(mut packet: Input) -> Vec<Face> {
    Arc::unwrap_or_clone(packet.take::<Faces>()).faces
}

const MINI_XCEPTION: &str = "\
input: {name: input, size: 64, layout: nchw, colour: gray}
interpolation: area
scaling: [{divide: 255}, {multiply: 2}, {subtract: 1}]
output: {name: probs, kind: probabilities, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
";

const FACE_API: &str = "\
input: {name: input, size: 112, layout: nchw, colour: rgb}
interpolation: linear
scaling: []
output: {name: probs, kind: probabilities, classes: [neutral, happy, sad, angry, fear, disgust, surprise]}
";

/// A card with every preprocessing step, in the frame's own resolution.
const ALIGNED_AND_EQUALISED: &str = "\
crop: {alignment: landmarks_or_box, margin: 0.3}
clahe: {clip: 2, tiles: 8, on: l, at: crop}
";

/// Creates a model folder; weights that only `crop_faces` sees may be anything.
fn model(card: &str, weights: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(ONNX_FILE);
    std::fs::write(&file, weights).expect("the weights");
    let sum = sha256_of_file(&file).expect("a checksum");
    let card = format!("{card}licence: MIT\nsource: a test\nsha256: {sum}\n");
    std::fs::write(folder.path().join(CARD_FILE), card).expect("the card");
    folder
}

#[test]
fn large_and_small_allocations_are_told_apart() {
    ALLOCATED.set(Tally::NOTHING);
    let mut buffer = black_box(vec![0_u8; LARGE]);
    assert_eq!((ALLOCATED.get().large, ALLOCATED.get().small), (0, 1));
    buffer.reserve_exact(LARGE + 1);
    black_box(Vec::<f32>::with_capacity(LARGE));
    assert_eq!((ALLOCATED.get().large, ALLOCATED.get().small), (2, 1));
    assert_eq!(ALLOCATED.get().largest, LARGE * size_of::<f32>());
}

#[test]
fn a_cascade_and_its_crops_allocate_nothing_large() {
    let aligned = format!("{FACE_API}{ALIGNED_AND_EQUALISED}");
    for (card, settings) in [
        (MINI_XCEPTION, json!({ "min_size": 60 })),
        (&aligned, json!({ "min_size": 60, "max_side": 320 })),
    ] {
        let folder = model(card, b"no weights");
        let with = settings.to_string();
        let mut detect = Driven::<DetectFaces>::new(settings);
        let mut crop = Driven::<CropFaces>::new(json!({ "model": folder.path() }));
        for _ in 0..2 {
            detect.warm();
            crop.warm();
            let packets = drawn().map(|frame| crop.process(detect.process(frame)));
            let crops = packets.flat_map(faces).filter_map(|face| face.crop).count();
            assert!(crops > FRAMES, "{crops} crops");
        }
        detect.close(&with);
        crop.close(&with);
    }
}

#[test]
fn networks_allocate_nothing_large() {
    let Some(data) = data() else { return };
    let weights = |name: &str| std::fs::read(data.join("classify").join(name)).unwrap();
    let mini_xception = weights("fer2013_mini_XCEPTION.102-0.66.onnx");
    let face_api = weights("faceapi_face_expression.onnx");
    let aligned = format!("{FACE_API}{ALIGNED_AND_EQUALISED}");
    let yunet = data.join("detect/yunet_n_dynamic.onnx");
    let ultraface = data.join("detect/ultraface_version-RFB-320.onnx");
    let whole = json!({ "model": yunet });
    let shrunk = json!({ "model": yunet, "max_side": 320 });
    let fixed = json!({ "model": ultraface });
    for (detector, card, weights) in [
        (whole, MINI_XCEPTION, &mini_xception),
        (shrunk, &aligned, &face_api),
        (fixed, FACE_API, &face_api),
    ] {
        let folder = model(card, weights);
        for filmed in [false, true] {
            let classifier = json!({ "model": folder.path() });
            let mut detect = Driven::<DetectFaces>::new(detector.clone());
            let mut crop = Driven::<CropFaces>::new(classifier.clone());
            let mut classify = Driven::<ClassifyExpression>::new(classifier);
            for _ in 0..2 {
                detect.warm();
                crop.warm();
                classify.warm();
                let frames = clip(filmed.then_some(&data));
                let packets =
                    frames.map(|frame| classify.process(crop.process(detect.process(frame))));
                let told = packets
                    .flat_map(faces)
                    .filter_map(|face| face.probabilities);
                let told = told.count();
                assert!(told >= FRAMES, "{told} faces");
            }
            let source = if filmed { "filmed" } else { "drawn" };
            let with = format!("{source}, {detector}");
            detect.close(&with);
            crop.close(&with);
            classify.close(&with);
        }
    }
}

#[test]
fn a_classifier_of_batches_allocates_nothing_large() {
    let Some(data) = data() else { return };
    let weights = std::fs::read(data.join("classify/fer2013_mini_XCEPTION.102-0.66.onnx")).unwrap();
    let folder = model(MINI_XCEPTION, &weights);
    let settings = json!({ "model": folder.path() });
    let detector = data.join("detect/yunet_n_dynamic.onnx");
    let mut detect = Driven::<DetectFaces>::new(json!({ "model": detector }));
    let mut crop = Driven::<CropFaces>::new(settings.clone());
    let mut classify = Driven::<ClassifyExpression>::new(settings);
    for _ in 0..2 {
        classify.warm();
        let batch = drawn().map(|frame| crop.process(detect.process(frame)));
        let packets = classify.process_batch(batch.collect()).into_iter();
        let told = packets
            .flat_map(faces)
            .filter_map(|face| face.probabilities);
        let told = told.count();
        assert!(told > FRAMES, "{told} faces");
    }
    classify.close(format_args!("a batch of {FRAMES} packets"));
}
