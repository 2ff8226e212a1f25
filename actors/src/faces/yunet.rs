//! YuNet: an anchor-free face detector with landmarks, run at the frame's own size.
//! <https://github.com/ShiqiYu/libfacedetection.train>, W. Wu et al., "YuNet: A Tiny Millisecond-level Face Detector",
//! 2023.
//!
//! Owns the input layout and the decoding of the outputs. Overlapping boxes are left to [`super::nms`].

use fermata_engine::ActorError;
use fermata_vision::{Frame, Landmarks, Point, Rect};
use opencv::imgproc::INTER_AREA;

use super::nms::Candidate;
use super::pixels::{self, Planes, Resized};
use fermata_onnx::{ElementType, Session, TensorIn};

/// Strides of the three grids, in pixels.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Multiple that input sides are padded to: the network halves its input five times.
const MULTIPLE: usize = 32;

/// Signature of a YuNet, for messages.
pub(super) const EXPECTED: &str = "YuNet (one input [batch,3,height,width]; outputs cls_S[batch,cells,1], obj_S[batch,cells,1], bbox_S[batch,cells,4], kps_S[batch,cells,10] for S = 8, 16, 32)";

/// Indices of one grid's tensors among the outputs.
#[derive(Clone, Copy, Debug)]
struct Places {
    class: usize,
    object: usize,
    rect: usize,
    points: usize,
}

/// Output tensors of one grid.
struct Grid<'a> {
    stride: usize,
    columns: usize,
    class: &'a [f32],
    object: &'a [f32],
    rect: &'a [f32],
    points: &'a [f32],
}

/// How the inputs and outputs of a model map to those of a YuNet.
pub(super) struct Layout {
    /// Width and height of the input, if the model fixes them.
    fixed: Option<(usize, usize)>,
    places: [Places; 3],
}

/// A loaded YuNet and its buffers.
pub(super) struct Yunet {
    session: Session,
    layout: Layout,
    max_side: Option<usize>,
    resized: Resized,
    values: Vec<f32>,
}

impl Yunet {
    /// Creates a detector that downscales frames whose longer side exceeds `max_side`.
    pub(super) fn new(session: Session, layout: Layout, max_side: Option<usize>) -> Self {
        Self {
            session,
            layout,
            max_side,
            resized: Resized::default(),
            values: Vec::new(),
        }
    }

    /// Appends candidates with at least this score, in pixels of the frame.
    pub(super) fn detect(
        &mut self,
        frame: &Frame,
        min_score: f32,
        found: &mut Vec<Candidate>,
    ) -> Result<(), ActorError> {
        let frame_size = (frame.width(), frame.height());
        let (size, padded) = self.layout.sizes(frame_size, self.max_side);
        let bgr = self.resized.bgr(frame, size, INTER_AREA)?;
        let values = &mut self.values;
        pixels::to_planes(bgr, size, padded, Planes::Bgr, f32::from, values);
        let shape = &[1, 3, padded.1, padded.0];
        let outputs = self.session.run([TensorIn { shape, values }])?;

        let before = found.len();
        for (places, stride) in self.layout.places.iter().zip(STRIDES) {
            let grid = Grid {
                stride,
                columns: padded.0 / stride,
                class: outputs.get(places.class)?.values,
                object: outputs.get(places.object)?.values,
                rect: outputs.get(places.rect)?.values,
                points: outputs.get(places.points)?.values,
            };
            decode(&grid, padded.1 / stride, min_score, found)?;
        }
        let scale_x = frame.width() as f32 / size.0 as f32;
        let scale_y = frame.height() as f32 / size.1 as f32;
        for candidate in &mut found[before..] {
            scale(candidate, scale_x, scale_y);
        }
        Ok(())
    }
}

impl Layout {
    /// Returns `None` if the model is not a YuNet.
    pub(super) fn of(session: &Session) -> Option<Self> {
        let [input] = session.inputs() else {
            return None;
        };
        let [_, Some(3), height, width] = input.shape[..] else {
            return None;
        };
        let fixed = match (width, height) {
            (None, None) => None,
            (Some(width), Some(height))
                if width.is_multiple_of(MULTIPLE) && height.is_multiple_of(MULTIPLE) =>
            {
                Some((width, height))
            }
            _ => return None,
        };
        let [first, second, third] = STRIDES;
        let places = [
            Places::of(session, first)?,
            Places::of(session, second)?,
            Places::of(session, third)?,
        ];
        (input.element == ElementType::F32).then_some(Self { fixed, places })
    }

    /// Returns the size at which a frame is processed, without and with padding.
    fn sizes(
        &self,
        frame: (usize, usize),
        max_side: Option<usize>,
    ) -> ((usize, usize), (usize, usize)) {
        let size = pixels::limited(frame, max_side);
        let Some((width, height)) = self.fixed else {
            let up = |side: usize| side.next_multiple_of(MULTIPLE);
            return (size, (up(size.0), up(size.1)));
        };
        // The limit of the longer side at which both sides fit.
        let longer = size.0.max(size.1);
        let fitting = (longer * width / size.0).min(longer * height / size.1);
        (pixels::limited(size, Some(fitting)), (width, height))
    }
}

