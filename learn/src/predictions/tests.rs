//! Predictions and their files, right and wrong.

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
    assert!(doubled.to_string().contains("a name of its own"));
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
        read(&path).contains("is no whole npz file"),
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
            "row 0: `c` is no class; there are a, b",
        ),
        (
            "label,logit_a,logit_b\na,1,x\n",
            "row 0, class b: `x` is no number",
        ),
        ("label,logit_a,logit_b\na,1,inf\n", "the logit is inf"),
        ("label,logit_a,logit_b\na,1\n", "found record with 2 fields"),
        ("label,logit_a,logit_b\n", "there are no rows"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}
