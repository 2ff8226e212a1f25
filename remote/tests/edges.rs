//! Edges between runs, over a real NATS server: what goes in comes out, whatever happens to the server and to the ends.

mod edges {
    pub(crate) mod number;
    pub(crate) mod part;
    pub(crate) mod relay;
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod server;
}

use edges::number::Number;
use edges::part::{ASAP, Part, parse, receiving, registry, sending};
use edges::relay::Relay;
use edges::server::{Server, wait_until};
use fermata_engine::testing::Collector;
use fermata_engine::{How, Report};
use fermata_remote::{Credentials, NatsConnection};

fn assert_all(collector: &Collector, count: u64) {
    for stream in ["door", "hall"] {
        let numbers = collector.payloads::<Number>(stream);
        let numbers: Vec<u64> = numbers.iter().map(|number| number.0).collect();
        assert!(
            numbers.iter().copied().eq(0..count),
            "{stream}: {numbers:?}"
        );
        assert!(collector.ends()[stream].is_complete(), "{stream}");
    }
    let sequences = collector.packets();
    let of_door = sequences.iter().map(|packet| &packet.envelope);
    let of_door = of_door.filter(|envelope| envelope.stream.name == "door");
    assert!(of_door.map(|envelope| envelope.sequence).eq(0..count));
}

#[test]
fn a_lossless_edge_gives_each_stream_as_it_was_sent() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    let sender = Part::start(&server, 200, &sending(edge, ASAP));
    let (report, _) = sender.wait();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!(
        report.streams["door"]
            .sinks
            .values()
            .map(|sink| sink.delivered)
            .sum::<u64>(),
        200
    );
    let (report, collector) = receiver.wait();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_all(&collector, 200);
    assert_eq!(report.streams["door"].missed, 0);
}

/// The sending run begins, and is held up, before anybody receives.
#[test]
fn the_order_in_which_the_ends_are_started_does_not_matter() {
    let server = Server::start();
    let edge = "edge: numbers, window: 4, capacity: 2";
    let sender = Part::start(&server, 50, &sending(edge, ASAP));
    wait_until("a full window", || {
        let report = sender.running().handle().stream_report("door");
        report.is_some_and(|door| door.captured >= 4)
    });
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    sender.wait();
    assert_all(&receiver.wait().1, 50);
}

/// The run that receives is drained in the middle, and another one takes its place.
#[test]
fn what_a_drained_receiver_had_not_settled_comes_to_the_next() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8, capacity: 8";
    let text = receiving(edge, "");
    let first = Part::start(&server, 0, &text);
    let sender = Part::start(&server, 2000, &sending(edge, ASAP));
    wait_until("some packets", || first.collector.packets().len() >= 50);
    first.running().handle().drain();
    let (_, before) = first.wait();
    let second = Part::start(&server, 0, &text);
    sender.wait();
    let (report, after) = second.wait();
    assert_goes_on(2000, &before, &after, &report);
}

/// Asserts that what was settled but not acknowledged comes once more to the second of two receiving ends, and that
/// nothing is left out.
#[track_caller]
fn assert_goes_on(count: u64, before: &Collector, after: &Collector, report: &Report) {
    for stream in ["door", "hall"] {
        let numbers = |part: &Collector| {
            let numbers = part.payloads::<Number>(stream);
            numbers.iter().map(|number| number.0).collect::<Vec<u64>>()
        };
        let (before, after) = (numbers(before), numbers(after));
        assert!(before.iter().copied().eq(0..before.len() as u64));
        let begin = count - after.len() as u64;
        assert!(begin <= before.len() as u64, "{begin} {}", before.len());
        assert!(after.iter().copied().eq(begin..count));
        assert_eq!(report.streams[stream].missed, 0);
    }
}

/// An edge has one receiving end: whoever comes last has it, and the other one no longer takes what is not its own.
#[test]
fn a_second_receiver_takes_the_place_of_the_first_which_says_so() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8, capacity: 8";
    let text = receiving(edge, "");
    let first = Part::start(&server, 0, &text);
    let gated = sending(edge, ASAP).replace("use: numbers", "use: gated, count: 400");
    let sender = Part::start(&server, 0, &gated);
    wait_until("some packets", || first.collector.packets().len() >= 20);
    let second = Part::start(&server, 0, &text);
    let (report, before) = first.wait();
    let fault = report.faults.first().expect("a fault");
    assert!(
        fault.message.contains("another node or program receives"),
        "{}",
        fault.message
    );
    wait_until("the rest", || {
        // The first one may have taken the last of a stream.
        let packets = [before.packets(), second.collector.packets()].concat();
        let last = |stream: &str| {
            let mut of_stream = packets.iter().map(|packet| &packet.envelope);
            of_stream.any(|envelope| envelope.stream.name == stream && envelope.sequence == 399)
        };
        last("door") && last("hall")
    });
    sender.running().handle().drain();
    sender.wait();
    let (report, after) = second.wait();
    assert_goes_on(400, &before, &after, &report);
}

