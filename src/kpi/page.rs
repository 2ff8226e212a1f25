//! `kpi.html`: a self-contained file, except for the annotated videos that it can show.

use anyhow::Context;
use serde::Serialize;

use super::comparison::Comparison;
use super::measures::RunMeasures;
use super::timeline::Timelines;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The contents of `kpi.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kpi {
    pub(super) runs: Vec<RunMeasures>,
    /// Comparisons of the first run with each of the others.
    pub(super) differences: Vec<Comparison>,
}

#[derive(Serialize)]
struct Data<'a> {
    kpi: &'a Kpi,
    timelines: &'a [Timelines],
}

/// Renders the page.
pub(super) fn page(kpi: &Kpi, timelines: &[Timelines]) -> anyhow::Result<String> {
    let data = Data { kpi, timelines };
    let data = serde_json::to_string(&data).context("the numbers are not JSON")?;
    // No name may end the script that contains it.
    let data = data.replace('<', "\\u003c");
    let (head, rest) = split(PAGE, "/*style*/");
    let (middle, rest) = split(rest, "/*data*/");
    let (before_script, end) = split(rest, "/*script*/");
    Ok([head, STYLE, middle, &data, before_script, SCRIPT, end].concat())
}

fn split<'a>(text: &'a str, at: &str) -> (&'a str, &'a str) {
    text.split_once(at).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_data() {
        let run = RunMeasures {
            name: "</script><b>".to_owned(),
            clock: None,
            clocks: None,
            streams: Default::default(),
            all: Default::default(),
            stages: None,
        };
        let kpi = Kpi {
            runs: vec![run],
            differences: Vec::new(),
        };
        let page = page(&kpi, &[]).unwrap();
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("/*data*/") && !page.contains("<b>"));
    }
}
