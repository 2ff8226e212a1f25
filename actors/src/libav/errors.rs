//! Errors of the system as libav returns them, and what they mean there.

use ffmpeg_next::Error;
use rustix::io::Errno;

/// A connection ended before so many bytes as were announced, also where nobody announced any; or a host is not known.
pub(crate) const INPUT_OUTPUT: Error = of(Errno::IO);

/// Nothing of the input is to blame.
pub(crate) const NO_MEMORY: Error = of(Errno::NOMEM);

/// What some of its readers return for whatever it is.
pub(crate) const NOT_PERMITTED: Error = of(Errno::PERM);

/// The other side has none of the transports that it was asked for.
pub(crate) const NOT_SUPPORTED: Error = of(Errno::PROTONOSUPPORT);

/// What its reader of YUV4MPEG2 returns for pictures whose size overflows: the code of an invalid argument, and the
/// length of a mark.
pub(crate) const OVERFLOWN: Error = of(Errno::BUSY);

const fn of(error: Errno) -> Error {
    Error::Other {
        errno: error.raw_os_error(),
    }
}
