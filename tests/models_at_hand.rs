//! `fermata models` with a custom catalogue, against a server that breaks off, lies, redirects for ever or sends
//! something else.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::support::{fermata, repository};

/// Bytes of the model.
const LENGTH: usize = 100_000;

fn weights() -> Vec<u8> {
    (0..LENGTH as u32)
        .map(|at| (at * 7 / 3 % 251) as u8)
        .collect()
}

/// Starts a server with the model under several addresses, most of which misbehave.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = answer(connection);
        }
    });
    format!("http://{address}")
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut begin = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            begin = range.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let rest = weights().split_off(begin.unwrap_or(0));
    let status = match begin {
        Some(begin) => format!(
            "206 Partial Content\r\nContent-Range: bytes {begin}-{}/{LENGTH}",
            LENGTH - 1
        ),
        None => "200 OK".to_owned(),
    };
    let length = rest.len();
    let (head, body) = match first.split(' ').nth(1).unwrap_or_default() {
        // The rest is sent when it is requested.
        "/off" => (
            format!("{status}\r\nContent-Length: {length}"),
            rest[..length.min(30_000)].to_owned(),
        ),
        "/liar" => (
            "200 OK\r\nContent-Length: 7".to_owned(),
            b"weights".to_vec(),
        ),
        "/endless" => ("200 OK".to_owned(), [weights(), weights()].concat()),
        "/round" => (
            "302 Found\r\nLocation: /round\r\nContent-Length: 0".to_owned(),
            Vec::new(),
        ),
        "/other" => (
            format!("200 OK\r\nContent-Length: {LENGTH}"),
            vec![7; LENGTH],
        ),
        _ => ("404 Not Found\r\nContent-Length: 0".to_owned(), Vec::new()),
    };
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    connection.write_all(&[head.as_bytes(), &body].concat())
}

/// A folder with a catalogue of one model, at these addresses.
struct Place(tempfile::TempDir);

impl Place {
    fn with(addresses: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "models:\n  small:\n    about: a classifier\n    licence: MIT\n    source: https://example.com\n    file: small.onnx\n    \
             bytes: {LENGTH}\n    sha256: {}\n    urls: [{}]\n    card: |\n      licence: MIT\n",
            fermata_files::sha256(&weights()),
            addresses.join(", ")
        );
        std::fs::write(folder.path().join("catalogue.yaml"), text).unwrap();
        Self(folder)
    }

    fn weights(&self) -> std::path::PathBuf {
        self.0.path().join("models/small/model.onnx")
    }

    /// Runs a `models` command; returns its exit code and all its output.
    fn models(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(fermata())
            .args(["models", "--catalogue", "catalogue.yaml"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code().unwrap(), said)
    }

    fn says(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let (ended, said) = self.models(arguments);
        assert_eq!(ended, code, "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: no `{word}` in {said}");
        }
    }
}

#[test]
fn a_model_that_comes_in_pieces_is_listed_verified_and_brought_again_when_it_is_damaged() {
    let place = Place::with(&[format!("{}/off", serve())]);
    place.says(&["list"], 0, &["small", "100 kB", "MIT", "not here"]);
    place.says(&["verify"], 0, &[]);
    place.says(&["verify", "small"], 1, &["small: not here"]);
    place.says(&["pull", "small"], 0, &["small: models/small (MIT)"]);
    assert_eq!(std::fs::read(place.weights()).unwrap(), weights());
    place.says(&["list"], 0, &["here, models/small"]);
    place.says(&["verify"], 0, &["small: as in the catalogue"]);
    place.says(&["pull", "--all"], 0, &["is here already"]);
    place.says(&["card", "small"], 0, &["licence: MIT"]);

    let mut damaged = weights();
    damaged[50] ^= 1;
    std::fs::write(place.weights(), damaged).unwrap();
    place.says(&["list"], 0, &["not what the catalogue says"]);
    place.says(&["verify"], 1, &["models/small/model.onnx: its sha256 is"]);
    place.says(&["pull", "small"], 0, &["small: models/small (MIT)"]);
    assert_eq!(std::fs::read(place.weights()).unwrap(), weights());
}

