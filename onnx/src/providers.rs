//! Which part of ONNX Runtime ("execution provider") runs which nodes of a model. Owns asking a loaded session: the
//! crate `ort` has no call for it yet, so its C functions are called here and nowhere else.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::{fmt, ptr, slice};

use ort::session::Session;
use ort::{AsPointer, sys};

/// Makes a session remember which provider got which nodes (onnxruntime_session_options_config_keys.h).
pub(crate) const REMEMBER: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// How many nodes of a model each provider runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers(BTreeMap<String, usize>);

impl Providers {
    /// Of a session that remembers it ([`REMEMBER`]). Nodes are counted as they are given out, before those of other
    /// providers than the processor's are made into one.
    pub(crate) fn of(session: &Session) -> Result<Self, ort::Error> {
        let mut nodes = BTreeMap::new();
        let api = ort::api();
        let check = |status| {
            // SAFETY: the status is what a function of `api` returned, and is handed over once.
            unsafe { ort::Error::result_from_status(status) }
        };
        let (mut parts, mut count): (*const *const sys::OrtEpAssignedSubgraph, usize) =
            (ptr::null(), 0);
        // SAFETY: the session is alive; the pointers are places for what it returns, which belongs to it and lives as
        // long as it does.
        check(unsafe {
            (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut parts, &mut count)
        })?;
        // SAFETY: `count` pointers stand at `parts`.
        for &part in unsafe { listed(parts, count) } {
            let mut name: *const c_char = ptr::null();
            // SAFETY: the part is the session's own.
            check(unsafe { (api.EpAssignedSubgraph_GetEpName)(part, &mut name) })?;
            let (mut of_part, mut of_part_count): (*const *const sys::OrtEpAssignedNode, usize) =
                (ptr::null(), 0);
            // SAFETY: as above.
            check(unsafe {
                (api.EpAssignedSubgraph_GetNodes)(part, &mut of_part, &mut of_part_count)
            })?;
            // SAFETY: a text that ends in NUL, which belongs to the session.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            let name = name.trim_end_matches("ExecutionProvider");
            *nodes.entry(name.to_owned()).or_default() += of_part_count;
        }
        Ok(Self(nodes))
    }

    /// Nodes that the provider of this name runs, as ONNX Runtime names it without `ExecutionProvider`: `CPU`, `CUDA`,
    /// `OpenVINO`.
    pub fn nodes(&self, provider: &str) -> usize {
        self.0.get(provider).copied().unwrap_or(0)
    }
}

/// # Safety
/// `count` values stand at `first`, and nobody changes them; or `count` is 0.
unsafe fn listed<'a, T>(first: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        // SAFETY: as promised.
        _ => unsafe { slice::from_raw_parts(first, count) },
    }
}

impl fmt::Display for Providers {
    /// `CPU 2 nodes, OpenVINO 98 nodes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (provider, count)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let plural = if *count == 1 { "" } else { "s" };
            write!(f, "{comma}{provider} {count} node{plural}")?;
        }
        Ok(())
    }
}
