//! Records the packets of a live stream as received in a Matroska file, without decoding them. Owns the file until it
//! is complete.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fermata_engine::{FileBook, Setup};
use fermata_files::{FileError, PartFile, Unfinished, part_path};
use ffmpeg_next::format::context::Output;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, Stream, codec, encoder, format};

use crate::finished::note_finished;
use crate::libav::parameters_without_tag;

/// Why recording stopped.
#[derive(Debug, thiserror::Error)]
#[error("cannot record into {}: {reason}", path.display())]
pub(crate) struct RecordError {
    path: PathBuf,
    reason: String,
}

/// A recording in progress. It gets its name when the connection is over, whatever the reason: what was received is
/// worth keeping. A killed process leaves `NAME.part` with all but the last second.
pub(crate) struct Recorder {
    /// `None` once the recording is finished or a write has failed.
    output: Option<(Output, PartFile)>,
    book: FileBook,
    path: PathBuf,
    node: String,
    /// Time bases of the incoming packets and of the file.
    time_bases: (Rational, Rational),
    packets: u64,
    /// How many of the packets are on disk, and how long the file is with them.
    held: u64,
    length: u64,
    /// Packets that cannot be written to the file: without a time, or earlier than one that is in it.
    left_out: u64,
}

/// Where a stream's recordings go.
#[derive(Clone, Debug)]
pub(crate) struct Recordings {
    /// Path of the first connection's recording.
    pub(crate) path: PathBuf,
    /// Number of this connection, from 1.
    pub(crate) connection: u64,
}

impl Recordings {
    /// Creates the file of this connection: `path` for the first one, `NAME.0002.mkv`, `NAME.0003.mkv` and so on beside
    /// it for the others, skipping names of files that exist or are being written. These may belong to an earlier run
    /// or another stream.
    fn begin(&self) -> Result<PartFile, FileError> {
        let mut number = self.connection.max(1);
        loop {
            let path = self.numbered(number);
            let is_free = || path.symlink_metadata().is_err();
            number = number.saturating_add(1);
            if !is_free() || part_path(&path).symlink_metadata().is_ok() {
                continue;
            }
            match PartFile::create(&path, Unfinished::Kept) {
                // While the part is held, nobody else can give a file this name.
                Ok(part) if is_free() => return Ok(part),
                Ok(part) => part.remove()?,
                // Another stream took the name first.
                Err(error) if error.reason.kind() == ErrorKind::ResourceBusy => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn numbered(&self, number: u64) -> PathBuf {
        if number <= 1 {
            return self.path.clone();
        }
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(format!(".{number:04}.mkv"));
        self.path.with_file_name(name)
    }
}

impl Recorder {
    /// Begins to record a stream.
    pub(crate) fn begin(
        recordings: &Recordings,
        stream: &Stream<'_>,
        setup: &Setup,
    ) -> Result<Self, RecordError> {
        let part = recordings.begin().map_err(|error| RecordError {
            path: recordings.path.clone(),
            reason: error.to_string(),
        })?;
        let path = part.path().to_owned();
        let failed = |reason: String| RecordError {
            path: path.clone(),
            reason,
        };
        let opened = open(part.part(), stream);
        let (output, time_base) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // It contains nothing worth keeping yet.
                let removed = part.remove().err();
                let also = removed.map_or_else(String::new, |removed| format!("; {removed}"));
                return Err(failed(format!("{error}{also}")));
            }
        };
        Ok(Self {
            book: setup.file(part.part(), "packets"),
            output: Some((output, part)),
            path,
            node: setup.node.clone(),
            time_bases: (stream.time_base(), time_base),
            packets: 0,
            held: 0,
            length: 0,
            left_out: 0,
        })
    }

    /// Records a packet.
    ///
    /// # Errors
    /// If it cannot be written; what was recorded so far stays in `NAME.part`.
    pub(crate) fn write(&mut self, packet: &Packet) -> Result<(), RecordError> {
        let Some((output, part)) = &mut self.output else {
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
                // A cluster is written when the next one begins, which this packet does.
                let length = part.length().unwrap_or(self.length);
                if length > self.length {
                    self.length = length;
                    self.hold(self.packets - 1);
                }
            }
            // libav returns this for times that do not fit; a file without the packet is better than no file.
            Err(Error::InvalidData) => self.leave_out(),
            Err(Error::Other { errno }) if errno == rustix::io::Errno::INVAL.raw_os_error() => {
                self.leave_out();
            }
            Err(error) => {
                self.packets += 1;
                self.book.give(1);
                return Err(self.give_up(error));
            }
        }
        Ok(())
    }

