//! Safetensors files: a network's tensors under timm's names, and any other named tensors (the state of an optimiser).
//! Owns reading, writing and what may be loaded into what. A file that does not fit is refused whole: nothing of it is
//! loaded.
//!
//! The format is <https://github.com/huggingface/safetensors>: a JSON header with the places of the tensors, then their
//! bytes.

mod head_of;
mod mismatch;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use fermata_files::MOST_NUMBERS;
use fermata_vision::face::EXPRESSIONS;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor, no_grad};

pub use self::head_of::HeadOf;
pub use self::mismatch::Mismatch;
use crate::network::{Architecture, Head, Network, TensorRole};

/// Key of the header's metadata under which this program writes where a file comes from, as JSON.
const PROVENANCE: &str = "fermata";
/// Scale of an ArcFace head whose file says nothing of it.
pub const USUAL_SCALE: f64 = 30.0;

/// Why a file of weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Not to be read or written.
    #[error("cannot {} {}: {reason}", doing, path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Cut, damaged, or another format.
    #[error("{} is not a complete safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights of a training that has diverged.
    #[error("{}: tensor `{tensor}` has values that are not finite numbers", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
    },
    /// Tensors that fit, of a network that computes something else with them.
    #[error("{} is a checkpoint of {stated}, and not of {architecture}", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The network that should have been loaded.
        architecture: Architecture,
        /// The one that the file says.
        stated: String,
    },
    /// Other tensors than the network has.
    #[error("{} does not fit {architecture}: {mismatch}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The network that should have been loaded.
        architecture: Architecture,
        /// How they differ.
        mismatch: Box<Mismatch>,
    },
}

/// Named tensors and where they come from.
#[derive(Debug, Default)]
pub struct TensorFile {
    /// f32 or i64 tensors, on the CPU.
    pub tensors: BTreeMap<String, Tensor>,
    /// Where the file comes from, if it says so.
    pub provenance: Option<serde_json::Value>,
}

impl TensorFile {
    /// Reads a file whole.
    ///
    /// # Errors
    /// It cannot be read, or is no safetensors file of f32, f16, bf16 and i64 tensors. The short floats become f32.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let bytes =
            fermata_files::read(path, MOST_NUMBERS).map_err(|reason| WeightsError::File {
                doing: "read",
                path: path.to_owned(),
                reason,
            })?;
        Self::parse(&bytes).map_err(|reason| WeightsError::Format {
            path: path.to_owned(),
            reason,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let provenance = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(PROVENANCE));
        let provenance = provenance
            .map(|json| serde_json::from_str(json))
            .transpose()
            .map_err(|error| format!("its provenance is no JSON: {error}"))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let tensor = tensor_of(&view).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
            tensors.insert(name.to_owned(), tensor);
        }
        Ok(Self {
            tensors,
            provenance,
        })
    }

    /// Writes a file whole, in the place of one that is there. The same tensors give the same bytes.
    ///
    /// # Errors
    /// The file cannot be written; then there is none, or the old one.
    pub fn write(&self, path: &Path) -> Result<(), WeightsError> {
        let bytes: BTreeMap<&str, Vec<u8>> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), bytes_of(tensor)))
            .collect();
        let views = self.tensors.iter().map(|(name, tensor)| {
            let shape = tensor.size().iter().map(|&side| side as usize).collect();
            let dtype = match tensor.kind() {
                Kind::Int64 => Dtype::I64,
                _ => Dtype::F32,
            };
            let view = TensorView::new(dtype, shape, &bytes[name.as_str()]);
            (name.as_str(), view.expect("the bytes are the tensor's"))
        });
        let metadata = self.provenance.as_ref().map(|provenance| {
            // One key: the order of several would be a hash map's.
            HashMap::from([(PROVENANCE.to_owned(), provenance.to_string())])
        });
        let file =
            safetensors::serialize(views, metadata).map_err(|error| WeightsError::Format {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        fermata_files::write(path, &file).map_err(|error| WeightsError::File {
            doing: "write",
            path: path.to_owned(),
            reason: error.reason,
        })
    }

    /// The networks whose tensors these are, but for the head: the one that the file says, or those that the tensors
    /// leave open (a stem's stride has no tensor). None if it is no network's file.
    pub fn architectures(&self) -> Vec<Architecture> {
        let mut fitting = mismatch::bodies_of(&self.tensors);
        if let Some(stated) = stated_architecture(self.provenance.as_ref()) {
            fitting.retain(|architecture| architecture.to_string() == stated);
        }
        fitting
    }

    /// The head that the file has, if it holds this network's tensors: one without bias is ArcFace's, whose scale is no
    /// tensor and has to be said.
    pub fn head(&self, architecture: Architecture, arcface_scale: f64) -> Option<Head> {
        if !mismatch::is_body_of(architecture, &self.tensors) {
            return None;
        }
        let name = architecture.head_name();
        let weight = self.tensors.get(&format!("{name}.weight"))?;
        let classes = *weight.size().first()?;
        let has_bias = self.tensors.contains_key(&format!("{name}.bias"));
        Some(if has_bias {
            Head::Linear { classes }
        } else {
            Head::ArcFace {
                classes,
                scale: arcface_scale,
            }
        })
    }

    /// Scale of the ArcFace head, if the file is of a training that says so.
    pub fn trained_scale(&self) -> Option<f64> {
        let training = self.provenance.as_ref()?.get("training")?;
        training.get("head")?.get("arcface")?.get("scale")?.as_f64()
    }
}

