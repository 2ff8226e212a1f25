//! Rows become inputs, and those that cannot are named.

use fermata_learn::augmentation::Augmentation;
use fermata_learn::dataset::{Dataset, RowErrors};
use fermata_learn::inference::predict;
use fermata_learn::loader::{Batch, Wanted, read_ahead};
use fermata_learn::manifest::{Manifest, Split};

use fermata_learn::predictions::PredictionsError;
use fermata_vision::{Frame, Preprocessor};

use crate::pictures::{SIDE, card, picture, set};

/// What may go wrong in a prediction.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Rows(#[from] RowErrors),
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
}

fn all(dataset: &Dataset, wanted: &[Vec<Wanted>], threads: usize) -> Vec<Batch> {
    std::thread::scope(|scope| {
        let batches = read_ahead(scope, dataset, wanted.to_vec(), threads);
        batches.map(|batch| batch.unwrap()).collect()
    })
}

#[test]
fn a_row_is_preprocessed_as_its_card_says() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Manifest::read(&set(folder.path(), [2, 1, 0])).unwrap();
    let dataset = Dataset::new(&manifest, Split::Train, &card()).unwrap();
    assert_eq!(dataset.labels()[..8], [0, 1, 2, 3, 4, 5, 6, 0]);

    let batches = all(&dataset, &[vec![(3, None), (8, None)]], 1);
    assert_eq!(
        (&batches[0].rows[..], &batches[0].labels[..]),
        (&[3, 8][..], &[3, 1][..])
    );
    let pixels = picture(3, 4)
        .into_raw()
        .into_iter()
        .flat_map(|value| [value; 3])
        .collect();
    let mut expected = vec![0.0; 3 * 32 * 32];
    let frame = Frame::from_bgr(SIDE as usize, SIDE as usize, pixels);
    Preprocessor::new(&card())
        .unwrap()
        .run_whole(&frame, &mut expected)
        .unwrap();
    assert_eq!(batches[0].inputs[..expected.len()], expected);
    assert!(
        Dataset::new(&manifest, Split::Test, &card())
            .unwrap_err()
            .to_string()
            .contains("split test")
    );
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Manifest::read(&set(folder.path(), [5, 1, 0])).unwrap();
    let dataset = Dataset::new(&manifest, Split::Train, &card()).unwrap();
    let varied = |row: usize| (row, Augmentation::default().view(7, 1, &[row as u8; 32]));
    let rows: Vec<Wanted> = (0..dataset.len()).rev().map(varied).collect();
    let wanted: Vec<Vec<Wanted>> = rows.chunks(4).map(<[Wanted]>::to_vec).collect();
    let one = all(&dataset, &wanted, 1);
    assert_eq!(one.len(), 9);
    assert_eq!(one, all(&dataset, &wanted, 3));
    assert_eq!(one, all(&dataset, &wanted, 20));
}

#[test]
fn a_loader_that_is_dropped_early_ends() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Manifest::read(&set(folder.path(), [5, 1, 0])).unwrap();
    let dataset = Dataset::new(&manifest, Split::Train, &card()).unwrap();
    let first = std::thread::scope(|scope| {
        let wanted = (0..dataset.len()).map(|row| vec![(row, None)]).collect();
        read_ahead(scope, &dataset, wanted, 2)
            .next()
            .unwrap()
            .unwrap()
    });
    assert_eq!(first.rows, [0]);
}

#[test]
fn every_row_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = set(folder.path(), [2, 1, 0]);
    let manifest = Manifest::read(&path).unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::remove_file(file("2.png")).unwrap();
    picture(0, 77).save(file("5.png")).unwrap();
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace(",40,40\n8.png", ",41,40\n8.png");
    std::fs::write(&path, text).unwrap();
    let resized = Manifest::read(&path).unwrap();
    assert_ne!(resized.sha256, manifest.sha256);

    let dataset = Dataset::new(&resized, Split::Train, &card()).unwrap();
    let predicted = predict(&dataset, 3, |inputs| {
        Ok::<_, Failed>(vec![0.0; inputs.len() / (3 * 32 * 32) * 7])
    });
    let error = predicted.unwrap_err();
    let Failed::Rows(RowErrors(rows)) = &error else {
        panic!("{error}")
    };
    assert_eq!(rows.len(), 3);
    let message = error.to_string();
    for words in [
        "3 images cannot be read",
        "2.png: ",
        "5.png: its sha256 is",
        "7.png: it is 40 x 40 pixels, and the manifest says 41 x 40",
    ] {
        assert!(message.contains(words), "`{words}` is not in:\n{message}");
    }
}
