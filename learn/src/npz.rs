//! NumPy files: single arrays (`.npy`) and archives of arrays (`.npz`). Owns reading and writing them as plain arrays;
//! their meaning is up to the caller. Everything written opens in NumPy, and the same arrays give the same bytes.

mod error;
mod head;
mod stream;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use fermata_files::MOST_NUMBERS;
use npyz::npz::{array_name_from_file_name, file_name_from_array_name};
use npyz::{DType, NpyFile, WriterBuilder};
use zip::ZipArchive;

pub use self::error::ArrayError;
use self::head::Checked;
pub use self::stream::NpzStream;
use self::stream::stored;

/// Dimensions and values in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values, as many as the product of the dimensions.
    pub values: Vec<T>,
}

/// Shape and type of an array, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArraySummary {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// NumPy's name of the data type, such as `<f4`.
    pub kind: String,
}

impl ArraySummary {
    /// Returns the name of the data type without its byte order, such as `f4`. That of a structured array is in
    /// brackets.
    pub fn plain_kind(&self) -> &str {
        kind_of(&self.kind)
    }
}

impl std::fmt::Display for ArraySummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind, self.shape)
    }
}

fn summary_of<R: Read>(file: &NpyFile<R>) -> ArraySummary {
    ArraySummary {
        shape: file.shape().iter().map(|&side| side as usize).collect(),
        kind: type_name(&file.dtype()),
    }
}

/// Returns the shape and type of the array in a `.npy` file.
///
/// # Errors
/// See [`ArrayError`].
pub fn summary_of_npy(path: &Path) -> Result<ArraySummary, ArrayError> {
    let file = open_npy(path)?;
    Ok(summary_of(&file))
}

/// Reads f32 (or f64, rounded to f32) from a `.npy` file.
///
/// # Errors
/// See [`ArrayError`].
pub fn read_npy(path: &Path) -> Result<Array<f32>, ArrayError> {
    let file = open_npy(path)?;
    plausible(path, "npy", &file)?;
    floats(path, "the array", file, "npy")
}

/// Writes f32 as a `.npy` file, completely or not at all.
///
/// # Errors
/// See [`ArrayError`].
pub fn write_npy(path: &Path, array: &Array<f32>) -> Result<(), ArrayError> {
    let bytes = npy_bytes(array).expect("writing to memory cannot fail");
    fermata_files::write(path, &bytes).map_err(|error| ArrayError::File {
        doing: "write",
        path: path.to_owned(),
        reason: error.reason,
    })
}

fn npy_bytes<T: npyz::AutoSerialize + Copy>(array: &Array<T>) -> io::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let shape: Vec<u64> = array.shape.iter().map(|&side| side as u64).collect();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&shape)
        .writer(&mut bytes)
        .begin_nd()?;
    writer.extend(array.values.iter().copied())?;
    writer.finish()?;
    Ok(bytes.into_inner())
}

fn unreadable(path: &Path, reason: io::Error) -> ArrayError {
    ArrayError::File {
        doing: "read",
        path: path.to_owned(),
        reason,
    }
}

fn damaged(path: &Path, format: &'static str, reason: io::Error) -> ArrayError {
    ArrayError::Format {
        path: path.to_owned(),
        format,
        reason,
    }
}

/// Returns the values in row-major order, given those of a file in Fortran order (the first index varies fastest).
fn row_major<T: Copy>(values: Vec<T>, shape: &[usize]) -> Vec<T> {
    // Distance in the file between neighbours along each dimension.
    let strides: Vec<usize> = (0..shape.len())
        .map(|dimension| shape[..dimension].iter().product())
        .collect();
    let place = |index: usize| {
        let mut rest = index;
        let mut place = 0;
        for (side, stride) in shape.iter().zip(&strides).rev() {
            place += rest % side * stride;
            rest /= side;
        }
        place
    };
    (0..values.len())
        .map(|index| values[place(index)])
        .collect()
}

/// Returns the name of a data type without its byte order, since `npyz` reads both.
fn kind_of(name: &str) -> &str {
    name.trim_start_matches(['<', '>', '|', '='])
}

fn floats<R: Read>(
    path: &Path,
    array: &str,
    file: NpyFile<R>,
    format: &'static str,
) -> Result<Array<f32>, ArrayError> {
    let shape: Vec<usize> = file.shape().iter().map(|&side| side as usize).collect();
    let is_fortran = file.order() == npyz::Order::Fortran;
    let name = type_name(&file.dtype());
    let values = match kind_of(&name) {
        "f4" => file.into_vec::<f32>(),
        "f8" => file
            .into_vec::<f64>()
            .map(|values| values.into_iter().map(|value| value as f32).collect()),
        _ => {
            return Err(ArrayError::Type {
                path: path.to_owned(),
                array: array.to_owned(),
                found: name,
                expected: "32- or 64-bit floats",
            });
        }
    };
    let mut values = values.map_err(|reason| damaged(path, format, reason))?;
    if is_fortran {
        values = row_major(values, &shape);
    }
    Ok(Array { shape, values })
}

