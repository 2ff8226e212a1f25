//! `write_video` where it cannot write: full disks, and unwritable paths.

use fermata_engine::End;

use crate::support::ffprobe_pts_us;
use crate::write::{SIZE, create, names_in, noise, packet, picture, write};

#[test]
fn a_full_disk_fails_the_packets_and_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    std::os::unix::fs::symlink("/dev/full", folder.path().join("out.mp4.part"))
        .expect("a full disk");
    let mut writer = create(&path).unwrap_or_else(|error| panic!("{error}"));
    let mut errors = (0..80).filter_map(|number: usize| {
        let input = packet(
            noise((320, 240), number),
            number as u64,
            0,
            number as i64 * 40_000_000,
        );
        writer.process(input).err()
    });
    let first = errors.next().expect("an error").to_string();
    assert!(
        first.contains("No space left on device") && first.contains("out.mp4"),
        "{first}"
    );
    assert!(
        errors.count() > 0,
        "writing went on after the disk was full"
    );
    assert!(writer.finish(End::default()).is_err());
    drop(writer);
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn a_video_goes_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    std::os::unix::fs::symlink("/dev/full", folder.path().join("out.mp4.part"))
        .expect("a full disk");
    let mut writer = create(&path).unwrap_or_else(|error| panic!("{error}"));
    let failed = (0..150).filter(|number: &usize| {
        let at_ns = *number as i64 * 100_000_000;
        let input = packet(picture(SIZE, *number), *number as u64, 0, at_ns);
        writer.process(input).is_err()
    });
    let failed: Vec<usize> = failed.collect();
    // Each frame is written when the next one comes.
    let (first, last) = (failed[0], failed[failed.len() - 1]);
    assert!(failed.iter().copied().eq(first..=last), "{failed:?}");
    assert_eq!(last - first, 99, "ten seconds");
    let error = writer
        .finish(End::default())
        .expect_err("frames are missing");
    assert!(error.to_string().contains("out.mp4.part"), "{error}");
    drop(writer);
    // The first file is empty, so the second gets its name.
    assert_eq!(names_in(folder.path()), ["out.mp4"]);
    assert_eq!(ffprobe_pts_us(&path).len(), 150 - last);
}

#[test]
fn a_full_disk_at_the_very_end_fails_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    std::os::unix::fs::symlink("/dev/full", folder.path().join("out.mp4.part"))
        .expect("a full disk");
    let failed = write(&path, &[(0, 0), (0, 40_000_000)], |number| {
        picture(SIZE, number)
    });
    let failed = failed.expect_err("a full disk").to_string();
    assert!(failed.contains("No space left on device"), "{failed}");
    assert!(!path.exists());
}

#[test]
fn a_path_that_cannot_be_written_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("taken.mp4")).expect("a folder");
    for (name, said) in [
        ("missing/out.mp4", "folder must exist"),
        ("taken.mp4", "it is a folder"),
        ("out.avi", "must end in .mp4"),
    ] {
        let refused = create(&folder.path().join(name))
            .expect_err(name)
            .to_string();
        assert!(
            refused.contains(said) && refused.contains(name),
            "{refused}"
        );
    }
}

#[test]
fn a_frame_that_is_too_long_for_the_encoder_fails_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.mp4");
    let mut writer = create(&path).unwrap_or_else(|error| panic!("{error}"));
    for (number, size) in [(16_385, 16), (16, 16_386)].into_iter().enumerate() {
        let input = packet(picture(size, 0), number as u64, 0, number as i64);
        let error = writer.process(input).expect_err("a long side").to_string();
        assert!(error.contains("16384 on a side"), "{error}");
    }
    for number in 2..4 {
        let at_ns = number as i64 * 40_000_000;
        let input = packet(picture((16_384, 16), 0), number, 0, at_ns);
        writer
            .process(input)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    writer.finish(End::default()).expect("a video");
    assert_eq!(ffprobe_pts_us(&path).len(), 2);
}
