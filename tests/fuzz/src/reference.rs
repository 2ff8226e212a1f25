//! A deliberately plain implementation of `${…}`, with which the engine's repeated replacement is compared.

/// The values of a template's names.
#[derive(Default)]
pub(crate) struct Values {
    /// `${given}`: a parameter from the command line.
    pub(crate) given: String,
    /// `${declared}`: a parameter's value in the file. `${absent}` has none.
    pub(crate) declared: String,
    /// `${env.SECRET}`: the only environment variable.
    pub(crate) env: String,
    /// `${stream.uri}`; the stream's name is `door`.
    pub(crate) uri: String,
    /// `${run.dir}`; the graph's name is `graph`.
    pub(crate) run_dir: String,
}

/// Returns the template with every reference replaced, or `None` if one of them has no value.
pub(crate) fn replaced(template: &str, values: &Values) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    loop {
        if let Some(after) = rest.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let (reference, after) = after.split_once('}')?;
            out.push_str(&value(reference, values)?);
            rest = after;
        } else {
            let mut characters = rest.chars();
            let Some(next) = characters.next() else {
                return Some(out);
            };
            out.push(next);
            rest = characters.as_str();
        }
    }
}

fn value(reference: &str, values: &Values) -> Option<String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let value = match name {
        "given" => &values.given,
        "declared" => &values.declared,
        "env.SECRET" => &values.env,
        "stream.uri" => &values.uri,
        "stream.name" => "door",
        "run.dir" => &values.run_dir,
        "run.name" => "graph",
        // Known names without a value, for which a default may stand in; other names are errors.
        _ if name == "absent" || name.starts_with("env.") => default?,
        _ => return None,
    };
    Some(value.to_owned())
}
