//! Contact sheets: pictures side by side with captions, as one PNG and as an HTML page that shows it, for examples
//! found in manifests. Owns the layout.

use std::path::PathBuf;

use fermata_vision::{Frame, FramePool, image_file};
use image::{RgbImage, imageops};
use opencv::core::{Point, Scalar};
use opencv::imgproc;

use crate::markup::escaped;

/// Pictures shown together.
#[derive(Clone, Debug)]
pub struct Card {
    /// Heading of the page under which the card appears.
    pub heading: String,
    /// Picture files; those that cannot be read stay white.
    pub pictures: Vec<PathBuf>,
    /// Caption below each picture, short enough for [`SIDE`].
    pub captions: Vec<String>,
    /// Further text, shown only on the page.
    pub details: String,
}

/// Side of a picture in pixels.
pub const SIDE: usize = 112;
const CAPTION: usize = 16;
const HEADING: usize = 22;
const GAP: usize = 10;
/// Approximate width of a sheet in pixels.
const WIDTH: usize = 1000;

/// Picture of a contact sheet and its page.
#[derive(Debug)]
pub struct ContactSheet {
    /// Picture with all cards.
    pub sheet: Frame,
    /// HTML page, which shows the picture from a file beside it.
    pub page: String,
}

/// Card with its position on the sheet.
struct Laid<'a> {
    card: &'a Card,
    x: usize,
    y: usize,
}

impl ContactSheet {
    /// Lays out cards in order; consecutive cards with the same heading share it. `picture_name` is the file name of
    /// the sheet.
    ///
    /// # Errors
    /// OpenCV fails to draw the text.
    pub fn of(title: &str, cards: &[Card], picture_name: &str) -> opencv::Result<Self> {
        let (laid, headings, height) = lay_out(cards);
        let mut frame = FramePool::new().take(WIDTH, height.max(1));
        frame.bgr_mut().fill(255);
        for card in &laid {
            for (number, path) in card.card.pictures.iter().enumerate() {
                put(&mut frame, path, card.x + number * SIDE, card.y);
            }
        }
        {
            let mut mat = frame.mat_mut()?;
            let mut write = |text: &str, x: usize, y: usize, size: f64| {
                let place = Point::new(x as i32, y as i32);
                let font = imgproc::FONT_HERSHEY_SIMPLEX;
                let ink = Scalar::new(30.0, 30.0, 30.0, 0.0);
                imgproc::put_text(
                    &mut mat,
                    text,
                    place,
                    font,
                    size,
                    ink,
                    1,
                    imgproc::LINE_AA,
                    false,
                )
            };
            for (heading, y) in &headings {
                write(heading, GAP, y + HEADING - 7, 0.45)?;
            }
            for card in &laid {
                for (number, caption) in card.card.captions.iter().enumerate() {
                    let x = card.x + number * SIDE + 1;
                    write(caption, x, card.y + SIDE + CAPTION - 5, 0.32)?;
                }
            }
        }
        Ok(Self {
            sheet: frame.freeze(),
            page: page(title, &laid, picture_name),
        })
    }
}

fn lay_out(cards: &[Card]) -> (Vec<Laid<'_>>, Vec<(String, usize)>, usize) {
    let (mut laid, mut headings) = (Vec::new(), Vec::new());
    let (mut x, mut y, mut before) = (GAP, 0, "");
    let line = SIDE + CAPTION + GAP;
    for card in cards {
        if card.heading != before {
            if x > GAP {
                y += line;
            }
            headings.push((card.heading.clone(), y));
            (x, y, before) = (GAP, y + HEADING, &card.heading);
        }
        let width = card.pictures.len() * SIDE + GAP;
        if x + width > WIDTH && x > GAP {
            (x, y) = (GAP, y + line);
        }
        laid.push(Laid { card, x, y });
        x += width;
    }
    (laid, headings, y + line)
}

fn put(sheet: &mut fermata_vision::FrameMut, path: &std::path::Path, left: usize, top: usize) {
    let Ok(frame) = image_file::read(path, &FramePool::new()) else {
        return;
    };
    let (width, height) = (frame.width() as u32, frame.height() as u32);
    // The order of the colours does not matter when resizing.
    let Some(bgr) = RgbImage::from_raw(width, height, frame.bgr().to_vec()) else {
        return;
    };
    let side = SIDE as u32 - 2;
    let small = imageops::resize(&bgr, side, side, imageops::FilterType::Triangle);
    let stride = sheet.width() * 3;
    for (y, row) in small.rows().enumerate() {
        let place = (top + y) * stride + left * 3;
        for (pixel, value) in row.enumerate() {
            let place = place + 3 * pixel;
            if left + pixel < stride / 3 {
                sheet.bgr_mut()[place..place + 3].copy_from_slice(&value.0);
            }
        }
    }
}

fn page(title: &str, laid: &[Laid<'_>], picture: &str) -> String {
    let mut text = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<style>\n\
         body {{ font: 14px Helvetica, Arial, sans-serif; color: #222; margin: 24px; }}\n\
         .card {{ display: inline-block; margin: 6px 14px 6px 0; vertical-align: top; max-width: 480px; font-size: 12px; }}\n\
         .card i {{ display: inline-block; width: {1}px; height: {1}px; background-image: url('{2}'); }}\n\
         </style>\n<h1>{0}</h1>\n",
        escaped(title),
        SIDE - 2,
        escaped(picture)
    );
    let mut before = "";
    for Laid { card, x, y } in laid {
        if card.heading != before {
            text += &format!("<h2>{}</h2>\n", escaped(&card.heading));
            before = &card.heading;
        }
        text += "<div class=\"card\">";
        for number in 0..card.pictures.len() {
            let left = x + number * SIDE;
            text += &format!("<i style=\"background-position: -{left}px -{y}px\"></i> ");
        }
        text += &format!("<br>{}", escaped(&card.captions.join("   |   ")));
        text += &format!(
            "<br>{}</div>\n",
            escaped(&card.details).replace('\n', "<br>")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_set::write_png;

    #[test]
    fn pictures_stand_where_the_page_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("red.png");
        write_png(&path, &Frame::from_bgr(1, 1, vec![0, 0, 255])).unwrap();
        let card = |heading: &str, pictures: usize| Card {
            heading: heading.to_owned(),
            pictures: vec![path.clone(); pictures],
            captions: vec!["a <b>".to_owned(); pictures],
            details: "more".to_owned(),
        };
        let cards = [card("one", 2), card("one", 8), card("two", 1)];
        let made = ContactSheet::of("t", &cards, "sheet.png").unwrap();
        let corners: Vec<(usize, usize)> = made
            .page
            .split("background-position: -")
            .skip(1)
            .map(|rest| {
                let (x, rest) = rest.split_once("px -").unwrap();
                (
                    x.parse().unwrap(),
                    rest.split_once("px").unwrap().0.parse().unwrap(),
                )
            })
            .collect();
        assert_eq!(corners.len(), 11);
        for (x, y) in corners {
            let place = 3 * ((y + SIDE / 2) * made.sheet.width() + x + SIDE / 2);
            assert_eq!(made.sheet.bgr()[place..place + 3], [0, 0, 255]);
        }
        assert!(made.page.contains("a &lt;b&gt;"));
        assert_eq!(made.page.matches("<h2>").count(), 2);
    }
}
