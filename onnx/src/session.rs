//! A loaded ONNX model: f32 tensors in, f32 tensors out, on an explicit device with explicit threads. Preprocessing and
//! the meaning of the outputs are up to the caller.

use std::path::{Path, PathBuf};

use ort::session::SessionInputValue;
use ort::session::builder::SessionBuilder;
use ort::value::TensorRef;

use crate::device::{Device, PrecisionError};
use crate::initialisers::without_constant_inputs;
use crate::messages;
use crate::precision::Precision;
use crate::providers::{Providers, REMEMBER};
use crate::runtime::{self, RuntimeError};
use crate::tensor::{TensorIn, TensorInfo, TensorOut, element_count};

/// Maximum number of threads, more than any machine has cores: with thousands of them a model stalls.
pub const MOST_THREADS: usize = 1024;

/// How to run a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Device to run on. A device that is not available is an error, never a silent fallback.
    pub device: Device,
    /// Number format to compute in. One that the device does not support is an error too.
    pub precision: Precision,
    /// Threads within an operator, 1 to [`MOST_THREADS`], including the caller's. Idle ones sleep.
    pub threads: usize,
}

impl Default for SessionSpec {
    /// Returns the processor, f32, one thread.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            precision: Precision::F32,
            threads: 1,
        }
    }
}

/// Why a model could not be loaded or run. The messages include the cause.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SessionError {
    /// ONNX Runtime cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The device or its execution provider is not available.
    #[error(
        "device {device} cannot be used: {reason}; run on `device: cpu`, or install what it needs with `make {}`",
        device.set_up_by()
    )]
    Device { device: Device, reason: String },
    /// The device is available, but runs no node of this model.
    #[error(
        "device {device} runs none of the nodes of model {} ({providers}); run it on `device: cpu`",
        path.display()
    )]
    Elsewhere {
        path: PathBuf,
        device: Device,
        providers: Providers,
    },
    /// The device does not support the number format.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The file is missing, not an ONNX model, or not supported on this device.
    #[error("cannot load model {} on {device}: {reason}", path.display())]
    Load {
        path: PathBuf,
        device: Device,
        reason: String,
    },
    /// The number of threads is out of range.
    #[error("cannot load model {}: `threads` is {threads}; expected 1 to {MOST_THREADS}", path.display())]
    Threads { path: PathBuf, threads: usize },
    /// Values and shape of an input are inconsistent.
    #[error("input {input} of model {} has {values} values for the shape {shape:?}", path.display())]
    InputShape {
        path: PathBuf,
        input: usize,
        values: usize,
        shape: Vec<usize>,
    },
    /// The number of inputs is not the model's.
    #[error("model {} takes {expected} inputs, not {given}", path.display())]
    InputCount {
        path: PathBuf,
        expected: usize,
        given: usize,
    },
    /// The model failed.
    #[error("model {} failed: {reason}", path.display())]
    Run { path: PathBuf, reason: String },
    /// No f32 tensor at this index among the outputs.
    #[error("output {output} of model {}: {reason}", path.display())]
    Output {
        path: PathBuf,
        output: usize,
        reason: String,
    },
}

/// A loaded model, run by one thread at a time; replicas load it again.
#[derive(Debug)]
pub struct Session {
    path: PathBuf,
    inner: ort::session::Session,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    providers: Providers,
}

impl Session {
    /// Loads the model in the file `path` (`.onnx`). Constants listed among its inputs do not count as inputs.
    ///
    /// # Errors
    /// Fails if ONNX Runtime, the device or the file is missing or unusable, or if the file is larger than 32 GiB.
    pub fn load(path: impl AsRef<Path>, spec: &SessionSpec) -> Result<Self, SessionError> {
        let path = path.as_ref().to_owned();
        let threads = spec.threads;
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(SessionError::Threads { path, threads });
        }
        spec.device.computes_in(spec.precision)?;
        let environment = runtime::environment()?;
        let load_error = |error: ort::Error| SessionError::Load {
            path: path.clone(),
            device: spec.device,
            reason: error.to_string(),
        };
        // The log level may have changed since the library was loaded: a graph is checked before its log begins.
        environment.set_log_level(messages::level());
        let builder = ort::session::Session::builder(&environment).map_err(load_error)?;
        let builder = with_threads(builder, spec.threads).map_err(load_error)?;
        let SessionSpec {
            device,
            precision,
            threads,
        } = *spec;
        let builder = device.applied_to(builder, precision, threads);
        let mut builder = builder.map_err(|reason| SessionError::Device { device, reason })?;
        let bytes = fermata_files::read(&path, fermata_files::MOST_NUMBERS);
        let bytes = bytes.map_err(|error| SessionError::Load {
            path: path.clone(),
            device,
            reason: error.to_string(),
        })?;
        let rewritten = without_constant_inputs(&bytes);
        drop(bytes);
        let inner = match rewritten {
            Some(bytes) => builder.commit_from_memory(&bytes),
            // Weights in external files are searched for beside it.
            None => builder.commit_from_file(&path),
        };
        let inner = inner.map_err(load_error)?;
        let inputs = inner.inputs().iter().map(TensorInfo::of).collect();
        let outputs = inner.outputs().iter().map(TensorInfo::of).collect();
        let providers = Providers::of(&inner).map_err(load_error)?;
        if device != Device::Cpu && providers.nodes(device.provider()) == 0 {
            return Err(SessionError::Elsewhere {
                path,
                device,
                providers,
            });
        }
        tracing::info!(model = %path.display(), %device, %precision, %providers, "loaded");
        Ok(Self {
            path,
            inner,
            inputs,
            outputs,
            providers,
        })
    }

    /// Returns how many of the model's nodes each execution provider runs.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// Returns the file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the model's inputs, in the order of [`Session::run`].
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// Returns the model's outputs, in the order of [`Outputs::get`].
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// Returns the index of the output with this name.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Runs the model. Inputs are in the model's order and are read in place; the outputs borrow the session.
    ///
    /// # Errors
    /// Fails if the inputs do not match the model, or if the model fails.
    pub fn run<const N: usize>(
        &mut self,
        inputs: [TensorIn<'_>; N],
    ) -> Result<Outputs<'_>, SessionError> {
        let Self { path, inner, .. } = self;
        if N != self.inputs.len() {
            return Err(SessionError::InputCount {
                path: path.clone(),
                expected: self.inputs.len(),
                given: N,
            });
        }
        for (input, tensor) in inputs.iter().enumerate() {
            if element_count(tensor.shape) != Some(tensor.values.len()) {
                return Err(SessionError::InputShape {
                    path: path.clone(),
                    input,
                    values: tensor.values.len(),
                    shape: tensor.shape.to_vec(),
                });
            }
        }
        let run_error = |error: ort::Error| SessionError::Run {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut values = Vec::with_capacity(N);
        for tensor in inputs {
            let value = TensorRef::from_array_view((tensor.shape, tensor.values));
            values.push(SessionInputValue::from(value.map_err(run_error)?));
        }
        let values = inner.run(values.as_slice()).map_err(run_error)?;
        Ok(Outputs { path, values })
    }
}

