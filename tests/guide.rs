//! The guide: its commands run exactly as printed, its pages exist, and the generated ones are up to date.
//!
//! A block `sh` is run by bash, in the order of the page, in a folder with the project's graphs. A block `sh needs:
//! WHAT` is run where that is available, and is reported as skipped otherwise; a command in any other block is an
//! error. A YAML block that begins with `# NAME.yaml` is that file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skipped::skip;
use crate::support::{fermata, repository};

/// Returns whether something is available.
type IsThere = fn() -> bool;

/// What a block may need, and whether it is available.
const NEEDS: [(&str, IsThere); 10] = [
    // Real videos and models.
    ("data", || std::env::var_os("FERMATA_DATA").is_some()),
    // A program built with the feature.
    ("remote", || cfg!(feature = "remote")),
    ("camera", never),
    // Something that is not on this machine.
    ("network", never),
    ("other machines", never),
    ("FER2013", never),
    // Another build of ONNX Runtime in place of the usual one.
    ("openvino", never),
    // The sources, and a build.
    ("cargo", never),
    // Time.
    ("minutes", never),
    ("hours", never),
];

fn never() -> bool {
    false
}

/// A block of a page.
struct Block {
    page: String,
    line: usize,
    info: String,
    text: String,
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = std::fs::read_dir(repository("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .chain([repository("README.md")])
        .collect();
    pages.sort();
    pages
}

fn blocks(page: &Path) -> Vec<Block> {
    let name = page.file_name().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (line, content) in text.lines().enumerate() {
        match (content.strip_prefix("```"), is_open) {
            (Some(info), false) => {
                is_open = true;
                blocks.push(Block {
                    page: name.clone(),
                    line: line + 1,
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(content);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// Creates a folder in which the commands are run, with the graphs and the model that ship.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository("graphs"), folder.path().join("graphs")).unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    std::os::unix::fs::symlink(repository("models/expression"), models.join("expression")).unwrap();
    std::fs::create_dir(folder.path().join("runs")).unwrap();
    std::fs::write(folder.path().join("x.npy"), two_pictures()).unwrap();
    folder
}

/// Returns two gray pictures of 48 x 48 pixels as a NumPy array.
fn two_pictures() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 48, 48), }";
    let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    file.extend_from_slice(format!("{header:<117}\n").as_bytes());
    file.resize(file.len() + 2 * 48 * 48 * 4, 0);
    file
}

fn run(block: &Block, folder: &Path) {
    let programs = Path::new(fermata()).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &block.text])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}:{}: {}\n{}{}",
        block.page,
        block.line,
        block.text,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_command_that_can_run_here_runs() {
    let mut count = 0;
    for page in pages() {
        let blocks = blocks(&page);
        if !blocks.iter().any(|block| block.info.starts_with("sh")) {
            continue;
        }
        let folder = folder();
        for block in &blocks {
            let first = block.text.lines().next().unwrap_or_default();
            let file = first
                .strip_prefix("# ")
                .filter(|name| name.ends_with(".yaml"));
            match (&*block.info, file) {
                ("yaml", Some(file)) if !file.contains(' ') => {
                    std::fs::write(folder.path().join(file), &block.text).unwrap();
                }
                ("sh", _) => {
                    run(block, folder.path());
                    count += 1;
                }
                _ => {
                    let Some(need) = block.info.strip_prefix("sh needs: ") else {
                        continue;
                    };
                    match NEEDS.iter().find(|(name, _)| *name == need) {
                        Some((_, is_had)) if is_had() => run(block, folder.path()),
                        _ => skip(&format!("{}:{}: no {need}", block.page, block.line)),
                    }
                }
            }
        }
    }
    assert!(count > 28, "{count} blocks");
}

#[test]
fn every_command_is_run_or_says_what_it_needs() {
    let mut unmarked = Vec::new();
    for page in pages() {
        for block in blocks(&page) {
            let mut lines = block.text.lines().map(|line| line.trim_start_matches("$ "));
            let is_command = |line: &str| {
                let program = line.split(' ').next().unwrap_or_default();
                ["fermata", "make", "cargo"].contains(&program) || program.ends_with("/fermata")
            };
            let is_known = match block.info.strip_prefix("sh") {
                Some("") => true,
                Some(needs) => (NEEDS.iter()).any(|(need, _)| needs == format!(" needs: {need}")),
                None => !lines.any(is_command),
            };
            if !is_known {
                unmarked.push(format!("{}:{}", block.page, block.line));
            }
        }
    }
    assert!(unmarked.is_empty(), "{unmarked:?}");
}

#[test]
fn what_the_contents_name_is_there() {
    let summary = std::fs::read_to_string(repository("docs/SUMMARY.md")).unwrap();
    let named: Vec<&str> = summary
        .lines()
        .filter_map(|line| line.split_once("](")?.1.strip_suffix(')'))
        .collect();
    for page in std::fs::read_dir(repository("docs")).unwrap().flatten() {
        let name = page.file_name().to_string_lossy().into_owned();
        let is_named = named.contains(&&*name) || name == "SUMMARY.md";
        assert!(
            is_named || !name.ends_with(".md"),
            "{name} is in no contents"
        );
    }
    for page in named {
        assert!(repository("docs").join(page).is_file(), "{page}");
    }
}

#[test]
fn what_is_made_from_the_code_is_current() {
    for (page, file) in [("actors", "actors.md"), ("graph-files", "graph-files.md")] {
        let output = Command::new(fermata())
            .args(["reference", page])
            .output()
            .unwrap();
        assert!(output.status.success());
        let made = String::from_utf8(output.stdout).unwrap();
        let there = std::fs::read_to_string(repository("docs/reference").join(file)).unwrap();
        assert!(
            made == there,
            "docs/reference/{file} is old: run `make reference`"
        );
    }
}

/// Comments written for readers of the code do not help users who write graphs.
#[test]
fn the_reference_speaks_to_who_writes_graphs() {
    for file in ["actors.md", "graph-files.md"] {
        let page = std::fs::read_to_string(repository("docs/reference").join(file)).unwrap();
        for (line, text) in page.lines().enumerate() {
            for leak in ["[`", "Settings of ", " as written.", "::"] {
                assert!(!text.contains(leak), "{file}:{}: {text}", line + 1);
            }
        }
        // The description of an actor stands below its name.
        let mut actors = page.split("\n## `").skip(1);
        assert!(
            actors.all(|actor| {
                let about = actor.lines().nth(2).unwrap_or_default();
                about.len() > 20 && !about.starts_with(['|', '#'])
            }),
            "{file}"
        );
    }
}
