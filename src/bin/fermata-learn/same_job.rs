//! What a job's workers must have in common with its coordinator, so that their results have the same bytes as on one
//! machine. Owns the comparison.

use fermata_learn::softlabels::{Alignment, differences};
use fermata_learn::training::Environment;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::softlabels_plan::Plan;

/// The file in a run folder that marks its units as computed by workers, and holds what they need to know.
pub(crate) const SHARED: &str = "job.json";

/// The job description sent to workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    /// The program's version, commit and libtorch.
    pub(crate) program: String,
    /// The processor's features.
    pub(crate) processor: String,
    /// Whether workers may have other processor features.
    pub(crate) other_processors: bool,
    pub(crate) plan: Plan,
    /// The alignment of the softlabels.
    pub(crate) alignment: Alignment,
}

/// The properties of this machine.
pub(crate) struct Own {
    pub(crate) program: String,
    pub(crate) processor: String,
}

impl Own {
    pub(crate) fn of_this_machine() -> Self {
        let Environment {
            fermata,
            git_commit,
            libtorch,
            ..
        } = Environment::of(Device::Cpu);
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            program: format!("{fermata} (commit {git_commit}, libtorch {libtorch})"),
            processor: features(std::env::consts::ARCH, &cpuinfo),
        }
    }
}

/// Returns this machine's name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// Features by which libraries choose their code, and thereby the order of sums.
const FEATURES: [&str; 20] = [
    "amx_bf16",
    "amx_int8",
    "amx_tile",
    "asimd",
    "asimdhp",
    "avx",
    "avx2",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512f",
    "avx512vl",
    "avx_vnni",
    "bf16",
    "f16c",
    "fma",
    "sve",
];

fn features(architecture: &str, cpuinfo: &str) -> String {
    let lines = cpuinfo.lines();
    let mut of_processor = lines.filter_map(|line| {
        let (name, values) = line.split_once(':')?;
        matches!(name.trim(), "flags" | "Features").then_some(values)
    });
    let has: Vec<&str> = of_processor
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let known = FEATURES.iter().filter(|feature| has.contains(feature));
    known.fold(architecture.to_owned(), |text, feature| {
        text + " " + feature
    })
}

/// How a machine differs from the job: forbidden differences, and one that was allowed.
pub(crate) struct Differences {
    pub(crate) forbidden: Vec<String>,
    pub(crate) allowed: Option<String>,
}

impl Differences {
    /// Compares a machine with the job; `alignment` is that of the models and the manifest on this machine.
    pub(crate) fn between(job: &Shared, own: &Own, alignment: &Alignment) -> Self {
        let mut forbidden = Vec::new();
        if job.program != own.program {
            forbidden.push(format!(
                "program: version {} at the job, {} here",
                job.program, own.program
            ));
        }
        let (one, other) = (job.alignment.to_value(), alignment.to_value());
        forbidden.extend(differences(("the job", &one), ("this worker", &other)));
        let mut allowed = None;
        if job.processor != own.processor {
            let told = format!(
                "processor: {} at the job, {} here",
                job.processor, own.processor
            );
            if job.other_processors {
                allowed = Some(told)
            } else {
                forbidden.push(format!(
                    "{told}, which may change last digits (`--allow-other-processors` where the job is begun allows it)"
                ))
            }
        }
        Self { forbidden, allowed }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fermata_learn::augmentation::Augmentation;

    use super::*;

    fn job() -> Shared {
        Shared {
            program: "0.1.0".to_owned(),
            processor: "x86_64 avx2".to_owned(),
            other_processors: false,
            plan: Plan {
                manifest: "/m.csv".into(),
                split: None,
                unit: 8,
                teachers: BTreeMap::new(),
                weights: BTreeMap::new(),
                temperatures: BTreeMap::new(),
                views: 2,
                seed: 1,
                augmentation: Augmentation::default(),
                device: "cpu".to_owned(),
                batch: 64,
                threads: 1,
                allow_seen: false,
            },
            alignment: Alignment {
                classes: Vec::new(),
                manifest_sha256: "ab".to_owned(),
                split: None,
                views: 2,
                seed: 1,
                augmentation: Augmentation::default(),
                teachers: Vec::new(),
            },
        }
    }

    #[test]
    fn what_differs_is_named_and_only_a_processor_may() {
        let (mut job, own) = (
            job(),
            Own {
                program: "0.2.0".to_owned(),
                processor: "x86_64 avx2 avx512f".to_owned(),
            },
        );
        let mut alignment = job.alignment.clone();
        alignment.manifest_sha256 = "cd".to_owned();
        let found = Differences::between(&job, &own, &alignment);
        assert_eq!(
            found.forbidden[..2],
            [
                "program: version 0.1.0 at the job, 0.2.0 here",
                "manifest_sha256: \"ab\" in the job, \"cd\" in this worker",
            ]
        );
        assert!(
            found.forbidden[2].contains("--allow-other-processors"),
            "{:?}",
            found.forbidden
        );
        job.other_processors = true;
        let found = Differences::between(&job, &own, &alignment);
        assert_eq!(found.forbidden.len(), 2);
        assert_eq!(
            found.allowed.as_deref(),
            Some("processor: x86_64 avx2 at the job, x86_64 avx2 avx512f here")
        );
    }

    #[test]
    fn features_are_those_that_libraries_look_at() {
        let cpuinfo = "processor\t: 0\nflags\t\t: fpu sse2 avx2 fma avx512f ht\n\nprocessor\t: 1\nflags\t\t: fpu\n";
        assert_eq!(features("x86_64", cpuinfo), "x86_64 avx2 avx512f fma");
        assert_eq!(features("riscv64", ""), "riscv64");
    }

    #[test]
    fn what_is_said_to_workers_comes_back_as_it_went() {
        let text = serde_json::to_string(&job()).unwrap();
        let back: Shared = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}
