//! What the video actors share of ffmpeg's libraries: starting them once, and converting pictures between pixel formats.
//! Opening, decoding and encoding are the actors' own.

use std::sync::Once;

use ffmpeg_next::{Error, filter, format::Pixel, frame, log};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Registers devices and error texts, and keeps libav's own chatter down: errors are returned, and told by the actors. Call before anything else of libav.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        log::set_level(log::Level::Fatal);
        if let Err(error) = ffmpeg_next::init() {
            tracing::error!(%error, "libav did not start");
        }
    });
}

/// True for "nothing now": a decoder or encoder that wants input first, a filter that has no output yet.
pub(crate) fn wants_input(error: Error) -> bool {
    let again = rustix::io::Errno::AGAIN.raw_os_error();
    matches!(error, Error::Other { errno } if errno == again)
}

/// What a filter graph is built for.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    format: Pixel,
    width: u32,
    height: u32,
}

/// Sends pictures through a chain of filters, which is rebuilt when the pictures change size or format.
///
/// This goes through libavfilter, as the `ffmpeg` program does, since swscale alone takes every video for BT.601:
/// the `scale` filter tells it the matrix and range of each picture.
pub(crate) struct Converter {
    chain: String,
    graph: Option<(Shape, filter::Graph)>,
    converted: frame::Video,
}

impl Converter {
    /// A converter through filters as the `ffmpeg` program writes them.
    pub(crate) fn new(chain: impl Into<String>) -> Self {
        Self {
            chain: chain.into(),
            graph: None,
            converted: frame::Video::empty(),
        }
    }

    /// Converts one picture; `picture` is empty afterwards. The result lives until the next call.
    pub(crate) fn convert(
        &mut self,
        picture: &mut frame::Video,
    ) -> Result<&mut frame::Video, Error> {
        let shape = Shape {
            format: picture.format(),
            width: picture.width(),
            height: picture.height(),
        };
        if self
            .graph
            .as_ref()
            .is_none_or(|(built_for, _)| *built_for != shape)
        {
            self.graph = Some((shape, on_one_cpu(|| build(shape, &self.chain))?));
        }
        let Some((_, graph)) = &mut self.graph else {
            return Err(Error::Bug);
        };
        let mut end = |name| graph.get(name).ok_or(Error::FilterNotFound);
        end("in")?.source().add(picture)?;
        end("out")?.sink().frame(&mut self.converted)?;
        Ok(&mut self.converted)
    }
}

fn build(shape: Shape, chain: &str) -> Result<filter::Graph, Error> {
    let named = |name| filter::find(name).ok_or(Error::FilterNotFound);
    let format = shape.format.descriptor().ok_or(Error::InvalidData)?.name();
    let (width, height) = (shape.width, shape.height);
    // Time stamps stay with the caller: the time base is only there because the filter wants one.
    let arguments =
        format!("video_size={width}x{height}:pix_fmt={format}:time_base=1/1:pixel_aspect=1/1");
    let mut graph = filter::Graph::new();
    graph.add(&named("buffer")?, "in", &arguments)?;
    graph.add(&named("buffersink")?, "out", "")?;
    graph.output("in", 0)?.input("out", 0)?.parse(chain)?;
    graph.validate()?;
    Ok(graph)
}

/// Runs `build` while this thread sees a single CPU, so that the filter graph starts no thread pool of its own:
/// it asks for the number of CPUs, and has no setting that could be reached from here.
fn on_one_cpu<T>(build: impl FnOnce() -> T) -> T {
    struct Restore(CpuSet);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Err(error) = sched_setaffinity(None, &self.0) {
                tracing::error!(%error, "this thread stays on one CPU");
            }
        }
    }
    let Ok(allowed) = sched_getaffinity(None) else {
        return build();
    };
    let mut one = CpuSet::new();
    if let Some(cpu) = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)) {
        one.set(cpu);
    }
    let _restore = sched_setaffinity(None, &one)
        .is_ok()
        .then(|| Restore(allowed));
    build()
}

/// The rows of a packed picture of `row_bytes` each, without the padding that libav puts behind them.
pub(crate) fn rows(picture: &frame::Video, row_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let rows = picture.data(0).chunks(picture.stride(0).max(1));
    rows.filter_map(move |row| row.get(..row_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn building_a_converter_leaves_the_thread_its_cpus() {
        start();
        let before = sched_getaffinity(None).expect("this thread's CPUs");
        let mut converter = Converter::new("scale=threads=1,format=bgr24");
        let mut picture = frame::Video::new(Pixel::YUV420P, 64, 32);
        converter.convert(&mut picture).expect("a conversion");
        let after = sched_getaffinity(None).expect("this thread's CPUs");
        assert!((0..CpuSet::MAX_CPU).all(|cpu| before.is_set(cpu) == after.is_set(cpu)));
    }

    #[test]
    fn pictures_may_change_size_and_format() {
        start();
        let mut converter = Converter::new("scale=threads=1,format=bgr24");
        for (format, width, height) in [
            (Pixel::YUV420P, 64, 32),
            (Pixel::YUV420P, 66, 34),
            (Pixel::YUYV422, 66, 34),
            (Pixel::GRAY8, 3, 5),
        ] {
            let mut picture = frame::Video::new(format, width, height);
            let converted = converter.convert(&mut picture).expect("a conversion");
            assert_eq!(
                (converted.format(), converted.width(), converted.height()),
                (Pixel::BGR24, width, height)
            );
        }
    }
}
