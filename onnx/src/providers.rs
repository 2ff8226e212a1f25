//! Which ONNX Runtime execution provider runs which nodes of a model. Owns the query of a loaded session: the crate
//! `ort` does not expose it yet, so its C functions are called here and nowhere else.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::{fmt, ptr, slice};

use ort::session::Session;
use ort::{AsPointer, sys};

/// Option that makes a session record which provider was assigned which nodes
/// (onnxruntime_session_options_config_keys.h).
pub(crate) const REMEMBER: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// Number of nodes of a model that each provider runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers(BTreeMap<String, usize>);

impl Providers {
    /// Queries a session that records the assignment ([`REMEMBER`]). Nodes are counted as assigned, before those of
    /// providers other than the CPU are fused.
    pub(crate) fn of(session: &Session) -> Result<Self, ort::Error> {
        let mut nodes = BTreeMap::new();
        let api = ort::api();
        let check = |status| {
            // SAFETY: the status was returned by a function of `api`, and is passed on once.
            unsafe { ort::Error::result_from_status(status) }
        };
        let (mut parts, mut count): (*const *const sys::OrtEpAssignedSubgraph, usize) =
            (ptr::null(), 0);
        // SAFETY: the session is alive; the pointers receive the results, which belong to the session and live as long
        // as it does.
        check(unsafe {
            (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut parts, &mut count)
        })?;
        // SAFETY: `parts` points to `count` pointers.
        for &part in unsafe { listed(parts, count) } {
            let mut name: *const c_char = ptr::null();
            // SAFETY: the part belongs to the session.
            check(unsafe { (api.EpAssignedSubgraph_GetEpName)(part, &mut name) })?;
            let (mut of_part, mut of_part_count): (*const *const sys::OrtEpAssignedNode, usize) =
                (ptr::null(), 0);
            // SAFETY: as above.
            check(unsafe {
                (api.EpAssignedSubgraph_GetNodes)(part, &mut of_part, &mut of_part_count)
            })?;
            // SAFETY: a NUL-terminated string that belongs to the session.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            let name = name.trim_end_matches("ExecutionProvider");
            *nodes.entry(name.to_owned()).or_default() += of_part_count;
        }
        Ok(Self(nodes))
    }

    /// Returns the number of nodes that a provider runs, given ONNX Runtime's name of it without `ExecutionProvider`:
    /// `CPU`, `CUDA`, `OpenVINO`.
    pub fn nodes(&self, provider: &str) -> usize {
        self.0.get(provider).copied().unwrap_or(0)
    }
}

/// # Safety
/// `first` points to `count` values that are not modified during `'a`; or `count` is 0.
unsafe fn listed<'a, T>(first: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        // SAFETY: guaranteed by the caller.
        _ => unsafe { slice::from_raw_parts(first, count) },
    }
}

impl fmt::Display for Providers {
    /// Formats as `CPU 2 nodes, OpenVINO 98 nodes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (provider, count)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let plural = if *count == 1 { "" } else { "s" };
            write!(f, "{comma}{provider} {count} node{plural}")?;
        }
        Ok(())
    }
}
