//! Pulling from servers that break off, lie, redirect for ever and send other files.

#![allow(clippy::unwrap_used)]

#[path = "../../tests/skipped.rs"]
mod skipped;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use fermata_pull::{Catalogue, Entry, Origin, PullError, Pulled, State, pull, state};

fn weights() -> Vec<u8> {
    (0..100_000u32).map(|at| (at * 7 / 3 % 251) as u8).collect()
}

fn entry(urls: &[String]) -> Entry {
    Entry {
        about: "a model".to_owned(),
        licence: "MIT".to_owned(),
        source: "https://example.com".to_owned(),
        file: "weights.onnx".to_owned(),
        bytes: weights().len() as u64,
        sha256: fermata_files::sha256(&weights()),
        urls: urls.to_vec(),
        card: Some("licence: MIT\n".to_owned()),
    }
}

/// Requests received: the path, and the first byte of a range.
type Asked = Arc<Mutex<Vec<(String, Option<usize>)>>>;

/// Starts a server; `answer` writes the response to a path and the range's first byte.
fn serve(answer: impl Fn(&mut TcpStream, &str, Option<usize>) + Send + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                return;
            };
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else {
                continue;
            };
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut range = None;
            for line in lines {
                let line = line.unwrap_or_default().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(begin) = line.strip_prefix("range: bytes=") {
                    range = begin.trim_end_matches('-').parse().ok();
                }
            }
            seen.lock().unwrap().push((path.clone(), range));
            answer(&mut connection, &path, range);
        }
    });
    (format!("http://{address}"), asked)
}

fn send(to: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let _ = to.write_all(head.as_bytes());
    let _ = to.write_all(body);
}

/// Sends the requested range of this file.
fn send_file(to: &mut TcpStream, file: &[u8], range: Option<usize>, most: usize) {
    let begin = range.unwrap_or(0);
    let rest = &file[begin..];
    let status = match range {
        Some(_) => format!(
            "206 Partial Content\r\nContent-Range: bytes {begin}-{}/{}",
            file.len() - 1,
            file.len()
        ),
        None => "200 OK".to_owned(),
    };
    let head = format!("{status}\r\nContent-Length: {}", rest.len());
    send(to, &head, &rest[..rest.len().min(most)]);
}

fn from(urls: &[String], folder: &Path) -> Result<Pulled, PullError> {
    let origin = Origin::Addresses {
        mirrors: Vec::new(),
    };
    pull("model", &entry(urls), folder, &origin, &mut |_| {})
}

fn assert_is_here(folder: &Path) {
    assert_eq!(std::fs::read(folder.join("model.onnx")).unwrap(), weights());
    assert_eq!(state(&entry(&[]), folder), State::Here);
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["card.yaml", "model.onnx"]);
}

#[test]
fn a_download_that_breaks_off_again_and_again_goes_on_where_it_was() {
    let (server, asked) = serve(|to, _, range| send_file(to, &weights(), range, 30_000));
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let origin = Origin::Addresses {
        mirrors: Vec::new(),
    };
    let entry = entry(&[format!("{server}/model.onnx")]);
    let pulled = pull("model", &entry, folder.path(), &origin, &mut |have| {
        seen.push(have)
    });
    assert_eq!(pulled.unwrap(), Pulled::Now);
    assert_is_here(folder.path());
    assert!(seen.is_sorted() && seen.last() == Some(&100_000));
    let ranges: Vec<_> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|(_, range)| *range)
        .collect();
    assert_eq!(ranges.len(), 4);
    assert!(ranges.is_sorted() && ranges[0].is_none() && ranges[3].is_some());
    // The second time, no server is contacted.
    assert_eq!(from(&[], folder.path()).unwrap(), Pulled::Already);
}

#[test]
fn a_later_pull_goes_on_with_what_an_earlier_one_left() {
    let folder = tempfile::tempdir().unwrap();
    // The server sends a little once, and then nothing more.
    let (server, _) = serve(|to, _, range| match range {
        None => send_file(to, &weights(), None, 40_000),
        Some(_) => send(to, "503 Busy\r\nContent-Length: 0", b""),
    });
    let error = from(&[format!("{server}/a")], folder.path()).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert!(!folder.path().join("model.onnx").exists());
    assert_eq!(
        state(&entry(&[]), folder.path()),
        State::Partly { bytes: 40_000 }
    );

    let (server, asked) = serve(|to, _, range| send_file(to, &weights(), range, usize::MAX));
    from(&[format!("{server}/b")], folder.path()).unwrap();
    assert_is_here(folder.path());
    assert_eq!(*asked.lock().unwrap(), [("/b".to_owned(), Some(40_000))]);
}

#[test]
fn a_server_that_knows_no_ranges_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx.part"), b"something else").unwrap();
    let (server, _) = serve(|to, _, _| send_file(to, &weights(), None, usize::MAX));
    from(&[format!("{server}/a")], folder.path()).unwrap();
    assert_is_here(folder.path());
}

