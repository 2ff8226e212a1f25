//! `fermata manifest unpack` as a new user meets it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fermata_learn::npz::{Array, NpzArray, write_npz};

use crate::audits::read;
use crate::command::{refused, run, succeeded, succeeds, was_refused};
use crate::support::fermata;

/// Runs a program in Python and returns what it prints.
#[track_caller]
fn python(script: &str, arguments: &[&str]) -> String {
    let mut python = Command::new("/usr/bin/python3");
    let output = python
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "make setup-test installs python3-numpy: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_archive_is_unpacked_as_pictures_and_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let pixels = Array {
        shape: vec![2, 2, 3],
        values: vec![0, 50, 100, 150, 200, 250, 1, 2, 3, 4, 5, 6],
    };
    let labels = Array {
        shape: vec![2],
        values: vec![3, 4],
    };
    let votes = Array {
        shape: vec![2, 2],
        values: vec![1.0, 0.5, 0.0, 2.0],
    };
    let scale = Array {
        shape: vec![1],
        values: vec![1],
    };
    let arrays = BTreeMap::from([
        ("images", NpzArray::Bytes(pixels)),
        ("label", NpzArray::Integers(labels)),
        ("scale", NpzArray::Integers(scale)),
        ("votes", NpzArray::Floats(votes)),
    ]);
    write_npz(Path::new(&path("faces.npz")), &arrays).unwrap();
    let out = path("faces");
    let asked = ["manifest", "unpack", &path("faces.npz"), "--out", &out];
    let text = succeeded(run(&asked));
    assert!(text.contains("2 pictures of 3 x 2 pixels"), "{text}");
    assert!(
        text.contains("left out, because they do not have a row for each picture: scale"),
        "{text}"
    );
    assert_eq!(
        read(&path("faces/table.csv")),
        "image,label,votes_0,votes_1\nimages/000000.png,3,1,0.5\nimages/000001.png,4,0,2\n"
    );
    let picture = image::open(path("faces/images/000000.png"))
        .unwrap()
        .into_luma8();
    assert_eq!(picture.into_raw(), [0, 50, 100, 150, 200, 250]);
    refused(&asked, &["--overwrite replaces it"]);
    let script = format!(
        "import numpy as n; n.savez('{}', images=n.zeros((2, 2, 3), n.uint8), flag=n.array([True, False]), large=n.array([1, 2**63], n.uint64), label=n.array([3, 4]))",
        path("strange.npz")
    );
    python(&script, &[]);
    let out = path("strange");
    let text = succeeded(run(&[
        "manifest",
        "unpack",
        &path("strange.npz"),
        "--out",
        &out,
    ]));
    for told in [
        "columns image, label\n",
        "flag (|b1)",
        "large (<u8 with a number beyond",
    ] {
        assert!(text.contains(told), "{told} is not in {text}");
    }
    let asked = [
        "manifest",
        "unpack",
        &path("faces.npz"),
        "--out",
        &path("x"),
    ];
    refused(
        &[&asked[..], &["--images", "votes"]].concat(),
        &["expected whole numbers"],
    );
    refused(
        &[&asked[..], &["--images", "label"]].concat(),
        &["[N, H, W] or [N, H, W, 3]"],
    );
    refused(
        &[&asked[..], &["--names", "label"]].concat(),
        &["expected strings"],
    );
    refused(
        &[&asked[..], &["--images", "pictures"]].concat(),
        &["pictures"],
    );
    assert!(!Path::new(&path("x")).exists());
}

#[test]
fn arrays_of_all_kinds_are_columns_with_all_their_digits_or_named_as_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let script = format!(
        "import numpy as n
n.savez('{}', images=n.zeros((2, 2, 3), n.uint8),
  id=n.array([123456789.0, 0.1]), share=n.array([0.1, 0.5], n.float32), big=n.array([1.5, 2], '>f8'),
  votes=n.array([[1.0, 2.0], [3.0, 4.0]]), vote_names=n.array([b'x', b'y']),
  half=n.zeros(2, n.float16), pair=n.zeros(2, [('x', 'f4'), ('name', 'U3')]),
  words=n.asfortranarray(n.array([['a', 'b'], ['c', 'd']])))",
        path("faces.npz")
    );
    python(&script, &[]);
    let out = path("faces");
    let text = succeeds(&["manifest", "unpack", &path("faces.npz"), "--out", &out]);
    for told in [
        "columns image, big, id, share, votes_0, votes_1\n",
        "left out, because their type is not supported: half (<f2), pair ([",
        "vote_names (|S1), words (<U1 in column-major order)",
    ] {
        assert!(text.contains(told), "{told} is not in {text}");
    }
    assert_eq!(
        read(&path("faces/table.csv")),
        "image,big,id,share,votes_0,votes_1\nimages/000000.png,1.5,123456789,0.1,1,2\nimages/000001.png,2,0.1,0.5,3,4\n"
    );
}

#[test]
fn pictures_may_be_integers_within_the_range_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let unpack = |values: Vec<i64>| {
        let shape = vec![1, 1, values.len()];
        let images = NpzArray::Integers(Array { shape, values });
        write_npz(
            Path::new(&path("faces.npz")),
            &BTreeMap::from([("images", images)]),
        )
        .unwrap();
        let out = path("faces");
        let asked = ["manifest", "unpack", &path("faces.npz"), "--out", &out];
        run(&[&asked[..], &["--overwrite"]].concat())
    };
    succeeded(unpack(vec![0, 50, 255]));
    let picture = image::open(path("faces/images/000000.png")).unwrap();
    assert_eq!(picture.into_luma8().into_raw(), [0, 50, 255]);
    was_refused(
        unpack(vec![0, 256]),
        &["the array `images` has values outside of 0 to 255"],
    );
}

#[test]
fn pictures_take_the_memory_of_their_bytes() {
    const SIDE: usize = 900;
    const COUNT: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // The most that the program has resident, in KiB; without pictures that is mostly its libraries.
    let script = "import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let peak = |name: &str, shape: Vec<usize>| -> usize {
        let values = vec![7; shape.iter().product()];
        let images = NpzArray::Bytes(Array { shape, values });
        let (archive, out) = (path(&format!("{name}.npz")), path(name));
        write_npz(Path::new(&archive), &BTreeMap::from([("images", images)])).unwrap();
        let asked = [fermata(), "manifest", "unpack", &archive, "--out", &out];
        python(script, &asked).trim().parse().unwrap()
    };
    let few = peak("few", vec![1, 2, 2]);
    let many = peak("many", vec![COUNT, SIDE, SIDE]);
    let pictures = COUNT * SIDE * SIDE / 1024;
    assert!(
        many < few + 4 * pictures,
        "{few} KiB without pictures, {many} KiB with {pictures} KiB of them"
    );
}