/// The network that a file says it is of.
fn stated_architecture(provenance: Option<&serde_json::Value>) -> Option<&str> {
    provenance?.get("architecture")?.as_str()
}

fn tensor_of(view: &TensorView) -> Result<Tensor, String> {
    let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        other => {
            return Err(format!(
                "its values are {other:?}; expected F32, F16, BF16 or I64"
            ));
        }
    };
    let tensor = Tensor::from_data_size(view.data(), &shape, kind);
    Ok(match kind {
        Kind::Half | Kind::BFloat16 => tensor.to_kind(Kind::Float),
        _ => tensor,
    })
}

/// The tensor's values, little-endian, row by row.
fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor
        .detach()
        .to_device(Device::Cpu)
        .contiguous()
        .flatten(0, -1);
    let count = tensor.numel();
    if tensor.kind() == Kind::Int64 {
        let mut values = vec![0i64; count];
        tensor.copy_data(&mut values, count);
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    } else {
        let mut values = vec![0f32; count];
        tensor.to_kind(Kind::Float).copy_data(&mut values, count);
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }
}

impl Network {
    /// Writes all tensors under timm's names, so that timm loads the file with `strict=True`.
    ///
    /// # Errors
    /// See [`TensorFile::write`].
    pub fn save(
        &self,
        path: &Path,
        provenance: Option<serde_json::Value>,
    ) -> Result<(), WeightsError> {
        let tensors = self.tensors().iter();
        let tensors = tensors.map(|named| (named.spec.name.clone(), named.tensor.shallow_clone()));
        let file = TensorFile {
            tensors: tensors.collect(),
            provenance,
        };
        file.write(path)
    }

    /// A network with the weights of a file, the head that they have, and where they come from. The scale of an ArcFace
    /// head (weights without bias), which no tensor says, is the one that is given, or the file's, or [`USUAL_SCALE`].
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn of_file(
        architecture: Architecture,
        path: &Path,
        scale: Option<f64>,
        device: Device,
    ) -> Result<(Self, Option<serde_json::Value>), WeightsError> {
        let file = TensorFile::read(path)?;
        let scale = scale.or(file.trained_scale()).unwrap_or(USUAL_SCALE);
        // Of another network: loading says how they differ.
        let other = Head::Linear {
            classes: EXPRESSIONS as i64,
        };
        let head = file.head(architecture, scale).unwrap_or(other);
        let mut network = Self::new(architecture, head, 0, device);
        network.load_tensors(path, &file, HeadOf::File)?;
        Ok((network, file.provenance))
    }

    /// Loads a file into the network, and returns its provenance. The file must hold exactly the network's tensors,
    /// except the batch counts, and except the head where [`HeadOf::Network`] leaves it out.
    ///
    /// # Errors
    /// See [`WeightsError`]; the network is then as it was.
    pub fn load(
        &mut self,
        path: &Path,
        head: HeadOf,
    ) -> Result<Option<serde_json::Value>, WeightsError> {
        let file = TensorFile::read(path)?;
        self.load_tensors(path, &file, head)?;
        Ok(file.provenance)
    }

    /// Loads what was read from a file.
    fn load_tensors(
        &mut self,
        path: &Path,
        file: &TensorFile,
        head: HeadOf,
    ) -> Result<(), WeightsError> {
        let architecture = self.description().architecture;
        let mismatch = Mismatch::between(self.description(), &file.tensors, head);
        if !mismatch.is_empty() {
            return Err(WeightsError::Mismatch {
                path: path.to_owned(),
                architecture,
                mismatch: Box::new(mismatch),
            });
        }
        let is_finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) != 0;
        if let Some((name, _)) = file.tensors.iter().find(|(_, tensor)| !is_finite(tensor)) {
            return Err(WeightsError::NotFinite {
                path: path.to_owned(),
                tensor: name.clone(),
            });
        }
        if let Some(stated) = stated_architecture(file.provenance.as_ref())
            && stated != architecture.to_string()
        {
            return Err(WeightsError::OtherNetwork {
                path: path.to_owned(),
                architecture,
                stated: stated.to_owned(),
            });
        }
        self.copy(&file.tensors, head);
        Ok(())
    }

    /// Copies tensors into the network, all or none.
    ///
    /// # Errors
    /// They are not the network's.
    pub fn fill(
        &mut self,
        tensors: &BTreeMap<String, Tensor>,
        head: HeadOf,
    ) -> Result<(), Mismatch> {
        let mismatch = Mismatch::between(self.description(), tensors, head);
        if !mismatch.is_empty() {
            return Err(mismatch);
        }
        self.copy(tensors, head);
        Ok(())
    }

    /// Copies tensors that fit.
    fn copy(&mut self, tensors: &BTreeMap<String, Tensor>, head: HeadOf) {
        no_grad(|| {
            for named in self.tensors() {
                let is_left_out =
                    head == HeadOf::Network && self.description().is_of_head(&named.spec.name);
                let mut to = named.tensor.shallow_clone();
                match tensors.get(&named.spec.name) {
                    Some(tensor) if !is_left_out => to.copy_(tensor),
                    None if named.spec.role == TensorRole::BatchCount => {
                        let _ = to.zero_();
                    }
                    _ => {}
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
