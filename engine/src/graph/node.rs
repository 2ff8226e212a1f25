//! Reads a node's block: the engine's keys, and the rest for the actor.

use std::sync::Arc;
use std::time::Duration;

use crate::registry::{ActorType, Registry};

use super::names::valid_name_at;
use super::place::Span;
use super::problem::{Problem, Problems};
use super::settings::{SettingsError, read};
use super::spec::{
    BatchFile, BatchSpec, DEFAULT_CAPACITY, Each, MOST_BATCH, MOST_CAPACITY, MOST_REPLICAS,
    OnError, QueueFile, QueueSpec, Require,
};
use super::tree::{Entry, Tree, Value};

/// The keys of a node that belong to the engine.
pub(crate) const ENGINE_KEYS: [&str; 10] = [
    "use", "each", "in", "queue", "lane", "replicas", "batch", "on_error", "require", "on",
];

/// A node whose own block has been read, not yet connected to others.
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) actor: ActorType,
    pub(crate) each_stream: bool,
    pub(crate) inputs: Vec<DraftInput>,
    pub(crate) queue: QueueSpec,
    pub(crate) queue_span: Option<Span>,
    /// Whether the file gives `queue.capacity`.
    pub(crate) sized: bool,
    pub(crate) lane: Option<(String, Span)>,
    pub(crate) replicas: usize,
    pub(crate) replicas_span: Option<Span>,
    pub(crate) batch: Option<BatchSpec>,
    pub(crate) batch_span: Option<Span>,
    pub(crate) on_error: OnError,
    pub(crate) require: Require,
    pub(crate) require_span: Option<Span>,
    /// Machine, as written.
    pub(crate) on: Option<Tree>,
    pub(crate) settings: Arc<Tree>,
}

/// What a file gives for one input.
pub(crate) struct DraftInput {
    /// Name of the input; none for the first input.
    pub(crate) port: Option<(String, Span)>,
    pub(crate) from: Vec<(String, Span)>,
}

/// Reads a node. Only the first problem of a block is reported.
pub(crate) fn read_node(entry: &Entry, registry: &Registry) -> Result<Draft, Problem> {
    let block = &entry.value;
    if block.as_map().is_none() {
        let message = format!(
            "node `{}` must be a map, but this is {}",
            entry.key,
            block.kind()
        );
        return Err(Problem::at(&block.span, message));
    }
    let actor = actor(entry, registry)?;
    let queue: Option<QueueFile> = part(block, "queue")?;
    let queue_span = span_of(block, "queue");
    let batch: Option<BatchFile> = part(block, "batch")?;
    let replicas: Option<usize> = part(block, "replicas")?;
    let draft = Draft {
        name: entry.key.clone(),
        name_span: entry.key_span.clone(),
        each_stream: part::<Each>(block, "each")?.is_some(),
        inputs: inputs(block)?,
        sized: queue.as_ref().is_some_and(|queue| queue.capacity.is_some()),
        queue: queue_spec(queue.unwrap_or_default(), block)?,
        queue_span,
        lane: lane(block)?,
        replicas: replicas.unwrap_or(1),
        replicas_span: span_of(block, "replicas"),
        batch: batch_spec(batch, block)?,
        batch_span: span_of(block, "batch"),
        on_error: part(block, "on_error")?.unwrap_or_default(),
        require: require(block)?,
        require_span: span_of(block, "require"),
        on: on(block)?,
        settings: Arc::new(settings(entry)),
        actor,
    };
    within(block, "replicas", draft.replicas, MOST_REPLICAS)?;
    if draft.actor.source {
        refuse_keys_of_inputs(block, &draft)?;
    }
    Ok(draft)
}

fn actor(entry: &Entry, registry: &Registry) -> Result<ActorType, Problem> {
    let Some(name) = entry.value.get("use") else {
        let message = format!("node `{}` has no actor", entry.key);
        return Err(Problem::at(&entry.key_span, message).help("add `use: ACTOR`"));
    };
    let text = name.value.as_text().unwrap_or_default();
    registry.get(text).cloned().ok_or_else(|| {
        Problem::at(&name.value.span, format!("there is no actor `{text}`"))
            .did_you_mean(text, registry.iter().map(|actor| actor.name))
            .of_unknown_name()
    })
}

/// Reads the value of an engine key, if it is given.
pub(crate) fn part<T: serde::de::DeserializeOwned>(
    block: &Tree,
    key: &str,
) -> Result<Option<T>, Problem> {
    block
        .get(key)
        .filter(|entry| !entry.value.is_null())
        .map(|entry| read(&entry.value).map_err(SettingsError::into_problem))
        .transpose()
}

fn span_of(block: &Tree, key: &str) -> Option<Span> {
    block.get(key).map(|entry| entry.key_span.clone())
}

/// Refuses a number outside 1 to `most`.
pub(crate) fn within(block: &Tree, key: &str, given: usize, most: usize) -> Result<(), Problem> {
    if (1..=most).contains(&given) {
        return Ok(());
    }
    let span = block
        .get(key)
        .map_or(&block.span, |entry| &entry.value.span);
    Err(Problem::at(
        span,
        match given {
            0 => format!("`{key}` must be at least 1"),
            _ => format!("`{key}` must be at most {most}"),
        },
    ))
}

