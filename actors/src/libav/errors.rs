//! System errors as libav returns them, and their meaning there.

use ffmpeg_next::Error;
use rustix::io::Errno;

/// A connection ended before the announced number of bytes, even if none was announced; or a host is unknown.
pub(crate) const INPUT_OUTPUT: Error = of(Errno::IO);

/// More than is fetched of a recording, which would fill the disk.
pub(crate) const TOO_LARGE: Error = of(Errno::FBIG);

/// Out of memory; the input is not to blame.
pub(crate) const NO_MEMORY: Error = of(Errno::NOMEM);

/// A generic error of some of libav's readers.
pub(crate) const NOT_PERMITTED: Error = of(Errno::PERM);

/// The server offers none of the requested transports.
pub(crate) const NOT_SUPPORTED: Error = of(Errno::PROTONOSUPPORT);

/// Returned by libav's YUV4MPEG2 reader for pictures whose size overflows: the code of an invalid argument plus the
/// length of a marker.
pub(crate) const OVERFLOWN: Error = of(Errno::BUSY);

const fn of(error: Errno) -> Error {
    Error::Other {
        errno: error.raw_os_error(),
    }
}