impl Places {
    fn of(session: &Session, stride: usize) -> Option<Self> {
        let place = |name: &str, values: usize| {
            let index = session.output_index(&format!("{name}_{stride}"))?;
            let output = &session.outputs()[index];
            let fits = output.element == ElementType::F32
                && matches!(output.shape[..], [_, _, last] if last.is_none_or(|n| n == values));
            fits.then_some(index)
        };
        Some(Self {
            class: place("cls", 1)?,
            object: place("obj", 1)?,
            rect: place("bbox", 4)?,
            points: place("kps", 10)?,
        })
    }
}

/// Decodes one grid: score √(class · object), both clipped to 0..1; centre (cell + bbox\[0..2\]) · stride, size
/// exp(bbox\[2..4\]) · stride; landmark (cell + kps) · stride.
fn decode(
    grid: &Grid<'_>,
    rows: usize,
    min_score: f32,
    found: &mut Vec<Candidate>,
) -> Result<(), ActorError> {
    let cells = rows * grid.columns;
    let lengths = [
        (grid.class, 1),
        (grid.object, 1),
        (grid.rect, 4),
        (grid.points, 10),
    ];
    if lengths
        .iter()
        .any(|(values, each)| values.len() != cells * each)
    {
        let (stride, got) = (grid.stride, grid.class.len());
        return Err(format!(
            "YuNet's outputs for stride {stride} have {got} cells, but the input has {cells}: this model needs another input size"
        )
        .into());
    }
    let stride = grid.stride as f32;
    let least = min_score * min_score;
    for (cell, (class, object)) in grid.class.iter().zip(grid.object).enumerate() {
        let product = class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0);
        if product < least {
            continue;
        }
        let column = (cell % grid.columns) as f32;
        let row = (cell / grid.columns) as f32;
        let rect = &grid.rect[cell * 4..][..4];
        let (w, h) = (rect[2].exp() * stride, rect[3].exp() * stride);
        let mut landmarks = Landmarks::default();
        let points = grid.points[cell * 10..][..10].chunks_exact(2);
        for (landmark, point) in landmarks.iter_mut().zip(points) {
            *landmark = Point {
                x: (column + point[0]) * stride,
                y: (row + point[1]) * stride,
            };
        }
        found.push(Candidate {
            rect: Rect {
                x: (column + rect[0]) * stride - w / 2.0,
                y: (row + rect[1]) * stride - h / 2.0,
                w,
                h,
            },
            landmarks: Some(landmarks),
            score: product.sqrt(),
        });
    }
    Ok(())
}

fn scale(candidate: &mut Candidate, scale_x: f32, scale_y: f32) {
    let Rect { x, y, w, h } = candidate.rect;
    candidate.rect = Rect {
        x: x * scale_x,
        y: y * scale_y,
        w: w * scale_x,
        h: h * scale_y,
    };
    for point in candidate.landmarks.iter_mut().flatten() {
        point.x *= scale_x;
        point.y *= scale_y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid<'a>(
        class: &'a [f32],
        object: &'a [f32],
        rect: &'a [f32],
        points: &'a [f32],
    ) -> Grid<'a> {
        Grid {
            stride: 8,
            columns: 2,
            class,
            object,
            rect,
            points,
        }
    }

    #[test]
    fn a_cell_is_decoded_around_its_own_place() {
        // Cell 3 is column 1, row 1.
        let class = [0.0, 0.0, 0.0, 0.64];
        let object = [1.0, 1.0, 1.0, 1.5];
        let mut rect = [0.0; 16];
        rect[12..].copy_from_slice(&[0.5, 0.25, 2.0_f32.ln(), 0.0]);
        let mut points = [0.0; 40];
        points[30..32].copy_from_slice(&[1.0, -1.0]);
        let mut found = Vec::new();
        let grid = grid(&class, &object, &rect, &points);
        decode(&grid, 2, 0.6, &mut found).unwrap();
        assert_eq!(found.len(), 1);
        let face = found[0];
        assert!((face.score - 0.8).abs() < 1e-6);
        let Rect { x, y, w, h } = face.rect;
        assert!((x - 4.0).abs() < 1e-5 && (y - 6.0).abs() < 1e-5, "{x} {y}");
        assert!((w - 16.0).abs() < 1e-5 && (h - 8.0).abs() < 1e-5, "{w} {h}");
        let landmarks = face.landmarks.unwrap();
        assert_eq!(landmarks[0], Point { x: 16.0, y: 0.0 });
        assert_eq!(landmarks[4], Point { x: 8.0, y: 8.0 });
    }

    #[test]
    fn a_frame_is_padded_or_shrunk_into_a_fixed_input() {
        let places = [Places {
            class: 0,
            object: 0,
            rect: 0,
            points: 0,
        }; 3];
        let any = Layout {
            fixed: None,
            places,
        };
        assert_eq!(any.sizes((480, 270), None), ((480, 270), (480, 288)));
        assert_eq!(any.sizes((640, 480), Some(320)), ((320, 240), (320, 256)));
        let fixed = Layout {
            fixed: Some((320, 320)),
            places,
        };
        assert_eq!(fixed.sizes((640, 480), None), ((320, 240), (320, 320)));
        assert_eq!(fixed.sizes((270, 480), None), ((180, 320), (320, 320)));
        assert_eq!(fixed.sizes((100, 50), None), ((100, 50), (320, 320)));
    }

    #[test]
    fn outputs_of_another_size_are_refused() {
        let grid = grid(&[0.0; 3], &[0.0; 3], &[0.0; 12], &[0.0; 30]);
        let error = decode(&grid, 2, 0.5, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("3 cells"), "{error}");
    }
}
