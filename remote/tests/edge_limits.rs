//! What edges drop by size and age, and messages that no sending end sends: all of it is counted.

mod edges {
    pub(crate) mod number;
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod part;
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod server;
}

use std::time::Duration;

use async_nats::jetstream;
use edges::number::Number;
use edges::part::{ASAP, Part, receiving, sending};
use edges::server::{PATIENCE, Server, wait_until};
use fermata_engine::report::UnsentReport;
use fermata_engine::{Codecs, End, How, Report};
use fermata_remote::edge::wire::{PacketMessage, ProgressMessage};
use fermata_remote::{Credentials, take_over};
use prost::Message;

/// Publishes as somebody else at the server, who may write on any subject.
fn publish(server: &Server, messages: &[(&str, Vec<u8>)]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = async_nats::connect(server.url()).await.expect("a client");
        let jetstream = jetstream::new(client);
        for (subject, bytes) in messages {
            let subject = format!("fermata.test.numbers.{subject}");
            let begun = std::time::Instant::now();
            loop {
                let sent = jetstream
                    .publish(subject.clone(), bytes.clone().into())
                    .await;
                if sent.expect("a publication").await.is_ok() {
                    break;
                }
                // The receiving end has not made the store yet.
                assert!(begun.elapsed() < PATIENCE, "nobody stores {subject}");
            }
        }
    });
}

/// Waits until somebody receives a stream of the edge `numbers`.
fn wait_for_a_receiver(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = async_nats::connect(server.url()).await.expect("a client");
        let jetstream = jetstream::new(client);
        let begun = std::time::Instant::now();
        loop {
            let store = jetstream.get_stream("fermata+test+numbers+progress").await;
            if store.is_ok_and(|store| store.cached_info().state.messages > 0) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "nobody receives");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

/// Acknowledging a packet requires recording how far the receiving end has come, which needs room too.
#[test]
fn an_edge_goes_on_where_the_servers_storage_is_full() {
    let server = Server::start_limited("", ", max_file_store: 8000");
    let edge = "edge: numbers, capacity: 64, window: 64";
    let of_one = |text: String| text.replace("door: x, hall: x", "door: x");
    let receiver = Part::start(&server, 0, &of_one(receiving(edge, ASAP)));
    wait_for_a_receiver(&server);
    let sender = Part::start(&server, 300, &of_one(sending(edge, ASAP)));
    let (report, collector) = receiver.wait();
    sender.wait();
    assert_eq!(
        (delivered(&report, "door"), report.streams["door"].missed),
        (300, 0)
    );
    let numbers = collector.payloads::<Number>("door");
    assert!(numbers.iter().map(|number| number.0).eq(0..300));
    let log = server.log();
    assert!(log.contains("limits exceeded"), "it was never full: {log}");
}

fn delivered(report: &Report, stream: &str) -> u64 {
    report.streams[stream]
        .sinks
        .values()
        .map(|sink| sink.delivered)
        .sum()
}

/// Starts a run that has handed all its packets to an edge, and waits: nobody receives yet.
fn waiting(server: &Server, edge: &str, count: u64) -> Part {
    let text = sending(edge, "").replace("use: numbers", &format!("use: gated, count: {count}"));
    let sender = Part::start(server, 0, &text);
    wait_until("all packets at the edge", || {
        let handle = sender.running().handle();
        let is_there = |stream| {
            handle
                .stream_report(stream)
                .is_some_and(|stream| stream.delivered == count)
        };
        is_there("door") && is_there("hall")
    });
    sender
}

/// Receives what waits. Returns the books of both ends, and the numbers that came from the door.
fn received(server: &Server, sender: Part, edge: &str) -> (UnsentReport, Report, Vec<u64>) {
    let receiver = Part::start(server, 0, &receiving(edge, ""));
    // Draining is given up after a time without one.
    wait_for_a_receiver(server);
    sender.running().handle().drain();
    let connection = sender.connection.clone();
    sender.wait();
    let unsent = connection
        .unsent("numbers")
        .remove("door")
        .unwrap_or_default();
    let (report, collector) = receiver.wait();
    let numbers = collector.payloads::<Number>("door");
    (
        unsent,
        report,
        numbers.iter().map(|number| number.0).collect(),
    )
}

#[test]
fn bytes_limit_what_waits_at_an_edge_that_drops_and_a_larger_packet_goes_alone() {
    let server = Server::start();
    let edge = "edge: numbers, full: drop_oldest, capacity: 100, window: 2";
    let sender = waiting(&server, &format!("{edge}, bytes: 1B"), 50);
    let (unsent, report, numbers) = received(&server, sender, edge);
    assert_eq!(numbers, [49]);
    assert_eq!(
        (
            report.streams["door"].captured,
            report.streams["door"].missed
        ),
        (1, 49)
    );
    let dropped = UnsentReport {
        dropped: 49,
        ..UnsentReport::default()
    };
    assert_eq!(unsent, dropped);
}

#[test]
fn bytes_hold_a_lossless_edge_up_and_lose_nothing() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    let sender = Part::start(&server, 60, &sending(&format!("{edge}, bytes: 1B"), ASAP));
    sender.wait();
    let (report, collector) = receiver.wait();
    assert_eq!(delivered(&report, "door"), 60);
    let numbers = collector.payloads::<Number>("hall");
    assert!(numbers.iter().map(|number| number.0).eq(0..60));
}

