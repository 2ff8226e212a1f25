//! Units of a job over a real NATS server: each has one result, whoever dies, leaves, comes too late, or sends
//! something that is not a result. `work_refused.rs` tests servers that have lost the job or have no room for it.

#[path = "edges/server.rs"]
#[allow(dead_code, reason = "tests of edges use the rest of it")]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use fermata_engine::Codecs;
use fermata_remote::work::records::{JobRecord, WorkerReport, to_bytes};
use fermata_remote::work::{
    Coordinator, Counted, JobName, NoResult, Returned, Taken, WorkError, Worker, WorkerSpec,
    end_job,
};
use fermata_remote::{Credentials, NatsConnection};
use server::{PATIENCE, Server, wait_until};

fn connect(server: &Server) -> Arc<NatsConnection> {
    let connected = server.connect_as(&Credentials::default(), &Codecs::default());
    connected.expect("a server that was just started")
}

fn name() -> JobName {
    "test".parse().expect("a name")
}

fn begin(server: &Server, id: &str, units: u64) -> Result<Arc<Coordinator>, WorkError> {
    begin_with(server, id, units, PATIENCE)
}

fn begin_with(
    server: &Server,
    id: &str,
    units: u64,
    lease: Duration,
) -> Result<Arc<Coordinator>, WorkError> {
    begin_at(&connect(server), id, units, lease)
}

/// Begins a job whose coordinator dies with the connection.
fn begin_at(
    connection: &Arc<NatsConnection>,
    id: &str,
    units: u64,
    lease: Duration,
) -> Result<Arc<Coordinator>, WorkError> {
    begin_by("a test", connection, id, units, lease)
}

fn begin_by(
    by: &str,
    connection: &Arc<NatsConnection>,
    id: &str,
    units: u64,
    lease: Duration,
) -> Result<Arc<Coordinator>, WorkError> {
    let record = JobRecord {
        id: id.to_owned(),
        by: by.to_owned(),
        lease_ms: lease.as_millis() as u64,
        units,
        tries: 3,
        about: "numbers".to_owned(),
    };
    let coordinator = Coordinator::begin(connection, &name(), record, 1000)?;
    for unit in 0..units {
        coordinator.hand_out(unit);
    }
    Ok(coordinator)
}

/// A worker, and the connection that dies with it.
fn worker(server: &Server, worker: &str) -> (Arc<NatsConnection>, Arc<Worker>) {
    let connection = connect(server);
    let spec = WorkerSpec {
        worker: worker.to_owned(),
        host: "here".to_owned(),
    };
    let worker = Worker::find(&connection, &name(), spec, |_| {}).expect("the job");
    worker.begin(None);
    (connection, worker)
}