fn queue_spec(file: QueueFile, block: &Tree) -> Result<QueueSpec, Problem> {
    let spec = QueueSpec {
        capacity: file.capacity.unwrap_or(DEFAULT_CAPACITY),
        bytes: file.bytes.map(|bytes| bytes.0),
        full: file.full,
        max_age: file.max_age.map(|age| age.0),
        quality: file.quality,
    };
    let Some(queue) = block.get("queue") else {
        return Ok(spec);
    };
    within(&queue.value, "capacity", spec.capacity, MOST_CAPACITY)?;
    if spec.bytes == Some(0) {
        return Err(Problem::at(
            &queue.key_span,
            "with `bytes` of 0 no packet would have room; leave it out for no limit",
        ));
    }
    if spec.max_age == Some(Duration::ZERO) {
        return Err(Problem::at(
            &queue.key_span,
            "with a `max_age` of 0 every packet would be dropped",
        ));
    }
    if spec
        .quality
        .is_some_and(|quality| !(1..=100).contains(&quality))
    {
        return Err(Problem::at(
            &queue.key_span,
            "`quality` must be from 1 to 100",
        ));
    }
    Ok(spec)
}

fn on(block: &Tree) -> Result<Option<Tree>, Problem> {
    let Some(entry) = block.get("on").filter(|entry| !entry.value.is_null()) else {
        return Ok(None);
    };
    match entry.value.as_text() {
        Some(_) => Ok(Some(entry.value.clone())),
        None => {
            let kind = entry.value.kind();
            let message = format!("`on` must be the name of a machine, but this is {kind}");
            Err(Problem::at(&entry.value.span, message))
        }
    }
}

fn batch_spec(file: Option<BatchFile>, block: &Tree) -> Result<Option<BatchSpec>, Problem> {
    let Some(file) = file else {
        return Ok(None);
    };
    let batch = block.get("batch").map_or(block, |entry| &entry.value);
    within(batch, "max", file.max, MOST_BATCH)?;
    Ok(Some(BatchSpec {
        max: file.max,
        wait: file.wait.map_or(Duration::from_millis(5), |wait| wait.0),
        each_stream: file.each.is_some(),
    }))
}

fn lane(block: &Tree) -> Result<Option<(String, Span)>, Problem> {
    let Some(name) = part::<String>(block, "lane")? else {
        return Ok(None);
    };
    let span = block
        .get("lane")
        .map_or(&block.span, |entry| &entry.value.span);
    valid_name_at("a lane", &name, span)?;
    Ok(Some((name, span.clone())))
}

fn require(block: &Tree) -> Result<Require, Problem> {
    let Some(entry) = block.get("require") else {
        return Ok(Require::All);
    };
    match &entry.value.value {
        Value::List(items) if !items.is_empty() => {
            let names = items.iter().map(|item| {
                item.as_text()
                    .map(str::to_owned)
                    .ok_or_else(|| Problem::at(&item.span, "expected the name of an input"))
            });
            Ok(Require::Ports(names.collect::<Result<_, _>>()?))
        }
        Value::Scalar { text, .. } if text == "all" => Ok(Require::All),
        _ => Err(Problem::at(
            &entry.value.span,
            "`require` must be `all` or a list of inputs",
        )),
    }
}

fn inputs(block: &Tree) -> Result<Vec<DraftInput>, Problem> {
    let Some(entry) = block.get("in") else {
        return Ok(Vec::new());
    };
    if let Value::Map(ports) = &entry.value.value {
        return ports
            .iter()
            .map(|port| {
                Ok(DraftInput {
                    port: Some((port.key.clone(), port.key_span.clone())),
                    from: outputs(&port.value)?,
                })
            })
            .collect();
    }
    Ok(vec![DraftInput {
        port: None,
        from: outputs(&entry.value)?,
    }])
}

fn outputs(tree: &Tree) -> Result<Vec<(String, Span)>, Problem> {
    let items = match &tree.value {
        Value::List(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(tree),
    };
    items
        .iter()
        .map(|item| match item.as_text() {
            Some(text) if !text.is_empty() => Ok((text.to_owned(), item.span.clone())),
            _ => Err(Problem::at(
                &item.span,
                "an input takes NODE or NODE.OUTPUT, or a list of them",
            )),
        })
        .collect()
}

fn settings(entry: &Entry) -> Tree {
    let own = entry.value.as_map().unwrap_or_default().iter();
    let own = own.filter(|setting| !ENGINE_KEYS.contains(&setting.key.as_str()));
    Tree {
        value: Value::Map(own.cloned().collect()),
        // Missing settings are reported at the block's name.
        span: entry.key_span.clone(),
    }
}

fn refuse_keys_of_inputs(block: &Tree, draft: &Draft) -> Result<(), Problem> {
    for key in ["in", "queue", "batch", "require", "replicas"] {
        if let Some(entry) = block.get(key) {
            return Err(Problem::at(
                &entry.key_span,
                format!(
                    "`{}` is a source (`{}`): it has no input, so it cannot have `{key}`",
                    draft.name, draft.actor.name
                ),
            ));
        }
    }
    Ok(())
}

/// Reads all nodes; each contributes at most one problem.
pub(crate) fn read_nodes(
    nodes: &[Entry],
    registry: &Registry,
    problems: &mut Problems,
) -> Vec<Draft> {
    nodes
        .iter()
        .filter_map(|entry| problems.note(read_node(entry, registry)))
        .collect()
}