#[test]
fn what_is_too_old_before_it_is_sent_is_dropped_and_counted_by_that() {
    let server = Server::start();
    let edge = "edge: numbers, full: drop_oldest, capacity: 100, window: 2";
    let sender = waiting(&server, &format!("{edge}, max_age: 50ms"), 50);
    // They must be this old, and only time makes them so.
    std::thread::sleep(Duration::from_millis(60));
    let (unsent, report, numbers) = received(&server, sender, edge);
    assert!(numbers.is_empty(), "{numbers:?}");
    assert_eq!(report.streams["door"].missed, 50);
    let aged = UnsentReport {
        aged: 50,
        ..UnsentReport::default()
    };
    assert_eq!(unsent, aged);
}

#[test]
fn what_is_too_old_when_it_comes_out_is_missed() {
    let server = Server::start();
    let edge = "edge: numbers, full: drop_oldest, capacity: 100, window: 2";
    let sender = waiting(&server, edge, 50);
    std::thread::sleep(Duration::from_millis(60));
    let (unsent, report, numbers) = received(&server, sender, &format!("{edge}, max_age: 50ms"));
    assert!(numbers.is_empty(), "{numbers:?}");
    let door = &report.streams["door"];
    assert_eq!((door.captured, door.missed), (0, 50));
    assert_eq!(unsent, UnsentReport::default());
}

#[test]
fn messages_that_are_none_of_an_edge_are_counted_and_thrown_away() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    let first = Part::start(
        &server,
        0,
        &sending(edge, ASAP).replace("use: numbers", "use: gated, count: 20"),
    );
    wait_until("packets", || receiver.collector.packets().len() == 40);
    // Cut in the middle, of another kind, and longer than any packet of this edge.
    let packet = PacketMessage {
        form: "x".repeat(65),
        ..PacketMessage::default()
    };
    let malformed = [vec![0xff; 3], packet.encode_to_vec(), vec![0x2a; 100_000]];
    let packets = malformed.map(|bytes| ("packets.door", bytes));
    publish(&server, &packets);
    let malformed = || receiver.connection.malformed("numbers");
    wait_until("three malformed messages", || {
        malformed().get("door") == Some(&3)
    });
    assert_eq!(malformed().get("hall"), None);
    first.running().handle().drain();
    first.wait();
    let (report, collector) = receiver.wait();
    assert_eq!(
        (delivered(&report, "door"), report.streams["door"].missed),
        (20, 0)
    );
    assert_eq!(collector.ends()["door"].how, How::Drained);
}

/// Returns how many messages a store has, and how many it has had.
fn stored(server: &Server, store: &str) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = async_nats::connect(server.url()).await.expect("a client");
        let store = jetstream::new(client).get_stream(store).await;
        let state = store.expect("a store").cached_info().state.clone();
        (state.messages, state.last_sequence)
    })
}

/// Somebody overwrites the receiving end's record of how far it has come: while it receives, and before the next one
/// begins. That does not cut files of an earlier life.
#[test]
fn a_note_that_cannot_be_read_is_written_anew() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let receiver = Part::start(&server, 0, &receiving(edge, ASAP));
    wait_for_a_receiver(&server);
    publish(&server, &[("settled.door", vec![0xff])]);
    Part::start(&server, 20, &sending(edge, ASAP)).wait();
    let (report, _) = receiver.wait();
    let missed = report.streams["door"].missed;
    assert_eq!((delivered(&report, "door"), missed), (20, 0));
    wait_until("all packets are acknowledged", || {
        stored(&server, "fermata+test+numbers+packets").0 == 0
    });
    publish(&server, &[("settled.door", vec![0xff])]);
    let again = server.connect_as(&Credentials::default(), &Codecs::default());
    let refused = take_over(&again.expect("a connection"), "numbers", "door");
    let refused = refused.expect_err("nobody knows how far it was");
    let told = "of `fermata.test.numbers.settled.door` is not a record of a receiving end";
    assert!(refused.contains(told), "{refused}");
    // A receiver that begins all the same knows of no earlier packets.
    let (report, _) = Part::start(&server, 0, &receiving(edge, ASAP)).wait();
    let missed = ["door", "hall"].map(|stream| report.streams[stream].missed);
    assert_eq!(missed, [20, 0]);
    let (_, written) = stored(&server, "fermata+test+numbers+progress");
    assert!(written < 300, "{written} messages");
}

#[test]
fn packets_that_come_before_they_were_captured_are_counted_in_the_report() {
    let server = Server::start();
    let edge = "edge: numbers, window: 8";
    let text = receiving(edge, "").replace(", hall: x", "");
    let receiver = Part::start(&server, 0, &text);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ns = now.expect("a time").as_nanos() as i64;
    let told = ProgressMessage {
        incarnation: 1,
        ..ProgressMessage::default()
    };
    let packet = |number: u64, ahead_s: i64| PacketMessage {
        incarnation: 1,
        number,
        sequence: number,
        captured_unix_ns: now_ns + ahead_s * 1_000_000_000,
        form: "number".to_owned(),
        version: 1,
        payload: number.to_le_bytes().to_vec().into(),
        ..PacketMessage::default()
    };
    let packets = [(0, -1), (1, 3600), (2, 3600)].map(|(number, ahead_s)| packet(number, ahead_s));
    let end = ProgressMessage { sent: 3, ..told }.with_end(Some(End::of(How::Complete)));
    let mut messages = vec![("progress.door", told.encode_to_vec())];
    messages.extend(packets.map(|packet| ("packets.door", packet.encode_to_vec())));
    messages.push(("progress.door", end.encode_to_vec()));
    publish(&server, &messages);
    let (report, collector) = receiver.wait();
    assert_eq!(collector.packets().len(), 3);
    let counted = &report.nodes["receive@door"].counted;
    assert_eq!(counted["packets that came before they were captured"], 2);
}
