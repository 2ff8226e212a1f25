//! Networks by timm's names.
