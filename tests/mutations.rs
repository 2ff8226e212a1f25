//! Damaged and malicious files: real ones with bits flipped and with parts truncated, zeroed or duplicated. Each is
//! read or refused; none crashes the process, keeps it busy or makes it large. Fuzzing with coverage, for texts only,
//! is done by `scripts/fuzz.sh`.
//!
//! `FERMATA_MUTATIONS` sets how many files of each kind are tried (25), `FERMATA_MUTATIONS_SEED` which ones (14).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use fermata_actors::sources::video_source::{VideoSource, VideoSourceSettings};
use fermata_engine::testing::{SourceDriver, setup};
use fermata_vision::{FramePool, ModelCard, image_file};

use crate::skipped::skip;

/// The address space of the process that reads: libtorch alone takes a large part of it.
const MOST_KIB: u64 = 12_000_000;
/// The peak resident memory allowed.
const MOST_RESIDENT_KIB: u64 = 1_500_000;
/// Frames decoded per file.
const MOST_FRAMES: usize = 200;
/// A file that takes longer hangs the process. All of them together take a few minutes, whatever else the machine does.
const MOST_TIME: Duration = Duration::from_secs(40);
/// The exit code of a process that hangs.
const HANGS: i32 = 124;

const FOLDER: &str = "FERMATA_MUTATED_FOLDER";

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

/// A generator that yields the same numbers for the same seed (Steele, Lea and Flood's SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// Damages a file, more often near its beginning, which describes its structure.
fn mutated(whole: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let place = |numbers: &mut Numbers, length: usize| match numbers.below(3) {
        0 => numbers.below(length.min(256)),
        _ => numbers.below(length),
    };
    for _ in 0..=numbers.below(4) {
        let length = bytes.len();
        let at = place(numbers, length);
        let end = (at + 1 + numbers.below(64)).min(length);
        match numbers.below(7) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes[at..end].fill(0),
            2 => bytes[at..end].fill(0xFF),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => drop(bytes.drain(at..end.min(length - 1).max(at))),
            _ => {
                for _ in 0..=numbers.below(16) {
                    let at = place(numbers, length);
                    bytes[at] ^= 1 << numbers.below(8);
                }
            }
        }
    }
    bytes
}

/// Makes whole files of every kind that is read.
fn whole_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (name, codec) in [
        ("a.mp4", "libx264"),
        ("b.mkv", "libx264"),
        ("c.ts", "libx264"),
        ("d.avi", "mjpeg"),
        ("e.webm", "libvpx"),
        ("f.flv", "flv"),
        ("g.mov", "mpeg4"),
        ("h.h264", "libx264"),
        ("i.mjpeg", "mjpeg"),
        ("j.mpg", "mpeg2video"),
        ("k.gif", "gif"),
        ("k.nut", "mpeg4"),
        ("k.mxf", "mpeg2video"),
        ("k.hevc", "libx265"),
        ("k.wmv", "wmv2"),
        ("k.ogv", "libtheora"),
        ("k.ivf", "libvpx"),
        // GXF supports only television sizes.
        ("t.gxf", "mpeg2video -s 720x576 -q:v 31"),
        (
            "u.mp4",
            "libx264 -g 5 -movflags frag_keyframe+empty_moov+default_base_moof",
        ),
        ("v.y4m", "wrapped_avframe -pix_fmt yuv420p"),
        ("w.webp", "libwebp_anim"),
    ] {
        let path = folder.join(name);
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i"])
            .args(["testsrc=size=96x64:rate=25:duration=0.6", "-c:v"])
            .args(codec.split(' '))
            .arg(&path)
            // libx265 prints messages whatever its settings.
            .stderr(Stdio::null())
            .status();
        match made {
            Ok(status) if status.success() => files.push(path),
            _ => skip(&format!("no ffmpeg that writes {name}")),
        }
    }
    let picture = image::RgbImage::from_fn(40, 30, |x, y| {
        image::Rgb([x as u8 * 5, y as u8 * 7, (x * y) as u8])
    });
    for name in ["l.png", "m.jpg", "n.bmp", "o.webp"] {
        let path = folder.join(name);
        picture.save(&path).unwrap();
        files.push(path);
    }
    for (source, name) in [
        ("models/expression/card.yaml", "p.card"),
        ("graphs/demo.yaml", "q.yaml"),
    ] {
        let path = folder.join(name);
        std::fs::copy(crate::support::repository(source), &path).unwrap();
        files.push(path);
    }
    #[cfg(feature = "learn")]
    {
        let path = folder.join("r.npy");
        let array = fermata_learn::npz::Array {
            shape: vec![4, 1, 6, 6],
            values: (0..144).map(|value| value as f32).collect(),
        };
        fermata_learn::npz::write_npy(&path, &array).unwrap();
        files.push(path);
        let path = folder.join("s.npz");
        let labels = fermata_learn::npz::Array {
            shape: vec![4],
            values: vec![0, 1, 2, 3],
        };
        let arrays = std::collections::BTreeMap::from([
            ("logits", fermata_learn::npz::NpzArray::Floats(array)),
            ("labels", fermata_learn::npz::NpzArray::Integers(labels)),
        ]);
        fermata_learn::npz::write_npz(&path, &arrays).unwrap();
        files.push(path);
    }
    files
}

