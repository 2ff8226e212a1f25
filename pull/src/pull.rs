//! Brings a model into its folder.

use std::io::Read;
use std::path::{Path, PathBuf};

use fermata_files::{PartFile, Unfinished};

use crate::catalogue::Entry;
use crate::download::{client, download};
use crate::error::PullError;
use crate::state::{CARD, State, WEIGHTS, compare, state};

/// Where a model is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// These mirrors, then the catalogue's addresses. A mirror is an address to which the file's name is appended.
    Addresses {
        /// The mirrors.
        mirrors: Vec<String>,
    },
    /// A folder that holds the file, or a folder of pulled models.
    Folder(PathBuf),
}

/// The result of pulling a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It has been pulled now.
    Now,
    /// It was already present.
    Already,
}

/// Brings the model `name` into `folder`. `progress` is called with the number of bytes present.
///
/// # Errors
/// See [`PullError`]. An interrupted download is kept as a part, which the next one resumes.
pub fn pull(
    name: &str,
    entry: &Entry,
    folder: &Path,
    origin: &Origin,
    progress: &mut dyn FnMut(u64),
) -> Result<Pulled, PullError> {
    if state(entry, folder) == State::Here {
        return Ok(Pulled::Already);
    }
    std::fs::create_dir_all(folder).map_err(|reason| PullError::System {
        doing: format!("create the folder `{}`", folder.display()),
        reason,
    })?;
    let weights = folder.join(WEIGHTS);
    if compare(entry, &weights).is_err() {
        let brought = match origin {
            Origin::Folder(from) => copy(name, entry, from, &weights, progress),
            Origin::Addresses { mirrors } => fetch(name, entry, mirrors, &weights, progress),
        };
        if brought.is_err() {
            // If nothing came, nothing stays: this only removes an empty folder.
            let _ = std::fs::remove_dir(folder);
        }
        brought?;
    }
    if let Some(card) = &entry.card {
        fermata_files::write(&folder.join(CARD), card.as_bytes())?;
    }
    Ok(Pulled::Now)
}

fn copy(
    name: &str,
    entry: &Entry,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), PullError> {
    let places = [from.join(&entry.file), from.join(name).join(WEIGHTS)];
    let path = places.into_iter().find(|path| path.is_file());
    let path = path.ok_or_else(|| PullError::NotInFolder {
        folder: from.to_owned(),
        name: name.to_owned(),
        file: entry.file.clone(),
    })?;
    compare(entry, &path).map_err(|wrong| PullError::OtherFile {
        path: path.clone(),
        name: name.to_owned(),
        wrong,
    })?;
    let copied = |reason| PullError::System {
        doing: format!("copy `{}`", path.display()),
        reason,
    };
    let mut file = std::fs::File::open(&path)
        .map_err(copied)?
        .take(entry.bytes);
    let mut part = PartFile::create(to, Unfinished::Removed)?;
    std::io::copy(&mut file, &mut part).map_err(copied)?;
    progress(entry.bytes);
    Ok(part.finish()?)
}

fn fetch(
    name: &str,
    entry: &Entry,
    mirrors: &[String],
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), PullError> {
    let mirrors = mirrors.iter();
    let mirrored = mirrors.map(|mirror| format!("{}/{}", mirror.trim_end_matches('/'), entry.file));
    let addresses: Vec<String> = mirrored.chain(entry.urls.iter().cloned()).collect();
    if addresses.is_empty() {
        return Err(PullError::NoAddress {
            name: name.to_owned(),
            origin: entry.source.clone(),
            file: entry.file.clone(),
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|reason| PullError::System {
        doing: "start a download".to_owned(),
        reason,
    })?;
    let mut failures = Vec::new();
    for address in addresses {
        match runtime.block_on(from_address(&address, entry, to, progress))? {
            Ok(()) => return Ok(()),
            Err(reason) => failures.push((address, reason)),
        }
    }
    Err(PullError::Nowhere {
        name: name.to_owned(),
        failures,
    })
}

/// Downloads and checks the file and gives it its name; the inner error is specific to the address.
async fn from_address(
    address: &str,
    entry: &Entry,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<(), String>, PullError> {
    let client = match client() {
        Ok(client) => client,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut part = PartFile::go_on(to)?;
    let cut = |reason| PullError::System {
        doing: format!("continue with `{}`", fermata_files::part_path(to).display()),
        reason,
    };
    if part.length().map_err(cut)? > entry.bytes {
        part.cut(0).map_err(cut)?;
    }
    if let Err(reason) = download(&client, address, &mut part, entry.bytes, progress).await {
        return Ok(Err(reason));
    }
    if let Err(wrong) = compare(entry, part.part()) {
        // Its content is useless, even as the beginning of another download.
        part.remove()?;
        return Ok(Err(wrong));
    }
    part.finish()?;
    Ok(Ok(()))
}
