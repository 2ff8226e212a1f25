//! Converts 8-bit pixels into the values and the layout that a model expects.

use crate::card::{Colour, Layout, ModelCard, ScalingStep};

/// Scales and lays out pictures of the input's size. Since a channel has 256 possible values, a table for each channel
/// holds the results of the card's steps, computed in f64.
#[derive(Debug)]
pub(super) struct Scaler {
    channels: Vec<Channel>,
    layout: Layout,
}

#[derive(Debug)]
struct Channel {
    /// Index of the channel in a pixel of a frame (BGR, or gray).
    source: usize,
    table: [f32; 256],
}

impl Scaler {
    pub(super) fn new(card: &ModelCard) -> Self {
        let sources: &[usize] = match card.input.colour {
            Colour::Rgb => &[2, 1, 0],
            Colour::Bgr => &[0, 1, 2],
            Colour::Gray => &[0],
        };
        let channels = sources.iter().enumerate().map(|(channel, &source)| {
            let table = std::array::from_fn(|value| scaled(&card.scaling, channel, value as f64));
            Channel { source, table }
        });
        Self {
            channels: channels.collect(),
            layout: card.input.layout,
        }
    }

    /// Writes the pixels, row by row without padding, into `out`, which has one value for each channel of each pixel.
    pub(super) fn write(&self, pixels: &[u8], out: &mut [f32]) {
        let count = self.channels.len();
        match self.layout {
            Layout::Nchw => {
                let planes = out.chunks_exact_mut(pixels.len() / count);
                for (Channel { source, table }, plane) in self.channels.iter().zip(planes) {
                    for (value, pixel) in plane.iter_mut().zip(pixels.chunks_exact(count)) {
                        *value = table[usize::from(pixel[*source])];
                    }
                }
            }
            Layout::Nhwc => {
                let places = out.chunks_exact_mut(count);
                for (values, pixel) in places.zip(pixels.chunks_exact(count)) {
                    for (value, Channel { source, table }) in values.iter_mut().zip(&self.channels)
                    {
                        *value = table[usize::from(pixel[*source])];
                    }
                }
            }
        }
    }
}

fn scaled(steps: &[ScalingStep], channel: usize, value: f64) -> f32 {
    let scaled = steps.iter().fold(value, |value, step| match step {
        ScalingStep::Divide(by) => value / by.of(channel),
        ScalingStep::Multiply(by) => value * by.of(channel),
        ScalingStep::Add(by) => value + by.of(channel),
        ScalingStep::Subtract(by) => value - by.of(channel),
        ScalingStep::Normalise(by) => (value - by.mean.of(channel)) / by.std.of(channel),
    });
    scaled as f32
}
