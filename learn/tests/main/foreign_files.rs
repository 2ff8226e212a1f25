//! Arrays, tables and settings as other programs and people write them: each gives the right values, or one error that
//! names the file and the place.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fermata_learn::manifest::{COLUMNS, Manifest, Recipe};
use fermata_learn::npz::{Npz, read_npy};
use fermata_learn::predictions::Predictions;
use fermata_learn::votes::Votes;
use zip::CompressionMethod::{Deflated, Stored};
use zip::write::FileOptions;

fn classes() -> Vec<String> {
    ["happy", "sad"].map(str::to_owned).to_vec()
}

/// Returns an array as NumPy writes it.
fn npy(descr: &str, order: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut head = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let length = (head.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], head.as_bytes(), values].concat()
}

fn archive(path: &Path, options: FileOptions, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Returns two rows of logits, 1 to 4, in single precision and native byte order.
fn logits() -> Vec<u8> {
    npy(
        "'<f4'",
        "False",
        "(2, 2)",
        &bytes([1f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes)),
    )
}

fn labels() -> Vec<u8> {
    npy(
        "'<i8'",
        "False",
        "(2,)",
        &bytes([0i64, 1].map(i64::to_le_bytes)),
    )
}

fn bytes<const N: usize, const W: usize>(values: [[u8; W]; N]) -> Vec<u8> {
    values.concat()
}

#[test]
fn arrays_have_their_values_however_they_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    let plain = FileOptions::default().compression_method(Stored);
    let numbers = [1.0, 2.0, 3.0, 4.0];
    let large = npy(
        "'>f8'",
        "False",
        "(2, 2)",
        &bytes(numbers.map(f64::to_be_bytes)),
    );
    let big = npy(
        "'>f4'",
        "False",
        "(2, 2)",
        &bytes(numbers.map(|number| (number as f32).to_be_bytes())),
    );
    let standing = npy(
        "'<f4'",
        "True",
        "(2, 2)",
        &bytes([1f32, 3.0, 2.0, 4.0].map(f32::to_le_bytes)),
    );
    let counted = npy(
        "'>u2'",
        "False",
        "(2,)",
        &bytes([0u16, 1].map(u16::to_be_bytes)),
    );
    for (name, options, logits, labels) in [
        ("stored", plain, logits(), labels()),
        (
            "as numpy.savez does, with room for 64 bits of size",
            plain.large_file(true),
            logits(),
            labels(),
        ),
        (
            "deflated",
            plain.compression_method(Deflated),
            logits(),
            labels(),
        ),
        (
            "deflated, 64 bits of size",
            plain.compression_method(Deflated).large_file(true),
            logits(),
            labels(),
        ),
        ("big-endian", plain, big, counted.clone()),
        ("big-endian, double", plain, large, counted),
        ("columns after each other", plain, standing, labels()),
    ] {
        archive(&path, options, &[("logits", logits), ("labels", labels)]);
        let read =
            Predictions::read(&path, &classes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            [read.row(0), read.row(1)],
            [&[1.0, 2.0], &[3.0, 4.0]],
            "{name}"
        );
        assert_eq!(read.labels(), [0, 1], "{name}");
    }
}

#[test]
fn arrays_of_no_rows_are_arrays_and_no_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    let plain = FileOptions::default().compression_method(Stored);
    let empty = [
        ("logits", npy("'<f4'", "False", "(0, 2)", &[])),
        ("labels", npy("'<i8'", "True", "(0,)", &[])),
        ("texts", npy("'<U7'", "False", "(0,)", &[])),
    ];
    archive(&path, plain, &empty);
    let mut npz = Npz::open(&path).unwrap();
    assert_eq!(npz.floats("logits").unwrap().shape, [0, 2]);
    assert_eq!(npz.integers("labels").unwrap().values, [0i64; 0]);
    assert_eq!(npz.texts("texts").unwrap().values, [""; 0]);
    let refused = Predictions::read(&path, &classes())
        .unwrap_err()
        .to_string();
    assert!(refused.ends_with("p.npz: there are no rows"), "{refused}");
}