#[test]
fn servers_that_lie_are_named_one_by_one_and_nothing_gets_the_models_name() {
    let server = serve();
    let paths = ["liar", "endless", "round", "other", "gone"];
    let addresses: Vec<String> = paths.map(|path| format!("{server}/{path}")).to_vec();
    let place = Place::with(&addresses);
    let (code, said) = place.models(&["pull", "small"]);
    assert_eq!(code, 1, "{said}");
    for (address, words) in addresses.iter().zip([
        "it has 7 bytes instead of 100000",
        "it sends more than the 100000 bytes",
        "it redirects more than 5 times",
        "its sha256 is",
        "it answered 404",
    ]) {
        let words = format!("{address}: {words}");
        assert!(said.contains(&words), "no `{words}` in {said}");
    }
    assert!(!place.weights().exists());
    place.says(&["verify", "small"], 1, &["small"]);

    // A mirror is tried first, and a folder needs no server.
    place.says(
        &["pull", "small", "--mirror", "http://127.0.0.1:1/"],
        1,
        &["http://127.0.0.1:1/small.onnx: it cannot be reached"],
    );
    let from = place.0.path().join("from");
    std::fs::create_dir(&from).unwrap();
    place.says(
        &["pull", "small", "--from", "from"],
        1,
        &["neither `small.onnx`"],
    );
    std::fs::write(from.join("small.onnx"), weights()).unwrap();
    place.says(&["pull", "small", "--from", "from"], 0, &["(MIT)"]);
    assert_eq!(std::fs::read(place.weights()).unwrap(), weights());
}

#[test]
fn what_is_not_in_the_catalogue_and_what_is_none_is_refused_before_anything_is_brought() {
    let place = Place::with(&[format!("{}/off", serve())]);
    place.says(
        &["pull", "small", "smal"],
        2,
        &["no model `smal`", "it has small"],
    );
    assert!(!Path::new(&place.weights()).exists());
    place.says(&["card", "smal"], 2, &["no model `smal`"]);
    std::fs::write(place.0.path().join("catalogue.yaml"), "models: 7\n").unwrap();
    place.says(&["list"], 2, &["catalogue.yaml", "cannot be read"]);
    std::fs::remove_file(place.0.path().join("catalogue.yaml")).unwrap();
    place.says(&["list"], 2, &["cannot read catalogue.yaml"]);
}

#[test]
fn the_catalogue_that_ships_is_listed_and_has_the_cards_of_classifiers() {
    let run = |arguments: &[&str]| {
        let output = Command::new(fermata())
            .arg("models")
            .args(arguments)
            .current_dir(repository("."))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = run(&["list"]);
    assert_eq!(code, 0, "{said}");
    for name in ["yunet", "ultraface", "mini-xception", "face-api"] {
        assert!(said.contains(name), "{said}");
    }
    let (code, card) = run(&["card", "mini-xception"]);
    assert!(code == 0 && card.contains("colour: gray"), "{card}");
    // A pulled card can be used as it is.
    let catalogue = std::fs::read_to_string(repository("models/catalogue.yaml")).unwrap();
    let catalogue = fermata_pull::Catalogue::read(&catalogue, Path::new("catalogue.yaml")).unwrap();
    let cards = catalogue.models.iter();
    for (name, card) in cards.filter_map(|(name, entry)| Some((name, entry.card.as_ref()?))) {
        let parsed = fermata_vision::ModelCard::parse(card, Path::new("card.yaml"));
        assert!(parsed.is_ok(), "{name}: {parsed:?}");
    }
    let (code, said) = run(&["card", "yunet"]);
    assert!(code == 2 && said.contains("needs no card"), "{said}");
}
