//! The part of a model's card that determines its input for a picture. Models for which it is equal share their inputs.

use fermata_vision::card::{
    ClaheSpec, Colour, Interpolation, Layout, ModelCard, ScalingStep, Size,
};

/// How a picture becomes an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparation {
    size: Size,
    layout: Layout,
    colour: Colour,
    clahe: Option<ClaheSpec>,
    interpolation: Interpolation,
    scaling: Vec<ScalingStep>,
}

impl Preparation {
    /// Returns the preparation of a card, without its settings for cutting faces out of frames: the pictures of a
    /// manifest are faces already.
    pub fn of(card: &ModelCard) -> Self {
        Self {
            size: card.input.size,
            layout: card.input.layout,
            colour: card.input.colour,
            clahe: card.clahe,
            interpolation: card.interpolation,
            scaling: card.scaling.clone(),
        }
    }
}