/// Takes the next unit, with the number of the attempt.
fn takes(worker: &Worker) -> (u64, u32) {
    let started = Instant::now();
    loop {
        match worker.take() {
            Taken::Unit { unit, attempt } => return (unit, attempt),
            other => assert!(started.elapsed() < PATIENCE, "no unit, but {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn returned(coordinator: &Coordinator, unit: u64) -> Returned {
    let result = coordinator.result(unit, PATIENCE);
    result.expect("it is not given up").expect("a result")
}

#[test]
fn two_workers_share_the_units_and_what_each_did_is_counted() {
    let server = Server::start();
    let coordinator = begin(&server, "one", 6).unwrap();
    let workers = [worker(&server, "a"), worker(&server, "b")];
    let mut did = [0, 0];
    for turn in 0..6 {
        let (unit, attempt) = takes(&workers[turn % 2].1);
        assert_eq!(attempt, 1);
        workers[turn % 2]
            .1
            .computed(unit, unit.to_le_bytes().to_vec(), 10);
        did[turn % 2] += 1;
    }
    for unit in 0..6 {
        assert_eq!(returned(&coordinator, unit).bytes[..], unit.to_le_bytes());
        coordinator.taken(unit, 10);
    }
    coordinator.close().unwrap();
    for (_, worker) in &workers {
        wait_until("the end of the job", || worker.take() == Taken::NoMore);
        worker.close(PATIENCE);
    }
    let now = coordinator.now();
    for (worker, did) in ["a", "b"].into_iter().zip(did) {
        let counted = Counted {
            units: did,
            rows: 10 * did,
        };
        assert_eq!(now.counted[worker], counted);
    }
    assert!(now.workers.iter().all(|worker| worker.report.ends));
    assert_eq!((now.late(), now.rejected, now.republished), (0, 0, 0));
    assert!(
        Coordinator::known(&connect(&server), &name())
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_unit_that_three_workers_died_over_is_given_up_and_they_are_named() {
    let server = Server::start();
    let lease = Duration::from_millis(400);
    let coordinator = begin_with(&server, "one", 1, lease).unwrap();
    for (number, name) in ["first", "second", "third"].into_iter().enumerate() {
        let (connection, worker) = worker(&server, name);
        assert_eq!(takes(&worker), (0, number as u32 + 1));
        connection.close(Duration::ZERO);
    }
    let reason = coordinator.result(0, PATIENCE).unwrap_err();
    let expected =
        ["first", "second", "third"].map(|name| format!("{name} was not heard of again"));
    assert_eq!(reason, NoResult::GivenUp(expected.join(", ")));
}

#[test]
fn what_is_computed_while_the_server_is_dead_counts_when_it_is_back() {
    let mut server = Server::start();
    let coordinator = begin(&server, "one", 2).unwrap();
    let (_connection, worker) = worker(&server, "a");
    let (first, _) = takes(&worker);
    server.kill();
    worker.computed(first, b"first".to_vec(), 5);
    server.run();
    assert_eq!(returned(&coordinator, first).bytes[..], *b"first");
    let (second, _) = takes(&worker);
    worker.computed(second, b"second".to_vec(), 5);
    assert_eq!(returned(&coordinator, second).bytes[..], *b"second");
    assert_ne!(first, second);
}

#[test]
fn a_worker_that_goes_gives_back_what_it_has_and_that_is_no_lost_try() {
    let server = Server::start();
    let coordinator = begin(&server, "one", 1).unwrap();
    for number in 1..=4 {
        let (_connection, worker) = worker(&server, &format!("goes-{number}"));
        assert_eq!(takes(&worker), (0, number));
        worker.give_back(0);
        worker.close(PATIENCE);
    }
    let (_connection, stays) = worker(&server, "stays");
    assert_eq!(takes(&stays), (0, 5));
    stays.computed(0, vec![7], 1);
    assert_eq!(returned(&coordinator, 0).worker, "stays");
}

#[test]
fn a_worker_that_never_finishes_a_unit_gives_it_back_when_it_ends_and_that_is_no_lost_try() {
    let server = Server::start();
    let coordinator = begin(&server, "one", 1).unwrap();
    for number in 1..=4 {
        let (_connection, worker) = worker(&server, &format!("stops-{number}"));
        assert_eq!(takes(&worker), (0, number));
        let started = Instant::now();
        worker.close(PATIENCE);
        assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
        assert_eq!(worker.report().late, 0);
    }
    let (_connection, stays) = worker(&server, "stays");
    assert_eq!(takes(&stays), (0, 5));
    stays.computed(0, vec![7], 1);
    assert_eq!(returned(&coordinator, 0).worker, "stays");
}

#[test]
fn a_worker_that_is_at_work_when_the_job_is_over_discards_that_and_it_is_counted() {
    let server = Server::start();
    let coordinator = begin(&server, "one", 1).unwrap();
    let (_connection, worker) = worker(&server, "a");
    takes(&worker);
    coordinator.close().unwrap();
    wait_until("the end of the job", || worker.take() == Taken::NoMore);
    worker.computed(0, vec![1], 1);
    worker.close(PATIENCE);
    assert_eq!(worker.report().late, 1);
    assert_eq!(coordinator.now().late(), 1);
}

#[test]
fn a_result_that_is_rejected_or_is_none_is_computed_again_and_what_is_malformed_is_counted() {
    let server = Server::start();
    let coordinator = begin(&server, "one", 2).unwrap();
    // From somebody who is not a worker: a result that nobody stored, an invalid record, an invalid report.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let rejected = |times| {
        let what = format!("{times} rejected results");
        wait_until(&what, || coordinator.now().rejected == times);
    };
    let (client, state) = runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = jetstream::new(client.clone());
        let state = jetstream.get_key_value("fermata-one-state").await.unwrap();
        let claimed = format!(
            r#"{{"what": "result", "attempt": 1, "sha256": "{}", "size": 3, "worker": "liar"}}"#,
            "ab".repeat(32)
        );
        state.put("unit.0", claimed.into()).await.unwrap();
        (client, state)
    });
    rejected(1);
    runtime.block_on(async {
        state.put("unit.1", "{".into()).await.unwrap();
        let words = vec![b'x'; 100_000];
        let subject = "fermata-job.one.worker";
        client.publish(subject, words.into()).await.unwrap();
        client.flush().await.unwrap();
    });
    wait_until("two malformed", || coordinator.now().malformed == 2);
    let (_connection, worker) = worker(&server, "a");
    for _ in 0..2 {
        let (unit, _) = takes(&worker);
        worker.computed(unit, vec![unit as u8], 1);
    }
    assert_eq!(returned(&coordinator, 1).bytes[..], [1]);
    assert_eq!(returned(&coordinator, 0).bytes[..], [0]);
    // A worker whose result is not used no longer takes part, and cannot use up the unit's tries alone.
    coordinator.reject(0, "other rows");
    wait_until("its end", || worker.take() == Taken::NoMore);
    let refuses = worker.report().refuses;
    assert_eq!(
        refuses.as_deref(),
        Some("unit 0: its result is not used: other rows")
    );
    let (_of_second, second) = self::worker(&server, "b");
    assert_eq!(takes(&second), (0, 2));
    rejected(2);
    second.computed(0, vec![9], 1);
    assert_eq!(returned(&coordinator, 0).bytes[..], [9]);
    coordinator.reject(0, "other rows again");
    // A result may not be larger than the limit.
    let (_of_third, third) = self::worker(&server, "c");
    assert_eq!(takes(&third), (0, 3));
    third.computed(0, vec![9; 1001], 1);
    let reason = coordinator.result(0, PATIENCE).unwrap_err().to_string();
    assert!(
        reason.contains("c failed (its result is not used: it is larger"),
        "{reason}"
    );
}

#[test]
fn a_result_that_the_server_has_lost_is_computed_again_by_whoever_computed_it() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connection = connect(&server);
    let coordinator = begin_at(&connection, "one", 1, PATIENCE).unwrap();
    let (_connection, worker) = worker(&server, "a");
    assert_eq!(takes(&worker), (0, 1));
    // The coordinator dies; the result arrives, and is gone before there is another one.
    drop(coordinator);
    connection.close(Duration::ZERO);
    worker.computed(0, vec![7], 1);
    wait_until("the result", || worker.report().units == 1);
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = jetstream::new(client);
        let results = jetstream.get_stream("fermata-one-results").await.unwrap();
        let purged = results.purge().await.unwrap();
        assert_eq!(purged.purged, 1);
    });
    let coordinator = begin(&server, "one", 1).unwrap();
    assert_eq!(takes(&worker), (0, 2));
    worker.computed(0, vec![8], 1);
    assert_eq!(returned(&coordinator, 0).bytes[..], [8]);
    assert_eq!(coordinator.now().rejected, 1);
    assert_eq!(worker.report().refuses, None);
}

