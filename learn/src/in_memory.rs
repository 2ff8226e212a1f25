//! JSON and CSV text made in memory, where writing cannot fail.

use serde::Serialize;

/// Returns a value as JSON for people: indented, with a final newline. Numbers that are not finite become null.
pub fn json_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("names and numbers are JSON");
    text + "\n"
}

/// Returns a table as CSV: its header, then its rows.
///
/// # Panics
/// Panics if a row has not as many cells as the header.
pub fn csv_text<Cells>(
    header: impl IntoIterator<Item: AsRef<[u8]>>,
    rows: impl IntoIterator<Item = Cells>,
) -> String
where
    Cells: IntoIterator<Item: AsRef<[u8]>>,
{
    let mut table = csv::Writer::from_writer(Vec::new());
    let header = table.write_record(header);
    let rows = rows
        .into_iter()
        .try_for_each(|cells| table.write_record(cells));
    header
        .and(rows)
        .expect("memory takes rows that have a cell for each column");
    let table = table.into_inner().expect("writing to memory cannot fail");
    String::from_utf8(table).expect("cells are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_quotes_what_would_end_a_cell() {
        let rows = [["a,b", "1"], ["say \"no\"", "2"]];
        assert_eq!(
            csv_text(["name", "count"], rows),
            "name,count\n\"a,b\",1\n\"say \"\"no\"\"\",2\n"
        );
        assert_eq!(json_text(&f64::NAN), "null\n");
    }
}
