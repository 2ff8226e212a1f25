//! Bar chart of the labels of a manifest.

use fermata_vision::Expression;

use super::svg::{BLUE, Letters, RED, Svg, TITLE};
use crate::manifest::{Counts, Split};

/// Draws the rows of a manifest by source and label, each bar divided by split.
pub fn label_counts(title: &str, counts: &Counts) -> String {
    const LEFT: f64 = 100.0;
    const WIDTH: f64 = 460.0;
    const BAR: f64 = 16.0;
    const LINE: f64 = 22.0;
    const SPLITS: [(Split, &str); 3] = [
        (Split::Train, BLUE),
        (Split::Validation, "#e9a23b"),
        (Split::Test, RED),
    ];
    let block = 40.0 + LINE * Expression::ALL.len() as f64;
    let mut svg = Svg::new(
        LEFT + WIDTH + 110.0,
        80.0 + block * counts.len().max(1) as f64,
    );
    svg.text((16.0, 28.0), TITLE, title);
    for (number, (split, colour)) in SPLITS.into_iter().enumerate() {
        let x = LEFT + 110.0 * number as f64;
        svg.rect([x, 42.0, 12.0, 12.0], &format!("fill=\"{colour}\""));
        svg.text((x + 18.0, 52.0), Letters::start(12.0), &split.to_string());
    }
    let labels = counts.values().flat_map(|labels| labels.values());
    let most = labels.map(|splits| splits.values().sum()).max();
    let scale = WIDTH / most.unwrap_or(1usize).max(1) as f64;
    for (number, (source, labels)) in counts.iter().enumerate() {
        let top = 80.0 + block * number as f64;
        let all: usize = labels.values().flat_map(|splits| splits.values()).sum();
        let heading = format!("{source}: {all} rows");
        svg.text((16.0, top + 12.0), Letters::start(14.0), &heading);
        for (place, label) in Expression::ALL.into_iter().enumerate() {
            let y = top + 22.0 + LINE * place as f64;
            svg.text((LEFT - 8.0, y + 12.0), Letters::end(12.0), label.name());
            let mut x = LEFT;
            let splits = labels.get(&label);
            for (split, colour) in SPLITS {
                let count = splits.and_then(|splits| splits.get(&split));
                let width = scale * count.copied().unwrap_or(0) as f64;
                if width > 0.0 {
                    svg.rect([x, y, width, BAR], &format!("fill=\"{colour}\""));
                }
                x += width;
            }
            let count: usize = splits.map_or(0, |splits| splits.values().sum());
            svg.text(
                (x + 6.0, y + 12.0),
                Letters::start(11.0),
                &count.to_string(),
            );
        }
    }
    svg.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_counts() {
        use std::collections::BTreeMap;
        let splits = |train, test| BTreeMap::from([(Split::Train, train), (Split::Test, test)]);
        let labels = BTreeMap::from([
            (Expression::Happy, splits(30, 10)),
            (Expression::Sad, splits(10, 0)),
        ]);
        let counts = Counts::from([("a & b".to_owned(), labels)]);
        let picture = label_counts("t", &counts);
        assert!(picture.contains("a &amp; b: 50 rows"));
        for width in ["345.0", "115.0"] {
            assert!(picture.contains(&format!("width=\"{width}\"")), "{picture}");
        }
        assert_eq!(picture.matches("height=\"16.0\"").count(), 3);
    }
}