#[test]
fn arrays_that_hold_something_else_are_named_with_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    let plain = FileOptions::default().compression_method(Stored);
    // Two numbers as written by `pickle`.
    let objects = b"\x80\x04K\x01K\x02.";
    for (logits, labels, words) in [
        (
            npy("'|O'", "False", "(2, 2)", objects),
            labels(),
            "`logits` holds |O",
        ),
        (
            logits(),
            npy("'|O'", "False", "(2,)", objects),
            "`labels` holds |O",
        ),
        (
            npy("'<f2'", "False", "(2, 2)", &[0; 8]),
            labels(),
            "`logits` holds <f2",
        ),
        (
            npy("'<c8'", "False", "(2, 2)", &[0; 32]),
            labels(),
            "`logits` holds <c8",
        ),
        (
            npy("[('a', '<f4'), ('b', '<i8')]", "False", "(2,)", &[0; 24]),
            labels(),
            "`logits` holds",
        ),
        (
            logits(),
            npy("'|b1'", "False", "(2,)", &[0, 1]),
            "`labels` holds |b1",
        ),
        (
            logits(),
            npy("'<f4'", "False", "(2,)", &[0; 8]),
            "`labels` holds <f4",
        ),
        (
            logits(),
            npy("'<u8'", "False", "(2,)", &[0xFF; 16]),
            "beyond 64 signed bits",
        ),
        (
            logits(),
            npy("'<i8'", "False", "(2,)", &[0xFF; 16]),
            "row 0: the label is -1",
        ),
        (
            logits(),
            npy("'<i8'", "False", "(3,)", &[0; 24]),
            "the shape [2, 2]; expected [3, 2]",
        ),
        (
            logits(),
            npy("'<i8'", "False", "(2, 1)", &[0; 16]),
            "`labels` has the shape [2, 1]",
        ),
        (
            logits(),
            npy("'<i8'", "False", "(2,)", &[0; 9]),
            "not a complete npz file",
        ),
        (logits(), b"no array".to_vec(), "not a complete npz file"),
    ] {
        archive(&path, plain, &[("logits", logits), ("labels", labels)]);
        let refused = Predictions::read(&path, &classes())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(words) && refused.contains("p.npz"),
            "{words}: {refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
    let path = folder.path().join("a.npy");
    for (bytes, words) in [
        (npy("'|O'", "False", "(2,)", objects), "the array holds |O"),
        (
            npy("'<f4'", "False", "(2,)", &[0; 7]),
            "not a complete npy file",
        ),
        (b"PK\x03\x04".to_vec(), "not a complete npy file"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let refused = read_npy(&path).unwrap_err().to_string();
        assert!(
            refused.contains(words) && refused.contains("a.npy"),
            "{words}: {refused}"
        );
    }
}

const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Reader of a table, which returns the number of rows in a file.
type Read = fn(&Path) -> Result<usize, String>;

fn tables() -> [(&'static str, String, Read); 3] {
    [
        (
            "predictions",
            "label,logit_happy,logit_sad\nsad,1,2\nhappy,3,4\n".to_owned(),
            |path| {
                let read = Predictions::read(path, &[]);
                read.map(|read| read.len())
                    .map_err(|error| error.to_string())
            },
        ),
        (
            "manifest",
            format!(
                "{}\na.png,sad,web,train,a,{HASH},3,3\nb.png,happy,web,test,b,{HASH},3,3\n",
                COLUMNS.join(",")
            ),
            |path| {
                let read = Manifest::read(path);
                read.map(|read| read.rows.len())
                    .map_err(|error| error.to_string())
            },
        ),
        (
            "votes",
            format!(
                "sha256,angry,disgust,fear,happy,sad,surprise,neutral\n{HASH},1,0,0,0,0,0,0\n{},0,1,0,0,0,0,0\n",
                "ab".repeat(32)
            ),
            |path| {
                let read = Votes::read(path)?;
                let hashes = [HASH, &"ab".repeat(32)].map(|hash| hash.parse().unwrap());
                Ok(hashes
                    .iter()
                    .filter(|hash| read.shares(hash).is_some())
                    .count())
            },
        ),
    ]
}

#[test]
fn tables_are_read_as_editors_and_spreadsheets_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    for (name, right, read) in tables() {
        for (how, text) in [
            ("as it is", right.clone()),
            ("with a mark of its encoding", format!("\u{feff}{right}")),
            ("CR LF", right.replace('\n', "\r\n")),
            (
                "CR LF with the mark",
                format!("\u{feff}{}", right.replace('\n', "\r\n")),
            ),
            ("CR alone", right.replace('\n', "\r")),
            ("without its last end of line", right.trim_end().to_owned()),
            ("with empty lines", right.replace('\n', "\n\n")),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Ok(2), "{name}, {how}");
        }
    }
}

