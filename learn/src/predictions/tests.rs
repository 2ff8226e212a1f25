//! Predictions and their files, valid and invalid.

use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("c{class}")).collect()
}

proptest! {
    #[test]
    fn an_npz_holds_what_was_written(
        rows in proptest::collection::vec((proptest::array::uniform3(-1e3f32..1e3), 0i64..3), 1..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.npz");
        let logits = rows.iter().flat_map(|(logits, _)| logits.map(f64::from)).collect();
        let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
        let predictions = Predictions::new(names(3), logits, &labels).unwrap();
        predictions.write_npz(&path).unwrap();
        prop_assert_eq!(&Predictions::read(&path, &names(3)).unwrap(), &predictions);
        let bytes = std::fs::read(&path).unwrap();
        predictions.write_npz(&path).unwrap();
        prop_assert_eq!(bytes, std::fs::read(&path).unwrap(), "the same arrays give the same bytes");
    }
}

#[test]
fn rows_in_both_are_counted_in_whatever_order_they_stand() {
    let of = |rows: &[(f64, i64)]| {
        let logits = rows.iter().flat_map(|row| [row.0, 0.0]).collect();
        let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
        Predictions::new(names(2), logits, &labels).unwrap()
    };
    let one = of(&[(1.0, 0), (2.0, 0), (2.0, 0), (3.0, 1)]);
    let other = of(&[(3.0, 1), (2.0, 0), (5.0, 1), (1.0, 1)]);
    assert_eq!(one.rows_shared_with(&other), 2);
    assert_eq!(other.rows_shared_with(&one), 2);
    assert_eq!(one.rows_shared_with(&one), 4);
    // By images where both know them: other logits are other models'.
    let hashed = |of: Predictions, hashes: [u8; 4]| {
        of.with_hashes(hashes.map(|byte| [byte; 32].into()).to_vec())
    };
    let (one, other) = (hashed(one, [1, 2, 3, 4]), hashed(other, [4, 9, 8, 7]));
    assert_eq!(one.rows_shared_with(&other), 1);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    one.write_npz(&path).unwrap();
    assert_eq!(Predictions::read(&path, &names(2)).unwrap(), one);
    let path = folder.path().join("p.csv");
    let text = format!(
        "label,logit_c0,logit_c1,sha256\n0,1,0,{}\n",
        "0f".repeat(32)
    );
    std::fs::write(&path, &text).unwrap();
    let read = Predictions::read(&path, &[]).unwrap();
    assert_eq!(read.hashes(), Some(&[[15; 32].into()][..]));
    std::fs::write(&path, text.replace("0f0f", "0f")).unwrap();
    let error = Predictions::read(&path, &[]).unwrap_err().to_string();
    assert!(error.contains("expected 64 hexadecimal digits"), "{error}");
}

/// Writes an archive of `labels` with this type and order, and two logits for each.
fn with_labels(path: &Path, descr: &str, fortran: bool, labels: &[u8], rows: usize) {
    let npy = |descr: &str, shape: &str, data: &[u8]| {
        let order = if fortran { "True" } else { "False" };
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.into_bytes());
        bytes.extend(data);
        bytes
    };
    // 0, 1, 2, … in the order of the file.
    let logits: Vec<u8> = (0..2 * rows)
        .flat_map(|value| (value as f32).to_le_bytes())
        .collect();
    let file = std::fs::File::create(path).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    for (name, bytes) in [
        ("labels.npy", npy(descr, &format!("({rows},)"), labels)),
        ("logits.npy", npy("<f4", &format!("({rows}, 2)"), &logits)),
    ] {
        let options =
            zip::write::FileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut archive, &bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn labels_are_whole_numbers_of_any_width_sign_and_byte_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    for (descr, width) in [
        ("|i1", 1),
        ("|u1", 1),
        ("<i2", 2),
        ("<u2", 2),
        ("<i4", 4),
        ("<u4", 4),
        ("<i8", 8),
        ("<u8", 8),
        (">i2", 2),
        (">u2", 2),
        (">i4", 4),
        (">u4", 4),
        (">i8", 8),
        (">u8", 8),
    ] {
        let labels: Vec<u8> = [1u8, 0, 1]
            .into_iter()
            .flat_map(|label| {
                let mut bytes = vec![0; width];
                let place = if descr.starts_with('>') { width - 1 } else { 0 };
                bytes[place] = label;
                bytes
            })
            .collect();
        with_labels(&path, descr, false, &labels, 3);
        let read = Predictions::read(&path, &names(2)).unwrap();
        assert_eq!(read.labels(), [1, 0, 1], "{descr}");
        assert_eq!(read.row(1), [2.0, 3.0]);
    }
    with_labels(&path, "<u8", false, &u64::MAX.to_le_bytes(), 1);
    let error = Predictions::read(&path, &names(2)).unwrap_err().to_string();
    assert!(error.contains("beyond 64 signed bits"), "{error}");

    // Column by column.
    with_labels(&path, "|u1", true, &[1, 0, 1], 3);
    let read = Predictions::read(&path, &names(2)).unwrap();
    assert_eq!(read.labels(), [1, 0, 1]);
    assert_eq!(
        [0, 1, 2].map(|row| read.row(row).to_vec()),
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    );
}

#[test]
fn what_is_wrong_is_said_with_what_was_expected() {
    let error = |classes: usize, logits: Vec<f64>, labels: &[i64]| {
        Predictions::new(names(classes), logits, labels)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(2, vec![], &[]), "there are no rows");
    assert!(error(1, vec![0.0], &[0]).contains("at least two"));
    assert!(error(2, vec![0.0; 3], &[0]).contains("expected [1, 2]"));
    assert_eq!(
        error(2, vec![0.0, f64::NAN], &[0]),
        "row 0, class c1: the logit is NaN; expected a finite number"
    );
    assert_eq!(
        error(2, vec![0.0; 4], &[0, 2]),
        "row 1: the label is 2; expected 0 to 1"
    );
    assert_eq!(
        error(2, vec![0.0; 2], &[-1]),
        "row 0: the label is -1; expected 0 to 1"
    );
    let doubled = Predictions::new(vec!["a".into(), "a".into()], vec![0.0; 2], &[0]).unwrap_err();
    assert!(doubled.to_string().contains("different names"));
}

#[test]
fn an_npz_without_the_arrays_or_cut_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    let read = |path: &Path| Predictions::read(path, &names(2)).unwrap_err().to_string();
    let array = Array {
        shape: vec![1, 2],
        values: vec![0f32; 2],
    };
    write_npz(
        &path,
        &BTreeMap::from([("scores", NpzArray::Floats(array.clone()))]),
    )
    .unwrap();
    assert!(
        read(&path).contains("has no array `logits`; it has `scores`"),
        "{}",
        read(&path)
    );
    let arrays = BTreeMap::from([
        ("labels", NpzArray::Floats(array.clone())),
        ("logits", NpzArray::Floats(array)),
    ]);
    write_npz(&path, &arrays).unwrap();
    assert!(
        read(&path).contains("`labels` holds <f4; expected whole numbers"),
        "{}",
        read(&path)
    );
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(
        read(&path).contains("is not a complete npz file"),
        "{}",
        read(&path)
    );
    assert!(read(&folder.path().join("none.npz")).contains("cannot read"));
    assert!(read(&folder.path().join("p.txt")).contains("are .npz or .csv files"));
}