#[test]
fn one_name_is_one_job_until_that_is_ended() {
    let server = Server::start();
    let connection = connect(&server);
    let first_dies = connect(&server);
    begin_at(&first_dies, "one", 1, PATIENCE).unwrap();
    let known = Coordinator::known(&connection, &name()).unwrap();
    assert_eq!(known.map(|record| record.id).as_deref(), Some("one"));
    let second = begin(&server, "two", 1).map(drop);
    assert!(matches!(second, Err(WorkError::Taken { .. })), "{second:?}");
    // Resuming it takes the same id, once nobody else hands it out.
    let again = connect(&server);
    let resume = || begin_by("another", &again, "one", 1, PATIENCE);
    let twice = resume().map(drop);
    assert!(
        matches!(&twice, Err(WorkError::HandedOut { by, .. }) if by == "a test"),
        "{twice:?}"
    );
    first_dies.close(Duration::ZERO);
    resume().unwrap();
    let (_of_worker, worker) = worker(&server, "a");
    // It is not removed as long as its coordinator answers.
    let refused = end_job(&connection, &name()).unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("`test` is still handed out by another:"),
        "{said}"
    );
    assert_eq!(takes(&worker), (0, 1));
    again.close(Duration::ZERO);
    end_job(&connection, &name()).unwrap();
    wait_until("the end of the job", || worker.take() == Taken::NoMore);
    let gone = end_job(&connection, &name());
    assert!(matches!(gone, Err(WorkError::NoJob { .. })), "{gone:?}");
    begin(&server, "two", 1).unwrap();
}

