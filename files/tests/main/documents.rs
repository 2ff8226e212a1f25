//! Documents in YAML are read, or refused in one sentence that names the place.

use std::collections::BTreeMap;
use std::path::Path;

use fermata_files::{YamlError, from_yaml};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "what is read is of no interest")]
struct Settings {
    seed: u64,
    #[serde(default)]
    epochs: u32,
    #[serde(default)]
    shift: i8,
    #[serde(default)]
    rate: f64,
    #[serde(default)]
    flip: bool,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    counts: BTreeMap<String, u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain,
    Staged,
}

fn read(text: &str) -> Result<Settings, YamlError> {
    from_yaml(text, Path::new("tr.yaml"))
}

#[test]
fn what_is_wrong_with_a_document_is_one_sentence_at_its_place() {
    for (text, told) in [
        (
            "seed: 1\nepochs: 2\nseed: 3\n",
            "tr.yaml:3:1: `seed` is given twice",
        ),
        (
            "seed: 1\ncounts: {a: 1, a: 2}\n",
            "tr.yaml:2:16: `a` is given twice",
        ),
        (
            "seed: 1\nepochs: -1\n",
            "tr.yaml:2:9: `-1` is given; expected a whole number from 0 to 4294967295",
        ),
        (
            "\u{feff}seed: 1\nepochs: ä\n",
            "tr.yaml:2:9: `ä` is given; expected a whole number from 0 to 4294967295",
        ),
        (
            "seed: 1\nshift: 200\n",
            "tr.yaml:2:8: `200` is given; expected a whole number from -128 to 127",
        ),
        (
            "seed: 1\nrate: fast\n",
            "tr.yaml:2:7: `fast` is given; expected a number",
        ),
        (
            "seed: 1\nflip: maybe\n",
            "tr.yaml:2:7: `maybe` is given; expected true or false",
        ),
        (
            "seed: 1\nkind: odd\n",
            "tr.yaml:2:7: `odd` is unknown here; expected one of plain, staged",
        ),
        (
            "seed: 1\ncolour: red\n",
            "tr.yaml:2:1: `colour` is unknown here; expected one of seed, epochs, shift, rate, flip, kind, names, counts",
        ),
        ("seed: 1\nnames: 5\n", "tr.yaml:2:8: expected a list"),
        (
            "seed: 1\n---\nseed: 2\n",
            "tr.yaml:3:1: a second document begins here, but one is all that is read",
        ),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), told, "{text}");
    }
    let missing = read("epochs: 1\n").unwrap_err();
    assert_eq!(missing.problem, "`seed` is missing");
    assert!(missing.place.is_some());
}

#[test]
fn no_sentence_is_longer_than_a_line_or_speaks_of_the_reader() {
    let deep = format!("seed: 1\nnames: {}", "[".repeat(20_000));
    let many = format!("seed: 1\nnames: [{}]", "&a a, *a, ".repeat(60_000));
    for text in [
        "",
        "seed: [",
        "seed: 1\n\tepochs: 2\n",
        "seed: *none\n",
        "seed: 1\n\"a\\nb\": 2\n",
        "seed: !!binary x\n",
        "- seed\n",
        deep.as_str(),
        many.as_str(),
    ] {
        let Err(error) = read(text) else { continue };
        let told = error.to_string();
        assert!(told.starts_with("tr.yaml:"), "{told}");
        assert!(!told.contains(char::is_control), "{told}");
        for word in [
            "error", "<input>", "Policy", "Options", "Option<", "u32", "Breach", "{",
        ] {
            assert!(!told.contains(word), "`{word}` in: {told:.300}");
        }
    }
}

#[test]
fn what_is_right_is_read_however_it_is_written() {
    for text in [
        "seed: 7\nkind: plain\nflip: true\n",
        "\u{feff}---\r\nseed: 7\r\nkind: staged\r\n...\r\n",
        "{\"seed\": 7, \"names\": [\"a\"]}",
        "seed: &s 7\nepochs: *s\n",
    ] {
        assert_eq!(read(text).unwrap().seed, 7, "{text}");
    }
}
