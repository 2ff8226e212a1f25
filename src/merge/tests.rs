use fermata_engine::report::{
    ClockReport, LifeReport, NodeReport, SinkReport, SiteEdgeReport, SiteReport, StreamReport,
};

use super::*;

fn part(machine: &str, ahead_ms: f64, edge: (&str, bool), stream: StreamReport) -> Report {
    let (node, receives) = edge;
    let edge = SiteEdgeReport {
        edge: "capture-server".to_owned(),
        node: node.to_owned(),
        receives,
        earlier: BTreeMap::new(),
        unsent: BTreeMap::new(),
        malformed: BTreeMap::new(),
    };
    Report {
        machine: Some(machine.to_owned()),
        site: Some(SiteReport {
            site: "shop".to_owned(),
            run: "r".to_owned(),
            incarnation: 1,
            clock: Some(ClockReport {
                ahead_ms,
                error_ms: 0.5,
            }),
            latency_error_ms: None,
            killed: Vec::new(),
        }),
        site_edges: vec![edge],
        nodes: [(format!("{node}@door"), NodeReport::default())].into(),
        streams: [("door".to_owned(), stream)].into(),
        ..Report::default()
    }
}

fn stream(captured: u64, missed: u64, sink: &str, delivered: u64, lost: u64) -> StreamReport {
    let sink_report = SinkReport {
        delivered,
        losses: [("full at x".to_owned(), lost)].into(),
        ..SinkReport::default()
    };
    StreamReport {
        captured,
        missed,
        sinks: [(sink.to_owned(), sink_report)].into(),
        ..StreamReport::default()
    }
}

fn gate() -> Report {
    let door = stream(100, 7, "capture-server@door", 90, 10);
    part("gate", 2.0, ("capture-server", false), door)
}

fn server(captured: u64) -> Report {
    let door = stream(captured, 5, "log", captured - 3, 3);
    part("server", -1.0, ("capture", true), door)
}

#[test]
fn what_was_captured_is_delivered_or_lost_somewhere() {
    let found = book(&[server(85), gate()]).unwrap();
    assert!(found.imbalances.is_empty(), "{:?}", found.imbalances);
    let log = &found.sinks["door"]["log on server"];
    assert_eq!((log.captured, log.delivered, log.overwritten), (100, 82, 7));
    let losses: Vec<(&str, u64)> = log
        .losses
        .iter()
        .map(|(cause, count)| (&**cause, *count))
        .collect();
    assert_eq!(
        losses,
        [
            ("full at x on gate", 10),
            ("full at x on server", 3),
            ("lost between gate and server", 5)
        ]
    );
    assert_eq!(found.clock_error_ms, Some(4.0));
    // The edge is not a sink of the site.
    assert_eq!(found.sinks["door"].len(), 1);
}

#[test]
fn what_a_sending_end_dropped_has_its_cause_and_machine() {
    let mut gate = gate();
    let unsent = UnsentReport {
        dropped: 2,
        aged: 1,
        // More than are missing: some of them arrived.
        unconfirmed: 4,
    };
    gate.site_edges[0].unsent = [("door".to_owned(), unsent)].into();
    let found = book(&[server(85), gate]).unwrap();
    assert!(found.imbalances.is_empty(), "{:?}", found.imbalances);
    let losses = &found.sinks["door"]["log on server"].losses;
    let of_edge = |cause: &str| losses.get(cause).copied();
    assert_eq!(of_edge("full at edge capture-server on gate"), Some(2));
    assert_eq!(of_edge("too old at edge capture-server on gate"), Some(1));
    assert_eq!(of_edge("sent without an answer by gate"), Some(2));
    assert_eq!(of_edge("lost between gate and server"), None);
}

#[test]
fn what_went_into_an_edge_and_did_not_come_out_is_told() {
    let found = book(&[server(80), gate()]).unwrap();
    assert_eq!(
        found.imbalances,
        [
            "edge capture-server, stream door: 90 went in on gate, and 80 came out on server and 5 were missed there"
        ]
    );
    let alone = book(&[server(85)]).unwrap();
    assert!(alone.imbalances[0].contains("there is no report of the machine where it begins"));
}

