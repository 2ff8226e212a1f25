//! The writer's thread: encodes what lanes hand over and writes it to the file.

use std::io::{self, BufWriter, Write};

use fermata_files::PartFile;

use crate::encoder::Encoder;
use crate::records::Handed;

/// The result of writing the file.
pub(crate) struct Written {
    /// The file, if all of it could be written.
    pub(crate) file: io::Result<PartFile>,
    /// Number of records in the file.
    pub(crate) records: u64,
    /// Number of records that came after a failed write.
    pub(crate) lost: u64,
}

/// Writes until the run is over. After a failed write it only counts records, so that the lanes are not affected.
pub(crate) fn write(
    file: PartFile,
    mut encoder: Encoder,
    handed: &flume::Receiver<Handed>,
) -> Written {
    let mut out = BufWriter::new(file);
    let mut failed = out.write_all(&encoder.beginning()).err();
    let (mut records, mut lost) = (0, 0);
    while let Some(Handed::Chunk(chunk)) = next(handed, &mut out, &mut failed) {
        let count = chunk.records.len() as u64;
        if failed.is_none() {
            failed = out.write_all(&encoder.encode(&chunk)).err();
        }
        match failed {
            None => records += count,
            Some(_) => lost += count,
        }
    }
    if failed.is_none() {
        failed = out.write_all(&encoder.end()).err();
    }
    Written {
        file: match failed {
            Some(error) => Err(error),
            None => out.into_inner().map_err(io::IntoInnerError::into_error),
        },
        records,
        lost,
    }
}

/// Returns the next message. While there is none, flushes what has been written, so that it survives if the process is
/// killed.
fn next(
    handed: &flume::Receiver<Handed>,
    out: &mut BufWriter<PartFile>,
    failed: &mut Option<io::Error>,
) -> Option<Handed> {
    match handed.try_recv() {
        Ok(handed) => Some(handed),
        Err(flume::TryRecvError::Disconnected) => None,
        Err(flume::TryRecvError::Empty) => {
            if failed.is_none() {
                *failed = out.flush().err();
            }
            handed.recv().ok()
        }
    }
}
