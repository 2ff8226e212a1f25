//! Parsing of valid and invalid documents.

use super::*;

fn parse(text: &str) -> Result<Tree, Problem> {
    Tree::parse(&Source::new("test.yaml", text))
}

fn written(span: &Span) -> &str {
    &span.source.text[span.start..span.end]
}

#[test]
fn every_value_knows_where_it_was_written() {
    let tree = parse("ä: {b: [1, 'two']}\nc: three # why\n").unwrap();
    let inner = tree.get("ä").unwrap().value.get("b").unwrap();
    assert_eq!(written(&inner.key_span), "b");
    let Value::List(items) = &inner.value.value else {
        panic!("a list");
    };
    assert_eq!(written(&items[1].span), "'two'");
    assert_eq!(written(&tree.get("c").unwrap().value.span), "three");
    assert_eq!(written(&inner.value.span), "[1, 'two']");
}

#[test]
fn a_duplicate_key_is_refused_with_both_places() {
    let problem = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
    assert_eq!(problem.to_string(), "test.yaml:3:1: `a` is given twice");
}

#[test]
fn a_document_is_read_however_it_was_saved() {
    let plain = "a: {b: [1, two]}\nc: x\n";
    for text in [
        plain.to_owned(),
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        plain.trim_end().to_owned(),
        format!("%YAML 1.1\n---\n{plain}...\n"),
        plain.replace(": [", ":\t[").replace(", ", ",\t"),
        plain.replace("c: x", "c: &c x").replace("two", "\"two\""),
        "a: &a {b: [1, two]}\nc: &c x\n".to_owned(),
    ] {
        let tree = parse(&text).unwrap_or_else(|problem| panic!("{text:?}: {problem}"));
        let b = &tree.section("a")[0].value;
        let Value::List(items) = &b.value else {
            panic!("{text:?}");
        };
        let items: Vec<_> = items.iter().map(Tree::as_text).collect();
        assert_eq!(items, [Some("1"), Some("two")], "{text:?}");
        let c = tree.get("c").map(|entry| &entry.value);
        assert_eq!(c.and_then(Tree::as_text), Some("x"), "{text:?}");
    }
}

#[test]
fn what_is_no_document_is_refused_at_its_line() {
    let many = |part: &str, count: usize| part.repeat(count);
    for (text, place, words) in [
        ("a: 1\n---\nb: 2\n".to_owned(), "2:1", "a second document"),
        ("a: 1\nb:\n\tc: 1\n".to_owned(), "3:2", "tabs disallowed"),
        ("a: 1\nb: *none\n".to_owned(), "2:4", "unknown anchor"),
        (
            "a: 1\nb: &b {c: *b}\n".to_owned(),
            "2:11",
            "not complete yet",
        ),
        ("a: !!map {}\n".to_owned(), "1:", "tags (`!…`)"),
        ("a: !x [1]\n".to_owned(), "1:", "tags (`!…`)"),
        ("a: !!str 1\n".to_owned(), "1:", "tags (`!…`)"),
        (
            "a: 1\n? [b]\n: 2\n".to_owned(),
            "2:3",
            "a key must be plain text",
        ),
        ("a: \"b\n".to_owned(), "1:4", "not YAML"),
        (format!("a:\nb: {}\n", many("[", 100_000)), "2:", ""),
        (format!("a:\nb: {}\n", many("{a: ", 100_000)), "2:", ""),
        (
            format!("a:\n  {}\n", many("- ", 100_000)),
            "2:",
            "nested deeper",
        ),
    ] {
        let problem = parse(&text).unwrap_err().to_string();
        let is_at = problem.starts_with(&format!("test.yaml:{place}"));
        assert!(
            is_at && problem.contains(words),
            "{text:.40}: {problem:.200}"
        );
    }
}

#[test]
fn merge_keys_add_what_a_map_does_not_say_itself() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd:\n  <<: {x: 4}\n  z: 4\n";
    let tree = parse(text).unwrap();
    let said = |map: &str| {
        let said = |entry: &Entry| format!("{}{} ", entry.key, entry.value.as_text().unwrap());
        tree.section(map).iter().map(said).collect::<String>()
    };
    assert_eq!(said("c") + &said("d"), "x3 y1 z2 z4 x4 ");
    let refused = |text: &str| parse(text).unwrap_err().to_string();
    assert!(refused("a: {<<: 5}").contains("merges maps, but this is a number"));
    assert!(refused("a: {<<: {x: 1}, <<: {y: 1}}").contains("twice"));
    assert!(parse("a: {'<<': 5}").is_ok(), "quoted it is a key");
}

#[test]
fn aliases_cannot_blow_a_document_up() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..8 {
        let before = format!("*a{}", level - 1);
        let list = vec![before; 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(parse(&text).unwrap_err().to_string().contains("more than"));
}

#[test]
fn aliases_cannot_nest_a_document_deeper_than_it_is_written() {
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    assert!(parse(&format!("a: &a {}\nb: *a\n", nested("x"))).is_ok());
    let text = format!("a: &a {}\nb: {}\n", nested("x"), nested("*a"));
    assert!(parse(&text).unwrap_err().to_string().contains("deeper"));
}
