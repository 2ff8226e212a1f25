//! Keeps what a live stream receives as it was received: its packets in a Matroska file, never decoded. Owns the file's life.

use std::path::{Path, PathBuf};

use fermata_engine::{FileBook, Setup};
use fermata_files::{PartFile, Unfinished, part_path};
use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, Stream, codec, encoder, format};

use crate::libav::parameters_without_tag;

/// Why no more is recorded.
#[derive(Debug, thiserror::Error)]
#[error("cannot record into {}: {reason}", path.display())]
pub(crate) struct RecordError {
    path: PathBuf,
    reason: String,
}

/// A recording on its way. It gets its name when the connection is over, however that came to be: what was received is worth keeping. A
/// process that is killed leaves `NAME.part` with all but the last second.
pub(crate) struct Recorder {
    /// Gone when the recording is finished or a write has failed.
    output: Option<(Output, PartFile)>,
    book: FileBook,
    path: PathBuf,
    node: String,
    /// Of the packets as they come, and in the file.
    time_bases: (Rational, Rational),
    packets: u64,
    /// Packets that have no place in the file: without a time, or before one that is in it.
    left_out: u64,
}

/// Where the recording of a stream's connection goes: the first one to `path`, the others beside it to the first of `NAME.0002.mkv`,
/// `NAME.0003.mkv` and so on that is not there. No stream has such a name: those that return are `NAME.2`, and others have no dot.
pub(crate) fn path_of(path: &Path, connection: u64) -> PathBuf {
    if connection <= 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let numbered = |number: u64| path.with_file_name(format!("{stem}.{number:04}.mkv"));
    let is_free = |path: &PathBuf| !path.exists() && !part_path(path).exists();
    let mut later = (connection..).map(numbered);
    later.find(is_free).unwrap_or_else(|| numbered(connection))
}

impl Recorder {
    /// Begins a recording of a stream.
    pub(crate) fn begin(
        path: &Path,
        stream: &Stream<'_>,
        setup: &Setup,
    ) -> Result<Self, RecordError> {
        let failed = |reason: String| RecordError {
            path: path.to_owned(),
            reason,
        };
        let part = PartFile::create(path, Unfinished::Kept);
        let part = part.map_err(|error| failed(error.to_string()))?;
        let opened = open(part.part(), stream);
        let (output, time_base) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // There is nothing in it yet that is worth keeping.
                let removed = part.remove().err();
                let also = removed.map_or_else(String::new, |removed| format!("; {removed}"));
                return Err(failed(format!("{error}{also}")));
            }
        };
        Ok(Self {
            book: setup.file(part.part(), "packets"),
            output: Some((output, part)),
            path: path.to_owned(),
            node: setup.node.clone(),
            time_bases: (stream.time_base(), time_base),
            packets: 0,
            left_out: 0,
        })
    }

    /// Records a packet.
    ///
    /// # Errors
    /// If it cannot be written; what was recorded so far stays in `NAME.part`.
    pub(crate) fn write(&mut self, packet: &Packet) -> Result<(), RecordError> {
        let Some((output, _)) = &mut self.output else {
            return Ok(());
        };
        let mut packet = packet.clone();
        packet.rescale_ts(self.time_bases.0, self.time_bases.1);
        packet.set_position(-1);
        packet.set_stream(0);
        match packet.write(output) {
            Ok(_) => {
                self.packets += 1;
                self.book.give(1);
                self.book.hold(1);
            }
            // libav's word for times that do not fit; a file without a packet is better than none with it.
            Err(Error::InvalidData) => self.leave_out(),
            Err(Error::Other { errno }) if errno == rustix::io::Errno::INVAL.raw_os_error() => {
                self.leave_out();
            }
            Err(error) => {
                self.output = None;
                return Err(RecordError {
                    path: self.path.clone(),
                    reason: format!("{error} after {} packets", self.packets),
                });
            }
        }
        Ok(())
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        if self.left_out == 1 {
            let (node, path, packets) = (&self.node, self.path.display(), self.packets);
            tracing::warn!(%node, %path, packets, "a packet has no place in the recording: its time is missing or before the last one's");
        }
    }

    /// Completes the file and gives it its name; one without a packet is removed.
    fn finish(&mut self) -> Result<(), RecordError> {
        let Some((mut output, part)) = self.output.take() else {
            return Ok(());
        };
        let failed = |reason: String| RecordError {
            path: self.path.clone(),
            reason,
        };
        if self.packets == 0 {
            drop(output);
            self.book.removed();
            return part.remove().map_err(|error| failed(error.to_string()));
        }
        let ended = output.write_trailer();
        drop(output);
        ended.map_err(|error| failed(error.to_string()))?;
        part.finish().map_err(|error| failed(error.to_string()))?;
        self.book.complete(&self.path);
        let (node, path) = (&self.node, self.path.display());
        let (packets, left_out) = (self.packets, self.left_out);
        tracing::info!(%node, %path, packets, left_out, "recorded");
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            let node = &self.node;
            tracing::error!(%node, "{error}");
        }
    }
}

/// An open Matroska file for packets of such a stream, and the unit of its times.
fn open(path: &Path, stream: &Stream<'_>) -> Result<(Output, Rational), Error> {
    // Without the scheme, a colon in the name would make it a protocol.
    let url = format!("file:{}", path.display());
    let mut output = format::output_as(&url, "matroska")?;
    let mut copy = output.add_stream(encoder::find(codec::Id::None))?;
    copy.set_parameters(parameters_without_tag(stream));
    copy.set_time_base(stream.time_base());
    let mut options = Dictionary::new();
    // A cluster is written when it is over: after this many milliseconds instead of five seconds.
    options.set("cluster_time_limit", "500");
    options.set("flush_packets", "1");
    output.write_header_with(options)?;
    let time_base = output.stream(0).map(|stream| stream.time_base());
    Ok((output, time_base.unwrap_or(stream.time_base())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.door.mkv");
        let name = |connection| {
            let path = path_of(&path, connection);
            path.file_name().unwrap().to_string_lossy().into_owned()
        };
        assert_eq!(name(1), "a b.door.mkv");
        assert_eq!(name(2), "a b.door.0002.mkv");
        assert_eq!(name(12), "a b.door.0012.mkv");
        // Another run's, and one that is on its way.
        for taken in ["a b.door.0002.mkv", "a b.door.0003.mkv.part"] {
            std::fs::write(folder.path().join(taken), "somebody's").unwrap();
        }
        assert_eq!(name(2), "a b.door.0004.mkv");
    }
}
