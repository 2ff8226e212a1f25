//! `fermata manifest unpack`: writes the pictures of a NumPy archive as files, and its other arrays as a table that a
//! recipe maps.

use std::collections::HashSet;

use anyhow::{Context, bail};
use fermata::documents::make_folder;
use fermata::manifest_cli::UnpackArguments;
use fermata::print::print_line;
use fermata::spared_inputs::refuse_to_replace_folder_of;
use fermata_files::PartFolder;
use fermata_learn::image_set::{sync, write_png};
use fermata_learn::npz::{Array, ArrayError, ArraySummary, Npz};
use fermata_learn::on_all_cores::in_pieces;
use fermata_vision::Frame;

/// The image column of the table, and the folder of the pictures.
const IMAGE: &str = "image";
const IMAGES: &str = "images";
/// Number of pictures that a core writes at a time.
const PIECE: usize = 64;

/// A column of the table: its name, and a value for each row.
type Column = (String, Vec<String>);

pub(super) fn unpack(arguments: &UnpackArguments) -> anyhow::Result<()> {
    super::own_folder::refuse_what_is_there(&arguments.out, arguments.overwrite)?;
    refuse_to_replace_folder_of(&[&arguments.file], &arguments.out)?;
    let mut npz = Npz::open(&arguments.file)?;
    let pictures = Pictures::of(bytes(&mut npz, &arguments.images)?)
        .with_context(|| format!("the array `{}`", arguments.images))?;
    let names = match &arguments.names {
        None => (0..pictures.count).map(|row| format!("{row:06}")).collect(),
        Some(array) => names(npz.texts(array)?, pictures.count)
            .with_context(|| format!("the array `{array}`"))?,
    };
    let (columns, left_out) = columns(&mut npz, arguments, pictures.count)?;
    let folder = PartFolder::create(&arguments.out)?;
    let images = folder.part().join(IMAGES);
    make_folder(&images)?;
    let written = in_pieces(pictures.count, PIECE, |mut piece| {
        piece.try_for_each(|row| {
            let path = images.join(format!("{}.png", names[row]));
            write_png(&path, &pictures.frame(row)).map(|_| ())
        })
    });
    written.into_iter().collect::<Result<(), _>>()?;
    sync(names.iter().map(|name| images.join(format!("{name}.png"))))?;
    let table = table(&names, &columns)?;
    fermata_files::write(&folder.part().join(super::own_folder::TABLE), &table)?;
    folder.finish()?;
    let header: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    print_line(&format!(
        "{} pictures of {} x {} pixels; columns {IMAGE}, {}",
        pictures.count,
        pictures.width,
        pictures.height,
        header.join(", ")
    ))?;
    for told in &left_out {
        print_line(told)?;
    }
    print_line(&format!("written to {}", arguments.out.display()))
}

/// Reads the array of pictures. Bytes are read as such, since as integers they would take eight times the memory.
fn bytes(npz: &mut Npz, name: &str) -> anyhow::Result<Array<u8>> {
    let read = npz.bytes(name);
    if !matches!(read, Err(ArrayError::Type { .. })) {
        return Ok(read?);
    }
    let Array { shape, values } = npz.integers(name)?;
    let values: Result<Vec<u8>, _> = values.into_iter().map(u8::try_from).collect();
    let values = values.with_context(|| {
        format!("the array `{name}` has values outside of 0 to 255; expected bytes")
    })?;
    Ok(Array { shape, values })
}

/// The array of pictures.
struct Pictures {
    count: usize,
    height: usize,
    width: usize,
    /// 1 or 3.
    channels: usize,
    values: Vec<u8>,
}

impl Pictures {
    fn of(array: Array<u8>) -> anyhow::Result<Self> {
        let (count, height, width, channels) = match array.shape[..] {
            [count, height, width] => (count, height, width, 1),
            [count, height, width, channels @ (1 | 3)] => (count, height, width, channels),
            _ => bail!(
                "has the shape {:?}; expected [N, H, W] or [N, H, W, 3]",
                array.shape
            ),
        };
        if count * height * width == 0 {
            bail!("has the shape {:?}: there are no pictures", array.shape);
        }
        Ok(Self {
            count,
            height,
            width,
            channels,
            values: array.values,
        })
    }

    fn frame(&self, row: usize) -> Frame {
        let len = self.height * self.width * self.channels;
        let values = self.values[row * len..(row + 1) * len].chunks_exact(self.channels);
        let bgr = values.flat_map(|pixel| match *pixel {
            [red, green, blue] => [blue, green, red],
            _ => [pixel[0]; 3],
        });
        Frame::from_bgr(self.width, self.height, bgr.collect())
    }
}