#[test]
fn lives_that_were_killed_have_their_lines() {
    let mut server = server(40);
    // 45 of them had arrived before the part was killed, and 3 came from a life of the gate that was killed too.
    server.site_edges[0].earlier = [(
        "door".to_owned(),
        EarlierReport {
            settled: 48,
            missed: 0,
        },
    )]
    .into();
    let mut gate = gate();
    let life = LifeReport {
        incarnation: 1,
        captured: [("door".to_owned(), 9)].into(),
    };
    gate.site.as_mut().unwrap().killed.push(life);
    let found = book(&[server, gate]).unwrap();
    assert!(found.imbalances.is_empty(), "{:?}", found.imbalances);
    let log = &found.sinks["door"]["log on server"];
    assert_eq!(
        (log.captured, log.delivered, log.settled_before),
        (109, 37, 48)
    );
    assert_eq!(log.losses["crashed on gate"], 6);
    let lost: u64 = log.losses.values().sum();
    assert_eq!(log.captured, log.delivered + log.settled_before + lost);
}

#[test]
fn a_stream_that_only_a_killed_life_had_is_in_the_book() {
    let mut server = server(85);
    server
        .streams
        .insert("yard".to_owned(), stream(8, 0, "log", 8, 0));
    server
        .nodes
        .insert("capture@yard".to_owned(), NodeReport::default());
    let mut gate = gate();
    let life = LifeReport {
        incarnation: 1,
        captured: [("yard".to_owned(), 9)].into(),
    };
    gate.site.as_mut().unwrap().killed.push(life);
    let found = book(&[server, gate]).unwrap();
    assert!(found.imbalances.is_empty(), "{:?}", found.imbalances);
    let log = &found.sinks["yard"]["log on server"];
    assert_eq!((log.captured, log.delivered), (9, 8));
    assert_eq!(log.losses["crashed on gate"], 1);
}

#[test]
fn reports_of_different_runs_and_of_one_part_twice_are_refused() {
    let mut other = gate();
    other.site.as_mut().unwrap().run = "s".to_owned();
    let said = book(&[server(85), other]).unwrap_err().to_string();
    assert!(said.contains("different runs (shop r, shop s)"), "{said}");
    let said = book(&[gate(), gate()]).unwrap_err().to_string();
    assert!(said.contains("same part, machine gate"), "{said}");
}

/// The usual death is a host that never returns.
#[test]
fn a_part_that_was_killed_and_did_not_come_back_is_in_the_book() {
    let folder = tempfile::tempdir().unwrap();
    let lives = |edges: &str, has_sinks: bool| {
        let text = format!(
            r#"{{"run": "r", "part": {{"machine": "gate", "site": "shop", "edges": [{edges}], "has_sinks": {has_sinks}}},
                "lives": [{{"incarnation": 1, "captured": {{"door": 30}}}}, {{"incarnation": 2, "captured": {{"door": 21}}}}]}}"#
        );
        std::fs::write(folder.path().join("lives.json"), text).unwrap();
        read(folder.path()).unwrap()
    };
    let sends = r#"{"edge": "capture-server", "node": "capture-server", "receives": false}"#;
    let found = book(&[lives(sends, false), server(40)]).unwrap();
    assert_eq!(found.imbalances, Vec::<String>::new());
    let log = &found.sinks["door"]["log on server"];
    // 45 of the 51 reached the server, which missed five of them.
    assert_eq!((log.captured, log.delivered), (51, 37));
    assert_eq!(log.losses["crashed on gate"], 6);
    let receives = r#"{"edge": "hall-gate", "node": "hall", "receives": true}"#;
    let found = book(&[lives(receives, true), server(40)]).unwrap();
    let told = "machine gate: it was killed and left no report";
    assert!(
        found.imbalances.iter().any(|line| line.starts_with(told)),
        "{:?}",
        found.imbalances
    );
    // The part may simply not have ended yet.
    let _lock = FolderLock::take(folder.path()).unwrap();
    let refused = read(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("still running"), "{refused}");
}