fn open_npy(path: &Path) -> Result<NpyFile<Checked<BufReader<File>>>, ArrayError> {
    let file = fermata_files::open(path, MOST_NUMBERS);
    let file = file.map_err(|reason| unreadable(path, reason))?;
    let file = head::checked(BufReader::new(file)).and_then(NpyFile::new);
    file.map_err(|reason| damaged(path, "npy", reason))
}

/// Largest compression ratio of Deflate (RFC 1951: 258 bytes take two bits).
const MOST_DEFLATED: u64 = 1032;

/// Checks that a file can hold as many values as its shape states, since that much memory is allocated.
fn plausible<R: Read>(
    path: &Path,
    format: &'static str,
    file: &NpyFile<R>,
) -> Result<(), ArrayError> {
    let length = path
        .metadata()
        .map_err(|reason| unreadable(path, reason))?
        .len();
    let most = match format {
        "npz" => length.saturating_mul(MOST_DEFLATED),
        _ => length,
    };
    // Objects have no size.
    let size = file.dtype().num_bytes().unwrap_or(1) as u64;
    let mut sides = file.shape().iter();
    let bytes = sides.try_fold(size, |product, &side| product.checked_mul(side));
    if bytes.is_some_and(|bytes| bytes <= most) {
        return Ok(());
    }
    let reason = format!(
        "its header claims the dimensions {:?}, which cannot be in {length} bytes",
        file.shape()
    );
    Err(damaged(path, format, io::Error::other(reason)))
}

fn type_name(dtype: &DType) -> String {
    match dtype {
        DType::Plain(plain) => plain.to_string(),
        other => other.descr(),
    }
}

/// Archive that is read array by array.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    names: Vec<String>,
}