#[test]
fn what_is_wrong_in_a_table_is_told_with_the_line_of_an_editor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    for (name, right, read) in tables() {
        let lines: Vec<&str> = right.lines().collect();
        let (header, first) = (lines[0], lines[1]);
        let twice = header.split(',').next().unwrap();
        let short = first.rsplit_once(',').unwrap().0;
        for end in ["\n", "\r\n", "\r"] {
            for (text, words) in [
                (format!("{header}\n{first}\n\n{short}\n"), "line 4"),
                (format!("{header}\n{first}\n{first},5\n"), "line 3"),
                // A cell of three lines, which is not a valid value of this table either.
                (
                    format!(
                        "{header}\n\"a\n\nb\"{}\n{short}\n",
                        &first[first.find(',').unwrap()..]
                    ),
                    "line 5",
                ),
                (format!("{header}\n{first}\n\"{first}\n{first}\n"), "line 3"),
            ] {
                std::fs::write(&path, text.replace('\n', end)).unwrap();
                let refused = read(&path).unwrap_err();
                // The reader of predictions stops at the first invalid line.
                let is_first = name == "predictions" && words == "line 5";
                let words = if is_first { "line 2" } else { words };
                assert!(
                    refused.contains(words),
                    "{name}, {end:?}: {words}: {refused}"
                );
            }
        }
        std::fs::write(&path, format!("{header},{twice}\n{first},1\n")).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.contains("columns"), "{name}: {refused}");
        std::fs::write(&path, [header.as_bytes(), b"\n\xFF\xFEa"].concat()).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.contains("not valid UTF-8"), "{name}: {refused}");
    }
}

/// Returns the rows that a recipe with one table makes, or the error.
fn made(table: &str, mapping: &str) -> Result<Vec<PathBuf>, String> {
    made_with(table, mapping, &[])
}

/// Does the same as [`made`], with a file called `motion.jpg`.
fn made_with(table: &str, mapping: &str, motion: &[u8]) -> Result<Vec<PathBuf>, String> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, shade) in [("a.png", 40), ("b.png", 200)] {
        let picture =
            image::GrayImage::from_fn(48, 48, |x, y| image::Luma([(x * shade + y * 3) as u8]));
        picture.save(at(name)).unwrap();
    }
    std::fs::write(at("motion.jpg"), motion).unwrap();
    std::fs::write(at("table.csv"), table).unwrap();
    std::fs::write(at("mapping.yaml"), mapping).unwrap();
    let recipe = "parts: [{mapping: mapping.yaml, table: table.csv, images: .}]\n";
    std::fs::write(at("recipe.yaml"), recipe).unwrap();
    let recipe = Recipe::read(&at("recipe.yaml")).map_err(|error| error.to_string())?;
    let made = recipe.make(folder.path(), folder.path());
    let (manifest, _) = made.map_err(|error| error.to_string())?;
    let mut images: Vec<PathBuf> = manifest.rows.into_iter().map(|row| row.image).collect();
    images.sort();
    Ok(images)
}

const MAPPING: &str = "source: web
policy: words
image: '{image}'
label:
  column: {name: label, values: {happy: happy, sad: sad}}
split:
  column: {name: split, values: {train: train}}
";

#[test]
fn tables_of_collections_are_read_alike() {
    let right = "image,label,split\na.png,happy,train\nb.png,sad,train\n";
    let both = Ok(["a.png", "b.png"].map(PathBuf::from).to_vec());
    for text in [
        right.to_owned(),
        format!("\u{feff}{}", right.replace('\n', "\r\n")),
        right.replace('\n', "\r"),
        right.trim_end().to_owned(),
        right
            .replace("split", "\"split\"")
            .replace("happy", "\"happy\""),
    ] {
        assert_eq!(made(&text, MAPPING), both, "{text:?}");
    }
    // A photo followed by a video, as phones write them, and a truncated one.
    let motion = Path::new("../actors/tests/cases/a_motion.jpg");
    let film = std::fs::read(motion).unwrap();
    let photo = "image,label,split\na.png,happy,train\nmotion.jpg,sad,train\n";
    let found = Ok(["a.png", "motion.jpg"].map(PathBuf::from).to_vec());
    assert_eq!(made_with(photo, MAPPING, &film), found);
    let end = film
        .windows(2)
        .rposition(|two| two == [0xFF, 0xD9])
        .unwrap();
    let cut = made_with(photo, MAPPING, &film[..end / 8]).unwrap_err();
    assert!(cut.contains("motion.jpg: the file ends too early"), "{cut}");
    for (text, words) in [
        (
            "image,label,split,label\na.png,happy,train,sad\n",
            "both called `label`",
        ),
        (
            "image,label,split\n\"a.png\",\"hap\npy\",train\nb.png,odd,train\n",
            "line 4: `label` is `odd`",
        ),
        ("image,label,split\na.png,happy\n", "line 2: "),
    ] {
        let refused = made(text, MAPPING).unwrap_err();
        assert!(
            refused.contains(words) && refused.contains("table.csv"),
            "{words}: {refused}"
        );
    }
}