/// When it reconnects, it does not overwrite what the next sender told last.
#[test]
fn a_sender_that_was_cut_off_does_not_tell_over_the_next() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ""));
    let relay = Relay::start(&server);
    let gated = sending(edge, "").replace("use: numbers", "use: gated, count: 20");
    let cut_off = Part::start_over(0, &gated, |codecs| {
        let url = relay.url();
        let credentials = Credentials::default();
        NatsConnection::connect(&url, &credentials, "test", codecs.clone()).expect("a connection")
    });
    wait_until("packets", || receiver.collector.packets().len() == 40);
    relay.cut();
    Part::start(&server, 20, &sending(edge, "")).wait();
    let (_, before) = receiver.wait();
    assert_eq!(before.packets().len(), 80);
    relay.mend();
    cut_off.running().handle().drain();
    cut_off.wait();
    // A receiver that begins now learns only from the server that the streams have ended.
    let (report, after) = Part::start(&server, 0, &receiving(edge, "")).wait();
    assert_eq!(after.packets().len(), 0);
    for stream in ["door", "hall"] {
        assert!(after.ends()[stream].is_complete(), "{stream}");
        assert_eq!(report.streams[stream].missed, 0);
    }
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_nothing_of_a_lossless_edge() {
    let mut server = Server::start();
    let edge = "edge: numbers, window: 8, capacity: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    let sender = Part::start(&server, 3000, &sending(edge, ASAP));
    for part in 1..=2 {
        wait_until("packets on their way", || {
            receiver.collector.packets().len() >= part * 200
        });
        server.kill();
        server.run();
    }
    let (report, _) = sender.wait();
    assert_eq!(
        report.streams["hall"]
            .sinks
            .values()
            .map(|sink| sink.delivered)
            .sum::<u64>(),
        3000
    );
    let (report, collector) = receiver.wait();
    assert_all(&collector, 3000);
    assert_eq!(report.streams["hall"].missed, 0);
}

#[test]
fn a_dropping_edge_with_a_slow_reader_counts_what_it_lost() {
    let server = Server::start();
    let edge = "edge: numbers, full: drop_oldest, capacity: 3, window: 2";
    let receiver = Part::start(
        &server,
        0,
        "\
streams: {door: x, hall: x}
nodes:
  receive: {use: receive_packets, each: stream, carries: number, edge: numbers, full: drop_oldest, capacity: 3, window: 2}
  slow: {use: identity, each: stream, in: receive, work: 5ms, queue: {capacity: 1}}
  end: {use: collect, in: slow}
",
    );
    let sender = Part::start(&server, 400, &sending(edge, ""));
    let (report, _) = sender.wait();
    assert_eq!(
        report.streams["door"]
            .sinks
            .values()
            .map(|sink| sink.delivered)
            .sum::<u64>(),
        400
    );
    let (report, collector) = receiver.wait();
    for stream in ["door", "hall"] {
        let of_stream = &report.streams[stream];
        assert_eq!(of_stream.captured + of_stream.missed, 400, "{stream}");
        assert!(
            of_stream.missed > 0,
            "{stream}: the reader was never too slow"
        );
        let numbers = collector.payloads::<Number>(stream);
        assert!(numbers.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let end = collector.ends()[stream];
        assert!(end.how == How::Complete && end.lost, "{end:?}");
    }
}

/// A mark for packets that are never sent lets joins and the strict turns of `asap` continue.
#[test]
fn marks_of_filtered_packets_and_drained_ends_arrive() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    let sender = Part::start(
        &server,
        0,
        "\
streams: {door: x, hall: x}
nodes:
  gated: {use: gated, each: stream, count: 60}
  sparse: {use: sparse, each: stream, in: gated}
  send: {use: send_packets, each: stream, in: sparse, edge: numbers, window: 8}
run: {clock: asap}
",
    );
    // The sink takes the streams in turn: without the marks of `hall` it would wait at the second packet of that.
    wait_until("all of the door", || {
        receiver.collector.packets().len() == 61
    });
    let handle = sender.running().handle();
    handle.drain();
    let (report, _) = sender.wait();
    assert_eq!(report.streams["hall"].captured, 60);
    let (_, collector) = receiver.wait();
    assert_eq!(collector.packets().len(), 61);
    assert_eq!(collector.ends()["hall"].how, How::Drained);
}

#[test]
fn a_packet_that_is_larger_than_the_server_takes_fails_alone_and_says_so() {
    let server = Server::start_with("max_payload: 1500");
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    let sender = Part::start(&server, 5, &sending(edge, ASAP));
    let (report, _) = sender.wait();
    assert_eq!(report.streams["door"].captured, 5);
    let failed: u64 = report.nodes.values().map(|node| node.failed).sum();
    assert_eq!(failed, 10);
    let (_, collector) = receiver.wait();
    assert_eq!(collector.packets().len(), 0);
    assert!(collector.ends()["door"].lost);
}

#[test]
fn edges_that_do_not_agree_are_refused() {
    let server = Server::start();
    let first = Part::start(&server, 0, &receiving("edge: numbers, window: 8", ASAP));
    let sender = Part::start(&server, 1, &sending("edge: numbers, window: 8", ASAP));
    sender.wait();
    first.wait();
    let other = Part::start(&server, 0, &receiving("edge: numbers, window: 9", ASAP));
    let (report, _) = other.wait();
    let fault = report.faults.first().expect("a fault");
    assert!(
        fault.message.contains("already exists"),
        "{}",
        fault.message
    );
}

#[test]
fn a_payload_without_a_codec_and_an_edge_that_carries_something_unknown_are_refused() {
    let (registry, _) = registry(0);
    let text = receiving("edge: numbers", ASAP).replace("carries: number", "carries: numbr");
    let refused = parse(&text, &registry).unwrap_err();
    assert!(
        refused.contains("no codec for payloads called `numbr`"),
        "{refused}"
    );
    assert!(refused.contains("number"), "{refused}");
}