/// Outputs of a model; valid until its session runs again.
#[derive(Debug)]
pub struct Outputs<'s> {
    path: &'s Path,
    values: ort::session::SessionOutputs<'s>,
}

impl Outputs<'_> {
    /// Returns the file of the model that computed them.
    pub fn path(&self) -> &Path {
        self.path
    }

    /// Returns a view of the output at this index (see [`Session::outputs`]), without copying.
    ///
    /// # Errors
    /// Fails if there is no such output, or if it is not f32.
    pub fn get(&self, output: usize) -> Result<TensorOut<'_>, SessionError> {
        let error = |reason: String| SessionError::Output {
            path: self.path.to_owned(),
            output,
            reason,
        };
        if output >= self.values.len() {
            return Err(error("there is no such output".to_owned()));
        }
        let (shape, values) = self.values[output]
            .try_extract_tensor::<f32>()
            .map_err(|cause| error(cause.to_string()))?;
        Ok(TensorOut { shape, values })
    }
}

/// Configures no thread pools beyond those asked for, and no threads that spin while they wait for work.
fn with_threads(builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
    let (remember, yes) = REMEMBER;
    Ok(builder
        .with_config_entry(remember, yes)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_log_level(messages::level())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped::data;

    fn model() -> Option<PathBuf> {
        Some(data()?.join("classify/faceapi_face_expression.onnx"))
    }

    #[test]
    fn a_model_runs_and_says_what_it_takes() {
        let Some(path) = model() else { return };
        let mut session = Session::load(&path, &SessionSpec::default()).unwrap();
        let input = &session.inputs()[0];
        assert_eq!(input.to_string(), "input[?,3,112,112] F32");
        assert_eq!(session.output_index("probs"), Some(0));

        let values = vec![128.0; 2 * 3 * 112 * 112];
        let shape = [2, 3, 112, 112];
        let shape = &shape[..];
        let outputs = session.run([TensorIn {
            shape,
            values: &values,
        }]);
        let outputs = outputs.unwrap();
        let probabilities = outputs.get(0).unwrap();
        assert_eq!(probabilities.shape, [2, 7]);
        let sum: f32 = probabilities.values[..7].iter().sum();
        assert!((sum - 1.0).abs() < 1e-4);
        assert!(outputs.get(1).is_err());
        drop(outputs);

        let values = &values[1..];
        let error = session.run([TensorIn { shape, values }]).unwrap_err();
        assert!(matches!(error, SessionError::InputShape { .. }), "{error}");
        let error = session.run([]).unwrap_err();
        assert!(matches!(error, SessionError::InputCount { .. }), "{error}");
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let Some(path) = model() else { return };
        let spec = SessionSpec {
            device: Device::Cuda(999),
            ..SessionSpec::default()
        };
        let error = Session::load(&path, &spec).unwrap_err();
        assert!(error.to_string().contains("cuda:999"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_model_is_an_error_that_names_it() {
        let Some(path) = model() else { return };
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), &path.with_extension("missing")] {
            let error = Session::load(path, &SessionSpec::default()).unwrap_err();
            let name = path.display().to_string();
            assert!(error.to_string().contains(&name), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // A sparse file takes no space on disk.
        let length = fermata_files::MOST_NUMBERS + 1;
        file.as_file().set_len(length).unwrap();
        let error = Session::load(file.path(), &SessionSpec::default()).unwrap_err();
        assert!(error.to_string().contains("larger than 32 GiB"), "{error}");
    }

    #[test]
    fn a_number_of_threads_that_no_machine_has_is_refused() {
        for threads in [0, MOST_THREADS + 1, usize::MAX] {
            let spec = SessionSpec {
                threads,
                ..SessionSpec::default()
            };
            let refused = Session::load("none.onnx", &spec).map(drop).unwrap_err();
            let told = format!("`threads` is {threads}; expected 1 to 1024");
            assert!(refused.to_string().ends_with(&told), "{refused}");
        }
    }
}
