//! Settings in YAML as other programs and people write them.

use fermata_learn::manifest::Mapping;

#[test]
fn settings_in_yaml_are_read_or_refused_at_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mapping.yaml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Mapping::read(&path).map_err(|error| error.to_string())
    };
    let label = "label:\n  column: {name: label, values: {happy: happy, sad: sad}}\n";
    let values = "{happy: happy, sad: sad}";
    let rest = "source: web\npolicy: words\nimage: '{image}'\n";
    let plain = read(&format!("{rest}{label}")).unwrap();
    for (how, text) in [
        ("a mark of its encoding", format!("\u{feff}{rest}{label}")),
        ("CR LF", format!("{rest}{label}").replace('\n', "\r\n")),
        (
            "a document between marks",
            format!("---\n{rest}{label}...\n"),
        ),
        (
            "an alias",
            format!("source: &web web\npolicy: words\nimage: '{{image}}'\n{label}")
                .replace("happy: happy", "happy: &h happy"),
        ),
        (
            "a merge key",
            format!(
                "{rest}label:\n  column: {{name: label, values: {{<<: {{happy: happy}}, sad: sad}}}}\n"
            ),
        ),
        (
            "JSON",
            format!(
                "{{\"source\": \"web\", \"policy\": \"words\", \"image\": \"{{image}}\", \"label\": {{\"column\": {{\"name\": \"label\", \"values\": {values}}}}}}}"
            ),
        ),
    ] {
        let read = read(&text).unwrap_or_else(|error| panic!("{how}: {error}"));
        assert_eq!(format!("{read:?}"), format!("{plain:?}"), "{how}");
    }
    let deep = format!("{rest}{label}split: {}", "[".repeat(20_000));
    for (text, words) in [
        (
            format!("{rest}source: web\n{label}"),
            "mapping.yaml:4:1: `source` is given twice",
        ),
        (
            format!("{rest}{label}---\n{rest}{label}"),
            "mapping.yaml:7:1: a second document begins here",
        ),
        (
            format!("{rest}label:\n\tcolumn: {{name: label, values: {values}}}\n"),
            "mapping.yaml:5:",
        ),
        (format!("{rest}{label}odd: 1\n"), "mapping.yaml:6:"),
        (
            format!("{rest}label:\n  column: {{name: label, values: *none}}\n"),
            "mapping.yaml:5:",
        ),
        (deep, "mapping.yaml:6:"),
    ] {
        let refused = read(&text).unwrap_err();
        assert!(
            refused.contains(words) && !refused.contains('\n'),
            "{words}: {refused:.400}"
        );
    }
}
