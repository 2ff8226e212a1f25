//! `load_images`: reads the image of each row once, however many models use it. Owns what makes an image unreadable;
//! the model's card decides how a picture becomes an input.

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_learn::manifest::Row;
use fermata_learn::row_hash::RowHash;
use fermata_vision::image_file::{self, ImageFileError, ImageLimits};
use fermata_vision::{Frame, FramePool};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::{Failure, Loaded, LoadedRow, ManifestRow, Wanted};

/// Reads and decodes the image of each row, and checks that it is the one from which the manifest was made. A row whose
/// image cannot be read is passed on with the reason.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadImagesSettings {}

/// See `LoadImagesSettings`.
pub struct LoadImages {
    pool: FramePool,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    File(#[from] ImageFileError),
    #[error("its sha256 is {0}, not the manifest's: one of the two is out of date")]
    Stale(RowHash),
    #[error("it is {0} x {1} pixels, and the manifest says {2} x {3}")]
    Size(usize, usize, u32, u32),
}

/// Reads the picture of a row, and checks that it is the one from which the manifest was made.
pub(crate) fn read_picture(row: &ManifestRow, pool: &FramePool) -> Result<Frame, Failure> {
    read(row, pool).map_err(|problem| Failure::new(&problem))
}

fn read(row: &ManifestRow, pool: &FramePool) -> Result<Frame, Problem> {
    let bytes = image_file::read_bytes(&row.path(), &ImageLimits::default())?;
    let Row {
        sha256,
        width,
        height,
        ..
    } = row.row();
    let actual = RowHash::digest(&bytes);
    if actual != *sha256 {
        return Err(Problem::Stale(actual));
    }
    let picture = image_file::decode(&bytes, pool)?;
    let size = (picture.width(), picture.height());
    if size != (*width as usize, *height as usize) {
        return Err(Problem::Size(size.0, size.1, *width, *height));
    }
    Ok(picture)
}

impl Actor for LoadImages {
    const NAME: &'static str = "load_images";
    type Settings = LoadImagesSettings;

    fn ports(_: &LoadImagesSettings) -> Ports {
        Ports::new()
            .input::<Wanted>("in")
            .output::<Loaded>("out")
            .stateless()
    }

    fn create(_: LoadImagesSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            pool: FramePool::new(),
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let loaded = match &*input.take::<Wanted>() {
            Wanted::EpochEnd { epoch } => Loaded::EpochEnd { epoch: *epoch },
            Wanted::Row(wanted) => Loaded::Row(LoadedRow {
                picture: read_picture(&wanted.row, &self.pool),
                wanted: wanted.clone(),
            }),
        };
        out.emit::<Loaded>(input.envelope, loaded);
        Ok(())
    }
}
