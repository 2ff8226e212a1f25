//! Writes a folder of labelled pictures: PNG files and their manifest. Owns the files; the caller provides the
//! pictures. The folder appears only when complete.

use std::fs::File;
use std::path::{Path, PathBuf};

use fermata_files::{FileError, PartFolder};
use fermata_vision::{Expression, Frame};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::manifest::{Manifest, Row, Split};
use crate::row_hash::RowHash;

/// Name of the manifest in the folder.
pub const MANIFEST: &str = "manifest.csv";
/// Subfolder of the pictures.
const IMAGES: &str = "images";

/// Why a set cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ImageSetError {
    /// A file or folder that cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A picture that cannot be written as PNG.
    #[error("the picture {name} cannot be written as PNG: {reason}")]
    Picture {
        /// Name of the picture.
        name: String,
        /// Reason given by the encoder.
        reason: image::ImageError,
    },
    /// A set without pictures.
    #[error("there are no pictures to write")]
    Empty,
}

/// Manifest columns of a picture, other than those computed from it.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Expression shown.
    pub label: Expression,
    /// Name of the collection.
    pub source: &'a str,
    /// Split of the picture.
    pub split: Split,
    /// Group of pictures that must stay together.
    pub group: &'a str,
}

/// Set that is being written. If it is not finished, nothing remains of it.
#[derive(Debug)]
pub struct ImageSet {
    folder: PartFolder,
    path: PathBuf,
}

impl ImageSet {
    /// Begins the folder `path`; an existing one is replaced when the set is finished.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> Result<Self, ImageSetError> {
        Ok(Self {
            folder: PartFolder::create(path)?,
            path: path.to_owned(),
        })
    }

    /// Writes a picture as `images/NAME.png`, grayscale if all its pixels are gray, and returns its row. May be called
    /// from any thread.
    ///
    /// # Errors
    /// See [`ImageSetError`].
    pub fn picture(
        &self,
        name: &str,
        picture: &Frame,
        about: &About<'_>,
    ) -> Result<Row, ImageSetError> {
        let image = Path::new(IMAGES).join(format!("{name}.png"));
        let bytes = write_png(&self.folder.part().join(&image), picture)?;
        Ok(Row {
            image,
            label: about.label,
            source: about.source.to_owned(),
            split: about.split,
            group: about.group.to_owned(),
            sha256: RowHash::digest(&bytes),
            width: picture.width() as u32,
            height: picture.height() as u32,
        })
    }

    /// Writes the manifest of these rows, and gives the folder its final name.
    ///
    /// # Errors
    /// See [`ImageSetError`].
    pub fn finish(self, rows: Vec<Row>) -> Result<Manifest, ImageSetError> {
        if rows.is_empty() {
            return Err(ImageSetError::Empty);
        }
        let part = self.folder.part();
        sync(rows.iter().map(|row| part.join(&row.image)))?;
        let manifest = Manifest::of(self.path.clone(), rows);
        fermata_files::write(&self.folder.part().join(MANIFEST), &manifest.to_csv())?;
        self.folder.finish()?;
        Ok(manifest)
    }
}

/// Writes a picture as a PNG file, grayscale if all its pixels are gray, creating its parent folders; returns its
/// bytes. The file is not synced: with thousands of small files it is faster to do that once for all ([`sync`]), before
/// the folder gets its final name.
///
/// # Errors
/// See [`ImageSetError`].
pub fn write_png(path: &Path, picture: &Frame) -> Result<Vec<u8>, ImageSetError> {
    let bytes = png(picture).map_err(|reason| ImageSetError::Picture {
        name: path.display().to_string(),
        reason,
    })?;
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)
            .map_err(|reason| FileError::plain("create", above, reason))?;
    }
    std::fs::write(path, &bytes).map_err(|reason| FileError::plain("write", path, reason))?;
    Ok(bytes)
}

/// Syncs files to disk.
///
/// # Errors
/// The system's.
pub fn sync(paths: impl IntoIterator<Item = PathBuf>) -> Result<(), ImageSetError> {
    for path in paths {
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|reason| FileError::plain("sync to disk", &path, reason))?;
    }
    Ok(())
}

/// Returns a picture as PNG, grayscale if all its pixels are gray.
///
/// # Errors
/// The encoder's.
pub fn png(picture: &Frame) -> image::ImageResult<Vec<u8>> {
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let pixels = || picture.bgr().chunks_exact(3);
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new(&mut bytes);
    if pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]) {
        let gray: Vec<u8> = pixels().map(|pixel| pixel[0]).collect();
        encoder.write_image(&gray, width, height, ExtendedColorType::L8)?;
    } else {
        let rgb: Vec<u8> = pixels()
            .flat_map(|pixel| [pixel[2], pixel[1], pixel[0]])
            .collect();
        encoder.write_image(&rgb, width, height, ExtendedColorType::Rgb8)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use fermata_vision::FramePool;
    use fermata_vision::image_file;

    use super::*;

    #[test]
    fn a_set_is_read_as_it_was_written_and_is_there_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set");
        let about = About {
            label: Expression::Sad,
            source: "drawn",
            split: Split::Test,
            group: "g",
        };
        let colours = Frame::from_bgr(2, 1, vec![1, 2, 3, 4, 5, 6]);
        let gray = Frame::from_bgr(1, 2, vec![7, 7, 7, 9, 9, 9]);
        let set = ImageSet::create(&path).unwrap();
        let rows = [("colours", &colours), ("in/gray", &gray)]
            .map(|(name, picture)| set.picture(name, picture, &about).unwrap());
        assert!(!path.exists());
        set.finish(rows.to_vec()).unwrap();
        let read = Manifest::read(&path.join(MANIFEST)).unwrap();
        assert_eq!(read.rows, rows);
        let pool = FramePool::new();
        for (row, picture) in rows.iter().zip([colours, gray]) {
            let frame = image_file::read(&path.join(&row.image), &pool).unwrap();
            assert_eq!(frame.bgr(), picture.bgr());
        }
        let empty = ImageSet::create(&folder.path().join("empty")).unwrap();
        assert!(matches!(
            empty.finish(Vec::new()),
            Err(ImageSetError::Empty)
        ));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
