//! Files that are read into memory must be regular files: a pipe would wait for its writer, a device would fill the
//! memory.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fermata_learn::manifest::{Manifest, Mapping, Recipe};
use fermata_learn::npz::{Npz, read_npy, summary_of_npy};
use fermata_learn::predictions::Predictions;
use fermata_learn::votes::Votes;
use fermata_learn::weights::TensorFile;

/// Returns the error with which a reader rejects a file.
type Refusal = fn(&Path) -> Option<String>;

fn error<T, E: ToString>(read: Result<T, E>) -> Option<String> {
    read.err().map(|error| error.to_string())
}

#[test]
fn pipes_and_devices_are_refused_by_every_reader() {
    let readers: [(&str, Refusal); 10] = [
        ("a.csv", |path| error(Manifest::read(path))),
        ("a.csv", |path| error(Votes::read(path))),
        ("a.csv", |path| error(Predictions::read(path, &[]))),
        ("a.npz", |path| error(Predictions::read(path, &[]))),
        ("a.yaml", |path| error(Mapping::read(path))),
        ("a.yaml", |path| error(Recipe::read(path))),
        ("a.npz", |path| error(Npz::open(path))),
        ("a.npy", |path| error(read_npy(path))),
        ("a.npy", |path| error(summary_of_npy(path))),
        ("a.safetensors", |path| error(TensorFile::read(path))),
    ];
    for (name, read) in readers {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, device) = (folder.path().join(name), folder.path().join("device"));
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        std::fs::create_dir(&device).unwrap();
        let device = device.join(name);
        symlink("/dev/zero", &device).unwrap();
        for path in [pipe, device] {
            let refused = read(&path).unwrap_or_else(|| panic!("{} was read", path.display()));
            assert!(refused.contains("it is not a regular file"), "{refused}");
        }
    }
}

/// Writes an archive with one array whose header is this text.
fn archive(path: &Path, head: &str) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    archive
        .start_file(
            "logits.npy",
            zip::write::FileOptions::default().compression_method(zip::CompressionMethod::Stored),
        )
        .unwrap();
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.bytes());
    bytes.extend([0; 16]);
    std::io::Write::write_all(&mut archive, &bytes).unwrap();
    archive.finish().unwrap();
}

#[test]
fn arrays_of_an_archive_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    for (kind, shape, words) in [
        ("<f4", "(4294967296, 4294967296)", "cannot be in any file"),
        (
            "<f4",
            "(0, 4294967296, 4294967296)",
            "cannot be in any file",
        ),
        ("<f4", "(1000000, 1000000)", "cannot be in"),
        // A string of a gigabyte.
        ("<U268435456", "(1,)", "cannot be in"),
    ] {
        let head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        archive(&path, &head);
        let mut npz = Npz::open(&path).unwrap();
        let refused = match kind {
            "<f4" => error(npz.floats("logits")),
            _ => error(npz.texts("logits")),
        };
        let refused = refused.unwrap();
        assert!(refused.contains(words), "{shape}: {refused}");
    }
}