    /// Notes that this many packets are on disk.
    fn hold(&mut self, packets: u64) {
        self.book.hold(packets.saturating_sub(self.held));
        self.held = self.held.max(packets);
    }

    /// Stops recording. An incomplete cluster is cut off; a file without packets is removed.
    fn give_up(&mut self, error: Error) -> RecordError {
        let mut reason = format!("{error} after {} packets", self.held);
        if let Some((output, mut part)) = self.output.take() {
            // Dropping the output writes what libav still buffers.
            drop(output);
            let ended = match self.held {
                0 => {
                    self.book.removed();
                    part.remove().map_err(|error| error.to_string())
                }
                _ => part.cut(self.length).map_err(|error| error.to_string()),
            };
            if let Err(error) = ended {
                reason = format!("{reason}; {error}");
            }
        }
        RecordError {
            path: self.path.clone(),
            reason,
        }
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        if self.left_out == 1 {
            let (node, path, packets) = (&self.node, self.path.display(), self.packets);
            tracing::warn!(%node, %path, packets, "a packet is left out of the recording: its time is missing or earlier than the last one's");
        }
    }

    /// Completes the file and gives it its name; a file without packets is removed.
    fn finish(&mut self) -> Result<(), RecordError> {
        let Some((output, _)) = &mut self.output else {
            return Ok(());
        };
        if self.packets > 0
            && let Err(error) = output.write_trailer()
        {
            return Err(self.give_up(error));
        }
        let Some((output, part)) = self.output.take() else {
            return Ok(());
        };
        drop(output);
        let ended = if self.packets == 0 {
            self.book.removed();
            part.remove()
        } else {
            self.hold(self.packets);
            note_finished(part.finish(), &self.book, &self.path)
        };
        ended.map_err(|error| RecordError {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        if self.packets == 0 {
            return Ok(());
        }
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

/// Opens a Matroska file for the packets of a stream; returns it with the time base of its packets.
fn open(path: &Path, stream: &Stream<'_>) -> Result<(Output, Rational), Error> {
    // Without the scheme, a colon in the name would make it a protocol.
    let url = format!("file:{}", path.display());
    let mut output = format::output_as(&url, "matroska")?;
    let mut copy = output.add_stream(encoder::find(codec::Id::None))?;
    copy.set_parameters(parameters_without_tag(stream));
    copy.set_time_base(stream.time_base());
    let mut options = Dictionary::new();
    // A cluster is written once it is complete: after this many milliseconds instead of five seconds.
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
        let path = PathBuf::from("runs/a b.door.mkv");
        let name = |number| {
            let (path, connection) = (path.clone(), 1);
            Recordings { path, connection }.numbered(number)
        };
        assert_eq!(name(1), path);
        assert_eq!(name(2), Path::new("runs/a b.door.0002.mkv"));
        assert_eq!(name(12), Path::new("runs/a b.door.0012.mkv"));
    }

    #[test]
    fn a_name_that_somebody_has_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let recordings = |connection| Recordings {
            path: path("door.mkv"),
            connection,
        };
        std::fs::write(path("door.0002.mkv"), "of a stream that is called so").unwrap();
        std::os::unix::fs::symlink("nowhere", path("door.0004.mkv")).unwrap();
        let first = recordings(1).begin().unwrap();
        assert_eq!(first.path(), path("door.mkv"));
        let second = recordings(2).begin().unwrap();
        assert_eq!(second.path(), path("door.0003.mkv"));
        // An unfinished file takes its name just as a finished one does.
        let third = recordings(3).begin().unwrap();
        assert_eq!(third.path(), path("door.0005.mkv"));
        assert!(!path("door.0004.mkv.part").exists());
        let nowhere = Recordings {
            path: path("nowhere/door.mkv"),
            connection: 1,
        };
        assert!(nowhere.begin().is_err());
    }
}
