//! Rows of a unit, and their images.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fermata_engine::testing::{ActorDriver, Collector, SourceDriver, setup};
use fermata_engine::{Graph, LoadOptions, Registry, RunOptions, RunningGraph};
use fermata_jobs::load_images::LoadImages;
use fermata_jobs::manifest_rows::{ManifestRows, ManifestRowsSettings};
use fermata_jobs::payload::{Loaded, LoadedRow, ManifestRow, Purpose, Wanted, WantedRow};
use fermata_jobs::unit::Unit;
use fermata_learn::manifest::{Manifest, Split};
use serde_json::json;

use crate::pictures::{SIDE, picture, set};

fn unit(path: &Path, rows: std::ops::Range<usize>, split: Option<Split>) -> Unit {
    Unit {
        number: 0,
        units: 1,
        rows,
        split,
        manifest_sha256: Manifest::read(path).unwrap().sha256,
        manifest: path.to_owned(),
    }
}

fn source(unit: &Unit) -> Result<SourceDriver<ManifestRows>, String> {
    let settings = ManifestRowsSettings {
        unit: unit.to_string(),
    };
    let setup = setup().with_services(fermata_jobs::services());
    SourceDriver::create(settings, setup).map_err(|error| error.to_string())
}

#[test]
fn a_unit_gives_its_rows_in_the_manifests_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), 30);
    // Rows 14-20 are for validation.
    let unit = unit(&path, 2..5, Some(Split::Validation));
    let rows: Vec<_> = source(&unit).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    for (position, mut packet) in rows.into_iter().enumerate() {
        assert_eq!(packet.envelope.sequence, position as u64);
        let Wanted::Row(wanted) = &*packet.take::<Wanted>() else {
            panic!("no row");
        };
        assert_eq!(wanted.row.index(), 16 + position);
        assert_eq!(wanted.row.row().split, Split::Validation);
        assert_eq!(wanted.purpose, Purpose::Unit);
    }
}

#[test]
fn a_unit_of_another_manifest_or_beyond_its_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), 10);
    let beyond = unit(&path, 5..11, None);
    let error = source(&beyond).err().unwrap();
    assert!(error.contains("has no rows 5-11"), "{error}");
    let before = unit(&path, 0..5, None);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("set", "sets")).unwrap();
    let error = source(&before).err().unwrap();
    assert!(error.contains("has been changed meanwhile"), "{error}");
}

const TRAIN: Purpose = Purpose::Train {
    epoch: 2,
    step: 3,
    view: 1,
};

fn load(path: &Path, row: usize) -> LoadedRow {
    let manifest = Arc::new(Manifest::read(path).unwrap());
    let wanted = Wanted::Row(WantedRow {
        row: ManifestRow::new(&manifest, row).unwrap(),
        purpose: TRAIN,
    });
    let mut actor = ActorDriver::<LoadImages>::new(json!({})).unwrap();
    match &*actor.feed(wanted).unwrap().only::<Loaded>() {
        Loaded::Row(row) => row.clone(),
        Loaded::EpochEnd { .. } => panic!("no row"),
    }
}

#[test]
fn a_row_gets_its_picture_and_keeps_its_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = load(&set(folder.path(), 9), 8);
    assert_eq!(loaded.wanted.purpose, TRAIN);
    let picture: Vec<u8> = picture(1, 8).into_raw();
    let bgr: Vec<u8> = picture.into_iter().flat_map(|value| [value; 3]).collect();
    assert_eq!(loaded.picture.unwrap().bgr(), bgr);
}

#[test]
fn an_image_that_cannot_be_read_travels_as_a_row_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), 9);
    let text = fs::read_to_string(&path).unwrap();
    let reason = |row| load(&path, row).picture.unwrap_err().reason;
    fs::remove_file(folder.path().join("003.png")).unwrap();
    assert!(reason(3).contains("No such file"), "{}", reason(3));
    fs::copy(folder.path().join("004.png"), folder.path().join("005.png")).unwrap();
    assert!(reason(5).contains("not the manifest's"), "{}", reason(5));
    let png = fs::read(folder.path().join("006.png")).unwrap();
    let (whole, cut) = (fermata_files::sha256(&png), &png[..png.len() / 2]);
    fs::write(folder.path().join("006.png"), cut).unwrap();
    let text = text.replace(&whole, &fermata_files::sha256(cut));
    let size = format!(
        "g7,{},{SIDE},",
        fermata_files::sha256(&fs::read(folder.path().join("007.png")).unwrap())
    );
    assert!(text.contains(&size));
    fs::write(&path, text.replace(&size, &size.replace(",16,", ",17,"))).unwrap();
    assert!(reason(6).contains("damaged"), "{}", reason(6));
    assert_eq!(
        &*reason(7),
        "it is 16 x 16 pixels, and the manifest says 17 x 16"
    );
}

#[test]
fn an_epochs_end_passes_in_its_place() {
    let mut actor = ActorDriver::<LoadImages>::new(json!({})).unwrap();
    let outcome = actor.feed(Wanted::EpochEnd { epoch: 4 }).unwrap();
    assert!(matches!(
        *outcome.only::<Loaded>(),
        Loaded::EpochEnd { epoch: 4 }
    ));
}

#[test]
fn replicas_keep_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), 60);
    let mut registry = Registry::builtin();
    fermata_jobs::register(&mut registry);
    let collector = Collector::register(&mut registry, "collect");
    let graph = format!(
        "
fermata: 1
streams: {{unit: \"{}\"}}
nodes:
  rows:   {{use: manifest_rows, each: stream, unit: \"${{stream.uri}}\"}}
  images: {{use: load_images, in: rows, replicas: 3}}
  end:    {{use: collect, in: images}}
run: {{clock: asap}}
",
        unit(&path, 0..60, None)
    );
    let graph = Graph::parse("test.yaml", &graph, &registry, &LoadOptions::new("out")).unwrap();
    let options = RunOptions {
        services: fermata_jobs::services(),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(graph, Arc::new(registry), options).unwrap();
    assert!(running.wait().balanced);
    let loaded = collector.payloads::<Loaded>("unit");
    let rows = loaded.iter().map(|loaded| match &**loaded {
        Loaded::Row(row) if row.picture.is_ok() => row.wanted.row.index(),
        other => panic!("{other:?}"),
    });
    assert_eq!(rows.collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
}