#[test]
fn a_table_names_its_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Predictions::read(&path, &[])
    };
    let good = read("image,label,logit_happy,logit_sad\na.png,sad,1.5,-2\nb.png,0,0,0\n").unwrap();
    assert_eq!(
        (good.classes(), good.labels()),
        (&["happy".to_owned(), "sad".to_owned()][..], &[1, 0][..])
    );
    assert_eq!(good.row(0), [1.5, -2.0]);
    for (text, message) in [
        ("image,logit_a,logit_b\n", "no column `label`"),
        ("label,a,b\n", "no columns `logit_CLASS`"),
        (
            "label,logit_a,logit_b\nc,1,2\n",
            "p.csv: line 2, row 0: `c` is not a class; there are a, b, or 0 to 1",
        ),
        (
            "label,logit_a,logit_b\na,1,x\n",
            "p.csv: line 2, row 0, class b: the logit is `x`; expected a finite number",
        ),
        ("label,logit_a,logit_b\na,1,inf\n", "the logit is `inf`"),
        (
            "label,logit_a,logit_b\n7,1,2\n",
            "line 2, row 0: `7` is not a class",
        ),
        (
            "label,logit_a,logit_b\r\n\r\na,1\r\n",
            "p.csv: line 3, row 0: 2 columns; expected 3",
        ),
        ("label,logit_a,logit_b\n", "p.csv: there are no rows"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}
