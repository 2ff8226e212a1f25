//! Shows the effect of augmentation: a row of views of each picture, as one PNG.
//!
//! `cargo run -p fermata-learn --example contact_sheet -- SHEET.png PICTURE...`

use std::path::Path;

use fermata_learn::augmentation::Augmentation;
use fermata_learn::row_hash::RowHash;
use fermata_vision::image_file;
use fermata_vision::{Frame, FramePool};
use image::{RgbImage, imageops};

const SIDE: u32 = 128;
const COLUMNS: u32 = 10;

fn picture(frame: &Frame) -> RgbImage {
    let (width, height) = (frame.width(), frame.height());
    let rgb = RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let place = 3 * (y as usize * width + x as usize);
        let [blue, green, red] = frame.bgr()[place..place + 3] else {
            unreachable!("three bytes")
        };
        image::Rgb([red, green, blue])
    });
    imageops::resize(&rgb, SIDE, SIDE, imageops::FilterType::Triangle)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let sheet = arguments.next().ok_or("name the sheet and pictures")?;
    let (pool, augmentation) = (FramePool::new(), Augmentation::default());
    let mut rows = Vec::new();
    for path in arguments {
        let sha256 = fermata_files::sha256_of_file(Path::new(&path))?;
        let hash = sha256.parse::<RowHash>()?;
        let frame = image_file::read(Path::new(&path), &pool)?;
        let mut shown = vec![picture(&frame)];
        for view in 1..COLUMNS {
            if let Some(variation) = augmentation.view(0, view, &hash) {
                shown.push(picture(&variation.apply(&frame, &pool)?));
            }
        }
        rows.push(shown);
    }
    let mut whole = RgbImage::new(SIDE * COLUMNS, SIDE * rows.len() as u32);
    for (y, shown) in rows.iter().enumerate() {
        for (x, picture) in shown.iter().enumerate() {
            imageops::replace(
                &mut whole,
                picture,
                i64::from(SIDE) * x as i64,
                i64::from(SIDE) * y as i64,
            );
        }
    }
    whole.save(&sheet)?;
    Ok(())
}