impl Npz {
    /// Opens an archive.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn open(path: &Path) -> Result<Self, ArrayError> {
        let file = fermata_files::open(path, MOST_NUMBERS);
        let file = file.map_err(|reason| unreadable(path, reason))?;
        let archive = ZipArchive::new(BufReader::new(file));
        let archive = archive.map_err(|error| damaged(path, "npz", error.into()))?;
        let names = archive.file_names().filter_map(array_name_from_file_name);
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(Self {
            path: path.to_owned(),
            archive,
            names,
        })
    }

    /// Returns the names of its arrays, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the shape and type of one of its arrays.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn summary(&mut self, name: &str) -> Result<ArraySummary, ArrayError> {
        Ok(summary_of(&self.array(name)?))
    }

    /// Reads an array of f32 (or f64, rounded).
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn floats(&mut self, name: &str) -> Result<Array<f32>, ArrayError> {
        let path = self.path.clone();
        floats(&path, &format!("`{name}`"), self.array(name)?, "npz")
    }

    /// Reads an array of f64, with all their digits.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn doubles(&mut self, name: &str) -> Result<Array<f64>, ArrayError> {
        self.only(name, "f8", "64-bit floats")
    }

    /// Reads integers of any width, sign and byte order that fit into 64 signed bits.
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn integers(&mut self, name: &str) -> Result<Array<i64>, ArrayError> {
        let path = self.path.clone();
        let file = self.array(name)?;
        let shape: Vec<usize> = file.shape().iter().map(|&side| side as usize).collect();
        let is_fortran = file.order() == npyz::Order::Fortran;
        let found = type_name(&file.dtype());
        let values = match kind_of(&found) {
            "i8" => file.into_vec::<i64>(),
            "i4" => file.into_vec::<i32>().map(widened),
            "i2" => file.into_vec::<i16>().map(widened),
            "i1" => file.into_vec::<i8>().map(widened),
            "u8" => match file.into_vec::<u64>().map(narrowed) {
                Ok(Some(values)) => Ok(values),
                Ok(None) => {
                    return Err(ArrayError::Type {
                        path,
                        array: format!("`{name}`"),
                        found: format!("{found} with a number beyond 64 signed bits"),
                        expected: "whole numbers",
                    });
                }
                Err(reason) => Err(reason),
            },
            "u4" => file.into_vec::<u32>().map(widened),
            "u2" => file.into_vec::<u16>().map(widened),
            "u1" => file.into_vec::<u8>().map(widened),
            _ => {
                return Err(ArrayError::Type {
                    path,
                    array: format!("`{name}`"),
                    found,
                    expected: "whole numbers",
                });
            }
        };
        let mut values = values.map_err(|reason| damaged(&path, "npz", reason))?;
        if is_fortran {
            values = row_major(values, &shape);
        }
        Ok(Array { shape, values })
    }

    /// Reads bytes (`u1`).
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn bytes(&mut self, name: &str) -> Result<Array<u8>, ArrayError> {
        self.only(name, "u1", "bytes")
    }

    /// Reads an array of one type, in any byte order.
    fn only<T: npyz::Deserialize + Copy>(
        &mut self,
        name: &str,
        kind: &str,
        expected: &'static str,
    ) -> Result<Array<T>, ArrayError> {
        let path = self.path.clone();
        let file = self.array(name)?;
        let shape: Vec<usize> = file.shape().iter().map(|&side| side as usize).collect();
        let is_fortran = file.order() == npyz::Order::Fortran;
        let found = type_name(&file.dtype());
        if kind_of(&found) != kind {
            return Err(ArrayError::Type {
                path,
                array: format!("`{name}`"),
                found,
                expected,
            });
        }
        let mut values = file.into_vec::<T>();
        if is_fortran {
            values = values.map(|values| row_major(values, &shape));
        }
        let values = values.map_err(|reason| damaged(&path, "npz", reason))?;
        Ok(Array { shape, values })
    }

    /// Reads strings (NumPy's `U`).
    ///
    /// # Errors
    /// See [`ArrayError`].
    pub fn texts(&mut self, name: &str) -> Result<Array<String>, ArrayError> {
        let path = self.path.clone();
        let file = self.array(name)?;
        let shape: Vec<usize> = file.shape().iter().map(|&side| side as usize).collect();
        let is_fortran = file.order() == npyz::Order::Fortran;
        let mut found = type_name(&file.dtype());
        if !kind_of(&found).starts_with('U') || is_fortran {
            if is_fortran {
                found += " in column-major order";
            }
            return Err(ArrayError::Type {
                path,
                array: format!("`{name}`"),
                found,
                expected: "strings in row-major order",
            });
        }
        let values = file.into_vec::<String>();
        let values = values.map_err(|reason| damaged(&path, "npz", reason))?;
        Ok(Array { shape, values })
    }

    fn array(&mut self, name: &str) -> Result<NpyFile<impl Read>, ArrayError> {
        if !self.names.iter().any(|known| known == name) {
            return Err(ArrayError::Missing {
                path: self.path.clone(),
                wanted: name.to_owned(),
                found: self.names.clone(),
            });
        }
        let entry = self.archive.by_name(&file_name_from_array_name(name));
        let file = entry.map_err(io::Error::from);
        let file = file.and_then(head::checked).and_then(NpyFile::new);
        let file = file.map_err(|reason| damaged(&self.path, "npz", reason))?;
        plausible(&self.path, "npz", &file)?;
        // Values are read one by one, and the archive updates its checksum on each read.
        let header = file.header().clone();
        let values = BufReader::with_capacity(1 << 16, file.into_inner());
        Ok(NpyFile::with_header(header, values))
    }
}

fn widened<T: Into<i64>>(values: Vec<T>) -> Vec<i64> {
    values.into_iter().map(Into::into).collect()
}

/// Returns `None` if a value is too large.
fn narrowed(values: Vec<u64>) -> Option<Vec<i64>> {
    let values = values.into_iter().map(|value| i64::try_from(value).ok());
    values.collect()
}

/// Array of an archive to be written.
pub enum NpzArray {
    /// `float32`.
    Floats(Array<f32>),
    /// `int64`.
    Integers(Array<i64>),
    /// `uint8`.
    Bytes(Array<u8>),
}

/// Writes an archive, completely or not at all.
///
/// # Errors
/// See [`ArrayError`].
pub fn write_npz(path: &Path, arrays: &BTreeMap<&str, NpzArray>) -> Result<(), ArrayError> {
    let bytes = npz_bytes(arrays).expect("writing to memory cannot fail");
    fermata_files::write(path, &bytes).map_err(|error| ArrayError::File {
        doing: "write",
        path: path.to_owned(),
        reason: error.reason,
    })
}

fn npz_bytes(arrays: &BTreeMap<&str, NpzArray>) -> io::Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), stored())?;
        let bytes = match array {
            NpzArray::Floats(array) => npy_bytes(array)?,
            NpzArray::Integers(array) => npy_bytes(array)?,
            NpzArray::Bytes(array) => npy_bytes(array)?,
        };
        io::Write::write_all(&mut archive, &bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}
