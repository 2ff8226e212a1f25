//! Contrast-limited adaptive histogram equalisation of a gray picture, or of the L channel of a colour picture.

use opencv::boxed_ref::BoxedRef;
use opencv::core::{self, Mat, Ptr};
use opencv::imgproc::{self, CLAHE};
use opencv::prelude::*;

use super::canvas::{self, Canvas};
use crate::card::ClaheSpec;

/// Equalises pictures of any size. Whether it equalises gray or L depends on the picture, since a loaded card does not
/// mix them.
#[derive(Debug)]
pub(super) struct Equaliser {
    clahe: Ptr<CLAHE>,
    lab: Canvas,
    plane: Canvas,
    equalised: Canvas,
    colour: Canvas,
}

impl Equaliser {
    pub(super) fn new(spec: &ClaheSpec) -> opencv::Result<Self> {
        let tiles = canvas::size(spec.tiles.width, spec.tiles.height);
        Ok(Self {
            clahe: imgproc::create_clahe(spec.clip, tiles)?,
            lab: Canvas::default(),
            plane: Canvas::default(),
            equalised: Canvas::default(),
            colour: Canvas::default(),
        })
    }

    /// Returns the equalised picture, with the same size and channels.
    pub(super) fn equalise(
        &mut self,
        picture: &BoxedRef<'_, Mat>,
    ) -> opencv::Result<BoxedRef<'_, Mat>> {
        let size = picture.size()?;
        let mut equalised = self.equalised.paint(size, 1)?;
        if picture.channels() == 1 {
            self.clahe.apply(picture, &mut equalised)?;
            return Ok(equalised.into());
        }
        let mut lab = self.lab.paint(size, 3)?;
        imgproc::cvt_color_def(picture, &mut lab, imgproc::COLOR_BGR2Lab)?;
        let mut lightness = self.plane.paint(size, 1)?;
        core::extract_channel(&lab, &mut lightness, 0)?;
        self.clahe.apply(&lightness, &mut equalised)?;
        core::insert_channel(&equalised, &mut lab, 0)?;
        let mut colour = self.colour.paint(size, 3)?;
        imgproc::cvt_color_def(&lab, &mut colour, imgproc::COLOR_Lab2BGR)?;
        Ok(colour.into())
    }
}
