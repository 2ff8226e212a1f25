//! How the tensors of a file differ from those of a network, described helpfully.

use std::collections::BTreeMap;
use std::fmt;

use tch::Tensor;

use super::head_of::HeadOf;
use crate::network::{Architecture, Description, Head, SmallResNet18, TensorRole};

/// Differences between a file's tensors and a network's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Names that the network has and the file does not.
    pub missing: Vec<String>,
    /// Names that the file has and the network does not.
    pub unexpected: Vec<String>,
    /// Names with another shape: the file's, then the network's.
    pub shapes: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Other networks whose tensors these are, except for the head.
    pub looks_like: Vec<Architecture>,
    /// Whether everything but the head fits.
    pub only_head: bool,
}

/// Most names of a kind shown.
const SHOWN: usize = 3;

impl Mismatch {
    pub(super) fn between(
        description: &Description,
        file: &BTreeMap<String, Tensor>,
        head: HeadOf,
    ) -> Self {
        let mut mismatch = Self::default();
        let leaves_out = |name: &str| head == HeadOf::Network && description.is_of_head(name);
        let specs = description.tensors();
        for spec in specs.iter().filter(|spec| !leaves_out(&spec.name)) {
            match file.get(&spec.name) {
                Some(tensor) if tensor.size() != spec.shape => {
                    let shapes = (spec.name.clone(), tensor.size(), spec.shape.clone());
                    mismatch.shapes.push(shapes);
                }
                None if spec.role != TensorRole::BatchCount => {
                    mismatch.missing.push(spec.name.clone())
                }
                _ => {}
            }
        }
        for name in file.keys().filter(|name| !leaves_out(name)) {
            if !specs.iter().any(|spec| &spec.name == name) {
                mismatch.unexpected.push(name.clone());
            }
        }
        if !mismatch.is_empty() {
            let shapes = mismatch.shapes.iter().map(|(name, ..)| name);
            let mut names = mismatch
                .missing
                .iter()
                .chain(&mismatch.unexpected)
                .chain(shapes);
            mismatch.only_head = names.all(|name| description.is_of_head(name));
            // Where the body is this network's, the differences help more than other networks with the same tensors.
            if !is_body_of(description.architecture, file) {
                mismatch.looks_like = bodies_of(file);
            }
        }
        mismatch
    }

    /// Returns whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shapes.is_empty()
    }
}

/// Returns the networks whose tensors a file has, except for the head. There may be several, since a stem's stride has
/// no tensor.
pub(super) fn bodies_of(file: &BTreeMap<String, Tensor>) -> Vec<Architecture> {
    let stem = file.get("conv1.weight").map(Tensor::size);
    let small = stem.into_iter().flat_map(|stem| {
        let of_stride = move |stride| match stem[..] {
            [width, channels, 3, 3] => SmallResNet18::new(width, stride, channels),
            _ => None,
        };
        [1, 2].into_iter().filter_map(of_stride)
    });
    Architecture::LISTED
        .into_iter()
        .filter(|listed| !matches!(listed, Architecture::SmallResNet18(_)))
        .chain(small.map(Architecture::SmallResNet18))
        .filter(|architecture| is_body_of(*architecture, file))
        .collect()
}

pub(super) fn is_body_of(architecture: Architecture, file: &BTreeMap<String, Tensor>) -> bool {
    let description = Description::new(architecture, Head::Linear { classes: 1 });
    let specs = description.tensors();
    let mut body = specs
        .iter()
        .filter(|spec| spec.role != TensorRole::BatchCount && !description.is_of_head(&spec.name));
    body.all(|spec| {
        file.get(&spec.name)
            .is_some_and(|tensor| tensor.size() == spec.shape)
    })
}

fn some_of(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    names: &[String],
    separator: &mut &str,
) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    let shown = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>();
    write!(f, "{separator}{} {what}: {}", names.len(), shown.join(", "))?;
    if names.len() > SHOWN {
        f.write_str(", …")?;
    }
    *separator = "; ";
    Ok(())
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.looks_like.is_empty() {
            let others: Vec<String> = self.looks_like.iter().map(ToString::to_string).collect();
            return write!(f, "it is a checkpoint of {}", others.join(" or "));
        }
        let mut separator = "";
        some_of(f, "missing", &self.missing, &mut separator)?;
        some_of(f, "unexpected", &self.unexpected, &mut separator)?;
        let shapes = self.shapes.iter();
        let shapes: Vec<String> = shapes
            .map(|(name, found, expected)| format!("{name} {found:?} instead of {expected:?}"))
            .collect();
        some_of(f, "of another shape", &shapes, &mut separator)?;
        if self.only_head {
            f.write_str(
                "; only the head differs: if that is intended, load it with the head replaced",
            )?;
        }
        Ok(())
    }
}