#[test]
fn whoever_lies_redirects_for_ever_or_has_other_bytes_is_named_and_the_next_address_is_asked() {
    let (server, asked) = serve(|to, path, range| match path {
        "/shorter" => send(to, "200 OK\r\nContent-Length: 99999", &weights()[1..]),
        "/longer" => send(to, "200 OK\r\nContent-Length: 100001", &weights()),
        // Without a length: the response continues past the end, or stops before it.
        "/endless" => send(to, "200 OK", &[weights(), vec![1; 50_000]].concat()),
        "/round" => send(
            to,
            "302 Found\r\nLocation: /round\r\nContent-Length: 0",
            b"",
        ),
        "/other" => send_file(to, &[7; 100_000], range, usize::MAX),
        "/gone" => send(to, "404 Not Found\r\nContent-Length: 0", b""),
        _ => send_file(to, &weights(), range, usize::MAX),
    });
    let paths = ["shorter", "longer", "endless", "round", "other", "gone"];
    let bad: Vec<String> = paths.map(|path| format!("{server}/{path}")).to_vec();
    let folder = tempfile::tempdir().unwrap();
    let error = from(&bad, folder.path()).unwrap_err().to_string();
    for (path, words) in paths.into_iter().zip([
        "it has 99999 bytes instead of 100000",
        "it has 100001 bytes instead of 100000",
        "it sends more than the 100000 bytes",
        "it redirects more than 5 times",
        "its sha256 is",
        "it answered 404",
    ]) {
        assert!(
            error.contains(&format!("{server}/{path}: {words}")),
            "{path}: {error}"
        );
    }
    assert_ne!(state(&entry(&[]), folder.path()), State::Here);
    assert!(!folder.path().join("model.onnx").exists());
    // The wrong answer is requested only once.
    let told = asked
        .lock()
        .unwrap()
        .iter()
        .filter(|(path, _)| path == "/other")
        .count();
    assert_eq!(told, 1);

    let mut all = bad;
    all.push(format!("{server}/right"));
    assert_eq!(from(&all, folder.path()).unwrap(), Pulled::Now);
    assert_is_here(folder.path());
}

#[test]
fn a_mirror_goes_first_and_has_the_file_under_its_name() {
    let (mirror, asked) = serve(|to, _, range| send_file(to, &weights(), range, usize::MAX));
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::Addresses {
        mirrors: vec![format!("{mirror}/models/")],
    };
    let entry = entry(&["http://127.0.0.1:1/never".to_owned()]);
    pull("model", &entry, folder.path(), &origin, &mut |_| {}).unwrap();
    assert_is_here(folder.path());
    assert_eq!(asked.lock().unwrap()[0].0, "/models/weights.onnx");
}

#[test]
fn a_folder_gives_the_file_if_it_is_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    let origin = Origin::Folder(from.clone());
    let take = |to: &Path| pull("model", &entry(&[]), to, &origin, &mut |_| {});
    let error = take(&to).unwrap_err().to_string();
    assert!(
        error.contains("neither `weights.onnx` nor `model/model.onnx`"),
        "{error}"
    );
    std::fs::write(from.join("weights.onnx"), vec![0; 100_000]).unwrap();
    let error = take(&to).unwrap_err().to_string();
    assert!(error.contains("its sha256 is"), "{error}");
    assert!(!to.join("model.onnx").exists());
    std::fs::write(from.join("weights.onnx"), weights()).unwrap();
    take(&to).unwrap();
    assert_is_here(&to);
    // A model that was pulled can be pulled from its folder.
    let further = folder.path().join("further");
    std::fs::rename(&to, folder.path().join("model")).unwrap();
    let origin = Origin::Folder(folder.path().to_owned());
    pull("model", &entry(&[]), &further, &origin, &mut |_| {}).unwrap();
    assert_is_here(&further);
}

#[test]
fn a_file_that_has_been_damaged_is_found_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(|to, _, range| send_file(to, &weights(), range, usize::MAX));
    let urls = [format!("{server}/a")];
    from(&urls, folder.path()).unwrap();
    let mut damaged = weights();
    damaged[50] ^= 1;
    std::fs::write(folder.path().join("model.onnx"), damaged).unwrap();
    assert!(matches!(
        state(&entry(&[]), folder.path()),
        State::Wrong { .. }
    ));
    assert_eq!(from(&urls, folder.path()).unwrap(), Pulled::Now);
    assert_is_here(folder.path());
}

#[test]
fn a_model_without_an_address_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = from(&[], folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("--from") && error.contains("weights.onnx"),
        "{error}"
    );
}

#[test]
fn the_catalogue_that_ships_can_be_read_and_wrong_ones_are_refused() {
    let text = include_str!("../../models/catalogue.yaml");
    let catalogue = Catalogue::read(text, Path::new("catalogue.yaml")).unwrap();
    assert!(catalogue.entry("yunet").is_ok());
    let error = catalogue.entry("yunnet").unwrap_err().to_string();
    assert!(error.contains("yunet"), "{error}");
    for (right, wrong, told) in [
        ("sha256: ", "sha256: x", "own.yaml: the entry `"),
        ("about:", "abuot:", "own.yaml:"),
        (
            "about:",
            "about: a model\n    about:",
            "`about` is given twice",
        ),
        ("file: ", "file: ../", "own.yaml: the entry `"),
    ] {
        let refused = Catalogue::read(&text.replacen(right, wrong, 1), Path::new("own.yaml"));
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains(told) && !refused.contains('\n'),
            "{wrong}: {refused}"
        );
    }
    let Some(data) = skipped::data() else { return };
    for (name, entry) in &catalogue.models {
        let folder = tempfile::tempdir().unwrap();
        let of_kind = ["detect", "classify"].map(|kind| data.join(kind));
        let from = of_kind
            .into_iter()
            .find(|from| from.join(&entry.file).exists());
        let origin = Origin::Folder(from.unwrap());
        pull(name, entry, folder.path(), &origin, &mut |_| {}).unwrap();
        assert_eq!(state(entry, folder.path()), State::Here, "{name}");
    }
}
