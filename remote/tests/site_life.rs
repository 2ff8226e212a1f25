//! The life of a site at a real NATS server: who may join a run, what all parts hear, and how it is cleared.

#[path = "edges/server.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod server;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use fermata_engine::Codecs;
use fermata_remote::site::{self, PartSpec, PartState, SiteError, SitePart};
use fermata_remote::{Credentials, NatsConnection};
use server::{PATIENCE, Server, wait_until};

/// A part as a program has it.
struct Joined {
    part: Arc<SitePart>,
    connection: Arc<NatsConnection>,
}

fn spec(machine: &str) -> PartSpec {
    PartSpec {
        machine: machine.to_owned(),
        machines: vec!["gate".to_owned(), "server".to_owned()],
        graph: "shop".to_owned(),
        digest: "d1".to_owned(),
        version: "1.2.3".to_owned(),
        may_begin: machine == "server",
    }
}

fn connect(server: &Server) -> Arc<NatsConnection> {
    let connection = server.connect_as(&Credentials::default(), &Codecs::default());
    connection.expect("a connection")
}

fn join(server: &Server, spec: PartSpec) -> Result<Joined, SiteError> {
    let connection = connect(server);
    let part = SitePart::join(&connection, spec, |_| {})?;
    Ok(Joined { part, connection })
}

fn refused(server: &Server, spec: PartSpec) -> String {
    match join(server, spec) {
        Ok(_) => panic!("it may join"),
        Err(error) => error.to_string(),
    }
}

impl Joined {
    fn close(self) {
        self.connection.close(Duration::from_secs(5));
    }
}

#[test]
fn a_part_that_may_not_begin_waits_until_another_has() {
    let server = Server::start();
    std::thread::scope(|scope| {
        let gate = scope.spawn(|| join(&server, spec("gate")).expect("it may join"));
        let there = join(&server, spec("server")).expect("it may join");
        let gate = gate.join().expect("a part");
        assert_eq!(gate.part.run(), there.part.run());
        assert_eq!((gate.part.incarnation(), there.part.incarnation()), (1, 1));
        gate.close();
        there.close();
    });
}

/// Whoever looks for what an earlier run left may find the edges of one that has just begun.
#[test]
fn parts_that_begin_at_the_same_moment_are_parts_of_one_run() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let client = runtime
        .block_on(async_nats::connect(server.url()))
        .expect("a client");
    let entered = runtime.enter();
    let jetstream = async_nats::jetstream::new(client);
    drop(entered);
    for round in 0..20 {
        let machines: Vec<String> = (0..4).map(|number| format!("m{number}")).collect();
        let join_one = |machine: &str| {
            let spec = PartSpec {
                machines: machines.clone(),
                may_begin: true,
                ..spec(machine)
            };
            let joined = join(&server, spec).expect("it may join");
            // As its receiving ends do, at once.
            let name = format!("fermata+test+{machine}-{round}+packets");
            let edge = async_nats::jetstream::stream::Config {
                subjects: vec![name.clone()],
                name,
                ..Default::default()
            };
            runtime
                .block_on(jetstream.create_stream(edge))
                .expect("a store");
            joined
        };
        let joined = std::thread::scope(|scope| {
            let joining = machines
                .iter()
                .map(|machine| scope.spawn(|| join_one(machine)));
            let joining: Vec<_> = joining.collect();
            let joined = joining.into_iter().map(|part| part.join().expect("a part"));
            joined.collect::<Vec<Joined>>()
        });
        let run = joined[0].part.run().to_owned();
        assert!(joined.iter().all(|joined| joined.part.run() == run));
        for joined in joined {
            joined.part.ended();
            joined.close();
        }
        let gone = site::end(&connect(&server)).expect("an end");
        assert_eq!(gone.len(), 5, "{gone:?}");
    }
}

/// Each part hears of the others' clocks, and goes on comparing.
#[test]
fn parts_know_how_far_their_clocks_are_apart() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    for joined in [&there, &gate] {
        wait_until("a comparison", || {
            joined.part.clocks().latency_error_ms.is_some()
        });
        let clocks = joined.part.clocks();
        let own = clocks.own.expect("a comparison");
        // It is the same clock: all there is are the ways there and back.
        assert!(own.ahead_ms.abs() <= own.error_ms + 1.0, "{own:?}");
        assert!(
            clocks.latency_error_ms.expect("a comparison") >= own.error_ms,
            "{clocks:?}"
        );
    }
    gate.close();
    there.close();
}

