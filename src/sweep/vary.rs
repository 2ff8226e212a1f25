//! The values to try: `PATH=V1,V2` arguments and the grid that they span.

use anyhow::bail;

/// A varied value of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Varied {
    /// Its path, as for `--set`.
    pub(super) path: String,
    pub(super) values: Vec<String>,
}

/// Parses the arguments.
///
/// # Errors
/// Fails if an argument has no values, an empty value or one twice, or if two have the same path.
pub(super) fn varied(arguments: &[String]) -> anyhow::Result<Vec<Varied>> {
    let mut all = Vec::<Varied>::new();
    for argument in arguments {
        let Some((path, values)) = argument
            .split_once('=')
            .filter(|(path, _)| !path.is_empty())
        else {
            bail!("`--vary {argument}` must be PATH=V1,V2,…, such as nodes.smooth.vote=1,5,9");
        };
        let values = split(values);
        if let Some(place) = values.iter().position(String::is_empty) {
            bail!("`--vary {argument}`: value number {} is empty", place + 1);
        }
        let doubled = |(index, value)| values[..index].contains(value);
        if let Some((_, value)) = values.iter().enumerate().find(|pair| doubled(*pair)) {
            bail!("`--vary {argument}`: {value} is given twice");
        }
        if all.iter().any(|varied| varied.path == path) {
            bail!("`--vary {path}` is given twice; give all its values in one");
        }
        all.push(Varied {
            path: path.to_owned(),
            values,
        });
    }
    Ok(all)
}

/// Splits at commas outside brackets and quotes, since a value is YAML.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_u32, None);
    for c in text.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('{' | '[', None) => depth += 1,
            ('}' | ']', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// Returns every combination, the last path varying fastest; each as (path, value) pairs.
pub(super) fn grid(varied: &[Varied]) -> Vec<Vec<(String, String)>> {
    let mut grid = vec![Vec::new()];
    for one in varied {
        let longer = |combination: &Vec<(String, String)>| {
            let combination = combination.clone();
            one.values.iter().map(move |value| {
                let mut longer = combination.clone();
                longer.push((one.path.clone(), value.clone()));
                longer
            })
        };
        grid = grid.iter().flat_map(longer).collect();
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> anyhow::Result<Vec<Varied>> {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        varied(&arguments)
    }

    #[test]
    fn values_are_yaml() {
        let varied = read(&["nodes.a.b={x: 1, y: [2, 3]}, off,\"a,b\""]).unwrap();
        assert_eq!(varied[0].values, ["{x: 1, y: [2, 3]}", "off", "\"a,b\""]);
    }

    #[test]
    fn the_grid_has_every_combination_once() {
        let grid = grid(&read(&["a=1,2", "b=x,y,z"]).unwrap());
        let texts: Vec<String> = grid
            .iter()
            .map(|c| {
                c.iter()
                    .map(|(path, value)| format!("{path}{value}"))
                    .collect()
            })
            .collect();
        assert_eq!(texts, ["a1bx", "a1by", "a1bz", "a2bx", "a2by", "a2bz"]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (arguments, words) in [
            (&["nodes.a"][..], "must be PATH=V1,V2"),
            (&["=1"], "must be PATH=V1,V2"),
            (&["a="], "value number 1 is empty"),
            (&["a=1,,2"], "value number 2 is empty"),
            (&["a=1,2,1"], "1 is given twice"),
            (&["a=1", "a=2"], "`--vary a` is given twice"),
        ] {
            let error = read(arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