#[test]
fn damaged_files_are_read_or_refused() {
    let (count, seed) = (
        number("FERMATA_MUTATIONS", 25),
        number("FERMATA_MUTATIONS_SEED", 14),
    );
    let originals = tempfile::tempdir().unwrap();
    let files = whole_files(originals.path());
    let pool = FramePool::new();
    for file in &files {
        assert!(is_read(file, &pool), "{} is whole", file.display());
    }
    // In batches, so that the disk does not fill up.
    for begun in (0..count).step_by(100) {
        let folder = tempfile::tempdir().unwrap();
        for file in &files {
            let whole = std::fs::read(file).unwrap();
            let name = file.file_name().unwrap().to_string_lossy();
            for index in begun..count.min(begun + 100) {
                let mut numbers = Numbers(seed ^ (index << 8) ^ u64::from(name.as_bytes()[0]));
                let path = folder.path().join(format!("{index}-{name}"));
                std::fs::write(path, mutated(&whole, &mut numbers)).unwrap();
            }
        }
        let script = format!("ulimit -v {MOST_KIB}; exec \"$0\" \"$@\"");
        let read = Command::new("bash")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args([
                "mutations::reads_a_folder",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&read.stdout);
        let last: Vec<&str> = said.lines().rev().take(12).collect();
        let errors = String::from_utf8_lossy(&read.stderr);
        if !read.status.success() {
            let kept = folder.keep();
            panic!(
                "FERMATA_MUTATIONS_SEED={seed}: {} at the end of {last:#?} in {}\n{errors}",
                read.status,
                kept.display()
            );
        }
        println!(
            "{}",
            last.iter()
                .find(|line| line.contains("resident"))
                .unwrap_or(&"")
                .trim()
        );
    }
}

/// Runs in a process of its own, started by the other test.
#[test]
#[ignore = "reads what another test has made"]
fn reads_a_folder() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let mut files: Vec<PathBuf> = Path::new(&folder)
        .read_dir()
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let (mut whole, mut refused) = (0, 0);
    let pool = FramePool::new();
    let begun = ending_hangs();
    for file in files {
        println!("{}", file.display());
        begun.send(()).unwrap();
        if is_read(&file, &pool) {
            whole += 1
        } else {
            refused += 1
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!(
        "{whole} read, {refused} refused, {} MiB resident at most",
        peak >> 10
    );
    assert!(peak < MOST_RESIDENT_KIB, "{peak} KiB");
}

/// Ends the process if a file has been started and nothing has followed for too long.
fn ending_hangs() -> Sender<()> {
    let (begun, begins) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            match begins.recv_timeout(MOST_TIME) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("the last file has taken {MOST_TIME:?}");
                    std::process::exit(HANGS);
                }
            }
        }
    });
    begun
}

fn is_read(file: &Path, pool: &FramePool) -> bool {
    let text = || String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("png" | "jpg" | "bmp") => image_file::read(file, pool).is_ok(),
        // An animated one is a picture, or a video of which libav reads nothing.
        Some("webp") => image_file::read(file, pool).is_ok() | is_video_read(file),
        Some("card") => ModelCard::parse(&text(), file).is_ok(),
        Some("yaml") => {
            // A mutation must not decide which files a graph includes.
            let text = text().replace("include", "exclude");
            let graph = fermata_engine::Graph::parse(
                "q.yaml",
                &text,
                &crate::support::registry(),
                &crate::support::options(),
            );
            graph.is_ok_and(|graph| !graph.resolved_yaml().is_empty() && !graph.to_dot().is_empty())
        }
        #[cfg(feature = "learn")]
        Some("npy") => fermata_learn::npz::read_npy(file).is_ok(),
        #[cfg(feature = "learn")]
        Some("npz") => fermata_learn::npz::Npz::open(file).is_ok_and(|mut npz| {
            let names = npz.names().to_vec();
            names.iter().all(|name| {
                npz.floats(name).is_ok() || npz.integers(name).is_ok() || npz.texts(name).is_ok()
            })
        }),
        _ => is_video_read(file),
    }
}

fn is_video_read(file: &Path) -> bool {
    let settings = serde_json::json!({"uri": file});
    let settings: VideoSourceSettings = serde_json::from_value(settings).unwrap();
    let Ok(source) = SourceDriver::<VideoSource>::create(settings, setup()) else {
        return false;
    };
    source.take(MOST_FRAMES).all(|packet| packet.is_ok())
}