/// Returns the names as file names, without extension.
fn names(array: Array<String>, count: usize) -> anyhow::Result<Vec<String>> {
    if array.values.len() != count {
        bail!(
            "has {} texts; expected {count}, one for each picture",
            array.values.len()
        );
    }
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for (row, name) in array.values.into_iter().enumerate() {
        let name = name.trim_end_matches('\0');
        let name = name
            .strip_suffix(".png")
            .unwrap_or(name)
            .replace(['/', '\\'], "_");
        if name.is_empty() || name.starts_with('.') {
            bail!("row {row} has `{name}`, which cannot be a file's name");
        }
        if !seen.insert(name.clone()) {
            bail!("row {row} has the name `{name}`, which another row has too");
        }
        names.push(name);
    }
    Ok(names)
}

/// Reads the other arrays with a row per picture: `ARRAY`, or `ARRAY_0`, `ARRAY_1`, … unless an array names them; also
/// returns notes about those left out.
fn columns(
    npz: &mut Npz,
    arguments: &UnpackArguments,
    count: usize,
) -> anyhow::Result<(Vec<Column>, Vec<String>)> {
    let (mut columns, mut left_out, mut strange) = (Vec::new(), Vec::new(), Vec::new());
    for name in npz.names().to_vec() {
        if name == arguments.images || Some(&name) == arguments.names.as_ref() {
            continue;
        }
        let summary = npz.summary(&name)?;
        let width = match summary.shape[..] {
            [rows] if rows == count => None,
            [rows, width] if rows == count => Some(width),
            _ => {
                left_out.push(name);
                continue;
            }
        };
        let values = match cells(npz, &name, &summary) {
            Ok(values) => values,
            Err(ArrayError::Type { found, .. }) => {
                strange.push(format!("{name} ({found})"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match width {
            None => columns.push((name, values)),
            Some(width) => {
                let named = names_of_columns(npz, &name, width)?;
                columns.extend(named.into_iter().enumerate().map(|(column, name)| {
                    let of_column = values.iter().skip(column).step_by(width).cloned();
                    (name, of_column.collect())
                }));
            }
        }
    }
    let mut told = Vec::new();
    for (reason, arrays) in [
        ("they do not have a row for each picture", left_out),
        ("their type is not supported", strange),
    ] {
        if !arrays.is_empty() {
            told.push(format!("left out, because {reason}: {}", arrays.join(", ")));
        }
    }
    Ok((columns, told))
}

/// Returns the values of an array as the table has them; numbers in the digits of their own precision.
///
/// # Errors
/// See [`ArrayError`]: it has a type error if the array is of another kind.
fn cells(npz: &mut Npz, name: &str, summary: &ArraySummary) -> Result<Vec<String>, ArrayError> {
    match summary.plain_kind() {
        "f8" => Ok(as_texts(&npz.doubles(name)?)),
        "f4" => Ok(as_texts(&npz.floats(name)?)),
        kind if kind.starts_with('U') => Ok(npz.texts(name)?.values),
        _ => Ok(as_texts(&npz.integers(name)?)),
    }
}

fn as_texts<T: ToString>(array: &Array<T>) -> Vec<String> {
    array.values.iter().map(ToString::to_string).collect()
}

/// Returns the column names of the array `votes` from `vote_names` or `votes_names`, or numbered ones.
fn names_of_columns(npz: &mut Npz, array: &str, width: usize) -> anyhow::Result<Vec<String>> {
    let singular = array.strip_suffix('s').unwrap_or(array);
    for named in [format!("{array}_names"), format!("{singular}_names")] {
        if npz.names().contains(&named) && npz.summary(&named)?.shape == [width] {
            let names = match npz.texts(&named) {
                Ok(names) => names.values.into_iter(),
                // An array of another kind names nothing.
                Err(ArrayError::Type { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            return Ok(names
                .map(|name| name.trim_end_matches('\0').to_owned())
                .collect());
        }
    }
    Ok((0..width)
        .map(|column| format!("{array}_{column}"))
        .collect())
}

fn table(names: &[String], columns: &[Column]) -> anyhow::Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(
        [IMAGE]
            .into_iter()
            .chain(columns.iter().map(|c| c.0.as_str())),
    )?;
    for (row, name) in names.iter().enumerate() {
        let image = format!("{IMAGES}/{name}.png");
        let values = columns.iter().map(|(_, values)| values[row].as_str());
        table.write_record([image.as_str()].into_iter().chain(values))?;
    }
    Ok(table.into_inner()?)
}
