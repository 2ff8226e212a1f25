//! Hashes agree with published ones.

use std::io::Cursor;
use std::path::Path;

use fermata_files::{sha256, sha256_of, sha256_of_file};
use proptest::prelude::*;

#[test]
fn known_hashes_come_out() {
    // The examples of FIPS 180-2, and the hash of nothing.
    let known = [
        (
            &b"abc"[..],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            b"",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
    ];
    for (bytes, hash) in known {
        assert_eq!(sha256(bytes), hash);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_file_has_the_hash_of_its_bytes(length in 0_usize..300_000, seed: u8) {
        let bytes: Vec<u8> = (0..length).map(|place| (place as u8).wrapping_mul(31) ^ seed).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        prop_assert_eq!(sha256_of_file(file.path()).unwrap(), sha256(&bytes));
        prop_assert_eq!(sha256_of(Cursor::new(&bytes)).unwrap(), sha256(&bytes));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = sha256_of_file(Path::new("/nowhere/model.onnx")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read `/nowhere/model.onnx`"),
        "{error}"
    );
}
