//! Checks the header of an array before it is parsed: the parsing crate multiplies dimensions, follows brackets and
//! allocates memory without limits.

use std::io::{self, Chain, Cursor, ErrorKind, Read};

/// Largest header in bytes. NumPy refuses headers beyond 10,000 characters unless told to trust the file.
const LONGEST: usize = 1 << 16;
/// Deepest nesting of brackets. A header has two levels, and two more for each nested record.
const DEEPEST: usize = 16;

/// Array file whose header has been checked, readable from its beginning.
pub(super) type Checked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Checks the header of an array: magic, version, length, and a Python dictionary with the key `shape` (NumPy's NEP 1).
///
/// # Errors
/// Reading fails, or length, brackets or dimensions are impossible for an array. Other problems are left to the parser.
pub(super) fn checked<R: Read>(mut file: R) -> io::Result<Checked<R>> {
    let mut head = Vec::new();
    let mut read = |head: &mut Vec<u8>, length: usize| {
        let most = length as u64;
        file.by_ref().take(most).read_to_end(head).map(drop)
    };
    read(&mut head, 10)?;
    let length = match head[..] {
        // Version 1 has two bytes for the length, later versions four.
        [.., 0 | 1, _, low, high] => u16::from_le_bytes([low, high]).into(),
        [.., low, high] => {
            let mut rest = Vec::new();
            read(&mut rest, 2)?;
            head.extend_from_slice(&rest);
            match rest[..] {
                [upper, highest] => u32::from_le_bytes([low, high, upper, highest]) as usize,
                _ => 0,
            }
        }
        _ => 0,
    };
    if length > LONGEST {
        return Err(wrong(format!(
            "its header claims {length} bytes; at most {LONGEST} are read"
        )));
    }
    let start = head.len();
    read(&mut head, length)?;
    look(&String::from_utf8_lossy(&head[start..]))?;
    Ok(Cursor::new(head).chain(file))
}

fn look(head: &str) -> io::Result<()> {
    let mut depth = 0_usize;
    for character in head.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            // A key could be spelled with an escape.
            '\\' => return Err(wrong("its header is not as NumPy writes it".to_owned())),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(wrong(format!(
                "the brackets in its header are nested more than {DEEPEST} deep"
            )));
        }
    }
    // If the key occurs twice, the last one would count, so all are checked.
    for rest in head.split("shape").skip(1) {
        let rest = rest.trim_start_matches(['\'', '"', ' ', ':']);
        let shape = rest.split_inclusive(')').next().unwrap_or_default();
        let is_possible = sides(shape)
            .ok_or_else(|| wrong("its header is not as NumPy writes it".to_owned()))?
            .into_iter()
            // The dimensions beside a 0 are multiplied too.
            .try_fold(1_u64, |product, side| product.checked_mul(side?.max(1)));
        if is_possible.is_none() {
            return Err(wrong(format!(
                "its header claims the dimensions {shape}, which cannot be in any file"
            )));
        }
    }
    Ok(())
}

/// Returns the numbers of a tuple, `None` for one that is too large. Returns `None` if it is not a tuple of numbers.
fn sides(shape: &str) -> Option<Vec<Option<u64>>> {
    let inside = shape.strip_prefix('(')?.strip_suffix(')')?;
    let sides = inside.split(',').map(str::trim);
    let sides = sides.filter(|side| !side.is_empty()).map(|side| {
        let digits = side.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| side.parse().ok())
    });
    sides.collect()
}

fn wrong(reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an array whose header is this text, in a version of the format.
    fn array(version: u8, text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((text.len() as u16).to_le_bytes()),
            _ => bytes.extend((text.len() as u32).to_le_bytes()),
        }
        bytes.extend(text.bytes());
        bytes.extend([7; 9]);
        bytes
    }

    #[test]
    fn what_has_been_looked_at_is_read_again() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }\n";
        for bytes in [
            array(1, text),
            array(2, text),
            array(3, text),
            Vec::new(),
            vec![0x93; 11],
        ] {
            let mut read = Vec::new();
            let mut file = checked(&bytes[..]).unwrap();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
    }

    #[test]
    fn heads_that_no_array_has_are_refused() {
        let with = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, {shape}, }}\n");
        let deep = format!("{}{}", "(".repeat(60_000), ")".repeat(5_000));
        for (text, words) in [
            (
                with("'shape': (4294967296, 4294967296)"),
                "cannot be in any file",
            ),
            (
                with("\"shape\" : (4294967296, 4294967296, 0)"),
                "cannot be in any file",
            ),
            (
                with("'shape': (1,), 'shape': (99999999999999999999,)"),
                "cannot be in any file",
            ),
            (
                with("'shape': (0xFFFFFFFFFF, 0xFFFFFFFFFF)"),
                "not as NumPy writes it",
            ),
            (
                with("'sh\\x61pe': (4294967296, 4294967296)"),
                "not as NumPy writes it",
            ),
            (with("'shape': (5"), "not as NumPy writes it"),
            (deep, "more than 16 deep"),
        ] {
            let refused = checked(&array(1, &text)[..]).map(drop).unwrap_err();
            assert!(refused.to_string().contains(words), "{text:.80}: {refused}");
        }
        let mut long = array(2, "");
        long[8..12].fill(0xFF);
        let refused = checked(&long[..]).map(drop).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("its header claims 4294967295 bytes"),
            "{refused}"
        );
    }
}
