//! A value stays secret on whatever path it reaches the place where it is used.

use std::fs;

use super::{MARK, NODES, all_of, assert_hidden, run, run_and_look};

#[test]
fn secrecy_follows_a_value_that_is_a_part_of_a_parameter() {
    let graph = format!(
        "fermata: 1\nparams: {{account: \"user:${{env.MARKED}}\", token: \"-${{env.MARKED}}-\"}}\n\
         streams: {{c0: \"rtsp://${{account}}@127.0.0.1:9/x\", c1: \"http://127.0.0.1:9/x?t=${{token}}\"}}\n{NODES}"
    );
    run_and_look(&graph, &[], 2);
}

#[test]
fn secrecy_follows_a_value_into_an_included_file_and_into_what_overrides_it() {
    let folder = tempfile::tempdir().unwrap();
    let part =
        "fermata: 1\nparams: {camera: none}\nstreams: {c0: \"http://127.0.0.1:9/x?t=${camera}\"}\n";
    fs::write(folder.path().join("part.yaml"), part).unwrap();
    let file = folder.path().join("graph.yaml");
    fs::write(&file, format!("fermata: 1\ninclude: part.yaml\n{NODES}")).unwrap();
    let file = file.display().to_string();
    let typed = format!("camera={MARK}typed");
    let set = format!("params.camera={MARK}set");
    for given in [["--param", &typed], ["--set", &set]] {
        for (command, words) in [
            (&["graph", "--format", "yaml"][..], "t=***"),
            (&["graph", "--format", "svg"], "<svg"),
            (&["check"], "nothing wrong"),
            (&["check", "--set", "nodes.s.frob=1"], "frob"),
        ] {
            let arguments = [&command[..1], &[&file], &command[1..], &given].concat();
            let output = run(&arguments);
            let shown = all_of(&output);
            assert!(shown.contains(words), "{arguments:?}: {shown}");
            assert_hidden(&format!("{arguments:?}"), &shown);
        }
    }
}