#[test]
fn a_job_whose_record_nobody_could_read_is_not_begun_and_its_name_stays_free() {
    let server = Server::start();
    let connection = connect(&server);
    let fit = JobRecord {
        id: "one".to_owned(),
        by: "a test".to_owned(),
        lease_ms: 1000,
        units: 1,
        tries: 3,
        about: "numbers".to_owned(),
    };
    let with_lease = |lease_ms| JobRecord {
        lease_ms,
        ..fit.clone()
    };
    let too_many = JobRecord {
        units: u64::MAX,
        ..fit.clone()
    };
    let too_large = JobRecord {
        about: "x".repeat(1 << 20),
        ..fit.clone()
    };
    for (unfit, words) in [
        (with_lease(50), "a lease that is not from 100 ms to a day"),
        (
            with_lease(90_000_000),
            "a lease that is not from 100 ms to a day",
        ),
        (too_many, "too many units"),
        (too_large, "bytes are too many"),
    ] {
        let refused = Coordinator::begin(&connection, &name(), unfit, 1000).map(drop);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, WorkError::Unfit { .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains(words), "{said}");
        let gone = end_job(&connection, &name());
        assert!(matches!(gone, Err(WorkError::NoJob { .. })), "{gone:?}");
    }
    begin(&server, "two", 1).unwrap();
}

#[test]
fn whoever_comes_after_a_thousand_names_takes_part_once_these_are_silent() {
    let server = Server::start();
    let lease = Duration::from_millis(500);
    let coordinator = begin_with(&server, "one", 1, lease).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        for number in 0..1000 {
            let report = WorkerReport {
                worker: format!("nobody-{number}"),
                ..WorkerReport::default()
            };
            let subject = "fermata-job.one.worker";
            client
                .publish(subject, to_bytes(&report).into())
                .await
                .unwrap();
        }
        client.flush().await.unwrap();
    });
    wait_until("all names", || coordinator.now().workers.len() == 1000);
    let (_connection, worker) = worker(&server, "somebody");
    let is_heard = || {
        let workers = coordinator.now().workers;
        workers
            .iter()
            .any(|known| known.report.worker == "somebody")
    };
    wait_until("the worker", is_heard);
    assert_eq!(coordinator.now().workers.len(), 1000);
    let (unit, _) = takes(&worker);
    worker.computed(unit, vec![1], 1);
    assert_eq!(returned(&coordinator, unit).worker, "somebody");
}

/// It would wait forever otherwise, since forbidden requests are never answered.
#[test]
fn a_worker_that_may_not_look_for_jobs_ends_and_says_so() {
    let server = Server::start_with(
        r#"
authorization {users: [{user: lab, password: secret, permissions: {publish: ["x"], subscribe: ["_INBOX.>"]}}]}
"#,
    );
    let credentials = Credentials {
        user: Some(("lab".to_owned(), "secret".to_owned())),
        ..Credentials::default()
    };
    let connection = server.connect_as(&credentials, &Codecs::default());
    let connection = connection.expect("a connection");
    let spec = WorkerSpec {
        worker: "one".to_owned(),
        host: "here".to_owned(),
    };
    let refused = Worker::find(&connection, &name(), spec, |_| {}).map(drop);
    let refused = refused.expect_err("it may not look");
    assert!(matches!(refused, WorkError::Forbidden { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("Permissions Violation for Publish"), "{said}");
    connection.close(Duration::from_secs(5));
}