#[test]
fn another_graph_another_version_and_a_second_part_are_refused_and_what_runs_goes_on() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let other = PartSpec {
        digest: "d2".to_owned(),
        ..spec("gate")
    };
    let said = refused(&server, other);
    assert!(
        said.contains("site `test` runs another graph, `shop`"),
        "{said}"
    );
    let remedy = format!("`fermata site end --nats {} --site test`", server.url());
    assert!(said.contains(&remedy), "{said}");
    let other = PartSpec {
        version: "1.3.0".to_owned(),
        ..spec("gate")
    };
    let said = refused(&server, other);
    assert!(
        said.contains("run by version 1.2.3 of this program, and this is 1.3.0"),
        "{said}"
    );
    // Another build of the same version is another program.
    let other = PartSpec {
        version: "1.2.3 (commit b)".to_owned(),
        ..spec("gate")
    };
    let said = refused(&server, other);
    assert!(said.contains("and this is 1.2.3 (commit b)"), "{said}");
    let said = refused(&server, spec("gate"));
    assert!(
        said.contains("machine `gate` of site `test` runs already"),
        "{said}"
    );
    let admin = connect(&server);
    let said = site::end(&admin).expect_err("it runs").to_string();
    assert!(said.contains("still runs on gate, server"), "{said}");
    let state = site::state(&admin).expect("a state");
    assert_eq!(state.run, there.part.run());
    let runs = |part: &PartState| matches!(part, PartState::Runs { incarnation: 1, .. });
    assert!(state.parts.iter().all(|(_, part)| runs(part)), "{state:?}");
    gate.close();
    there.close();
}

#[test]
fn a_part_that_died_comes_back_and_one_that_ended_does_not() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let run = gate.part.run().to_owned();
    // It says nothing at its end.
    gate.close();
    let admin = connect(&server);
    let state = site::state(&admin).expect("a state");
    let silent = |part: &PartState| matches!(part, PartState::Silent { .. });
    assert!(silent(&state.parts[0].1), "{state:?}");
    let gate = join(&server, spec("gate")).expect("it may come back");
    assert_eq!(
        (gate.part.run(), gate.part.incarnation()),
        (run.as_str(), 2)
    );
    gate.part.ended();
    gate.close();
    let said = refused(&server, spec("gate"));
    assert!(said.contains("has ended on machine `gate`"), "{said}");
    there.part.ended();
    there.close();
    let gone = site::end(&admin).expect("nothing runs");
    assert_eq!(gone, ["fermata+test+site"]);
    let said = site::state(&admin).expect_err("no run").to_string();
    assert!(said.contains("there is no run of site `test`"), "{said}");
    let anew = join(&server, spec("server")).expect("it may join");
    assert_ne!(anew.part.run(), run);
    anew.close();
}

/// It would be deleted under them otherwise, and nobody could end it.
#[test]
fn a_server_that_has_lost_its_storage_is_told_of_the_run_again() {
    let mut server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let run = gate.part.run().to_owned();
    server.kill();
    server.empty();
    server.run();
    let admin = connect(&server);
    let runs = |part: &PartState| matches!(part, PartState::Runs { incarnation: 1, .. });
    wait_until("both parts", || {
        let state = site::state(&admin);
        state.is_ok_and(|state| state.run == run && state.parts.iter().all(|(_, part)| runs(part)))
    });
    let said = site::end(&admin).expect_err("it runs").to_string();
    assert!(said.contains("still runs on gate, server"), "{said}");
    let (told, hears) = channel();
    let tell = move || {
        let _ = told.send(());
    };
    gate.part.watch(tell, || {});
    site::drain(&admin).expect("it may be drained");
    hears.recv_timeout(PATIENCE).expect("the drain");
    gate.close();
    there.close();
}

#[test]
fn what_a_run_left_that_nobody_ended_is_refused_until_it_is_cleared() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.expect("a client");
        let config = async_nats::jetstream::stream::Config {
            name: "fermata+test+faces+packets".to_owned(),
            subjects: vec!["fermata.test.faces.packets.*".to_owned()],
            ..Default::default()
        };
        let made = async_nats::jetstream::new(client)
            .create_stream(config)
            .await;
        made.expect("a stream");
    });
    let said = refused(&server, spec("server"));
    assert!(
        said.contains(
            "still holds what an earlier run of site `test` left (fermata+test+faces+packets)"
        ),
        "{said}"
    );
    let admin = connect(&server);
    assert_eq!(site::end(&admin).expect("cleared").len(), 1);
    join(&server, spec("server")).expect("it may join").close();
}

#[test]
fn a_drain_reaches_all_parts_and_those_that_come_later() {
    let server = Server::start();
    let there = join(&server, spec("server")).expect("it may join");
    let gate = join(&server, spec("gate")).expect("it may join");
    let (told, hears) = channel();
    for part in [&there, &gate] {
        let told = told.clone();
        part.part.watch(
            move || told.send("drain").expect("a test that listens"),
            || panic!("nobody takes its place"),
        );
    }
    gate.part.drain();
    for _ in 0..2 {
        assert_eq!(hears.recv_timeout(PATIENCE), Ok("drain"));
    }
    let admin = connect(&server);
    assert!(site::state(&admin).expect("a state").is_draining);
    gate.close();
    let again = join(&server, spec("gate")).expect("it may come back");
    let late = told.clone();
    again.part.watch(
        move || late.send("late").expect("a test that listens"),
        || {},
    );
    assert_eq!(hears.recv_timeout(PATIENCE), Ok("late"));
    again.close();
    there.close();
}
