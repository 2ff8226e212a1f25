//! Safetensors files: a network's tensors under timm's names, and any other named tensors (the state of an optimiser).
//! Owns reading, writing, and the check that a file fits a network. A file that does not fit is rejected as a whole:
//! nothing of it is loaded.
//!
//! The format is <https://github.com/huggingface/safetensors>: a JSON header with the positions of the tensors, then
//! their bytes.

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

/// Metadata key under which this program writes the provenance of a file, as JSON.
const PROVENANCE: &str = "fermata";
/// Default scale of an ArcFace head whose file does not state one.
pub const USUAL_SCALE: f64 = 30.0;

/// Why a weight file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A file that cannot be read or written.
    #[error("cannot {} {}: {reason}", doing, path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Reason given by the system.
        reason: io::Error,
    },
    /// A file that is truncated, damaged, or in another format.
    #[error("{} is not a complete safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that are not finite, from a training that has diverged.
    #[error("{}: tensor `{tensor}` has values that are not finite numbers", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
    },
    /// Tensors that fit, but come from a network that computes something else with them.
    #[error("{} is a checkpoint of {stated}, and not of {architecture}", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Network to be loaded.
        architecture: Architecture,
        /// Network named in the file.
        stated: String,
    },
    /// Tensors other than the network's.
    #[error("{} does not fit {architecture}: {mismatch}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Network to be loaded.
        architecture: Architecture,
        /// Differences between file and network.
        mismatch: Box<Mismatch>,
    },
}

/// Named tensors with their provenance.
#[derive(Debug, Default)]
pub struct TensorFile {
    /// Tensors of f32 or i64, on the CPU.
    pub tensors: BTreeMap<String, Tensor>,
    /// Provenance of the file, if it states one.
    pub provenance: Option<serde_json::Value>,
}

impl TensorFile {
    /// Reads a file into memory.
    ///
    /// # Errors
    /// It cannot be read, or is not a safetensors file of f32, f16, bf16 and i64 tensors. The short floats become f32.
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
            .map_err(|error| format!("its provenance is not JSON: {error}"))?;
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

    /// Writes a file as a whole, replacing an existing one. The same tensors give the same bytes.
    ///
    /// # Errors
    /// The file cannot be written; an existing file is then left unchanged.
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
            // Only one key, since several would be written in the order of a hash map.
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

    /// Returns the networks whose tensors these are, except for the head: the one that the file names, or all that the
    /// tensors allow (a stem's stride has no tensor). Empty if it is not a network's file.
    pub fn architectures(&self) -> Vec<Architecture> {
        let mut fitting = mismatch::bodies_of(&self.tensors);
        if let Some(stated) = stated_architecture(self.provenance.as_ref()) {
            fitting.retain(|architecture| architecture.to_string() == stated);
        }
        fitting
    }

    /// Returns the head in the file, if it holds this network's tensors. A head without bias is ArcFace's, whose scale
    /// is not a tensor and must be given.
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

    /// Returns the scale of the ArcFace head, if the file comes from a training that states it.
    pub fn trained_scale(&self) -> Option<f64> {
        let training = self.provenance.as_ref()?.get("training")?;
        training.get("head")?.get("arcface")?.get("scale")?.as_f64()
    }
}

/// Returns the network named in a file's provenance.
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

/// Returns the tensor's values, little-endian, row by row.
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

    /// Returns a network with the weights and the head of a file, and the file's provenance. The scale of an ArcFace
    /// head (weights without bias), which no tensor holds, is the given one, else the file's, else [`USUAL_SCALE`].
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
        // For another network's file: loading reports how they differ.
        let other = Head::Linear {
            classes: EXPRESSIONS as i64,
        };
        let head = file.head(architecture, scale).unwrap_or(other);
        let mut network = Self::new(architecture, head, 0, device);
        network.load_tensors(path, &file, HeadOf::File)?;
        Ok((network, file.provenance))
    }

    /// Loads a file into the network, and returns its provenance. The file must hold exactly the network's tensors,
    /// except the batch counts, and except the head with [`HeadOf::Network`].
    ///
    /// # Errors
    /// See [`WeightsError`]; the network is then unchanged.
    pub fn load(
        &mut self,
        path: &Path,
        head: HeadOf,
    ) -> Result<Option<serde_json::Value>, WeightsError> {
        let file = TensorFile::read(path)?;
        self.load_tensors(path, &file, head)?;
        Ok(file.provenance)
    }

    /// Loads the tensors read from a file.
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
    /// They are not the network's tensors.
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

    /// Copies tensors that are known to fit.
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
