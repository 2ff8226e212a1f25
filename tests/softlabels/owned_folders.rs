//! The folder of an export whose units workers compute: it is written to by the one process that owns it, and whoever
//! does not own it leaves the job at the server alone, too.

use std::fs;

use super::job_server::JobServer;
use super::several_machines::{coordinator, worker};
use super::{Data, assert_same, succeeds};
use crate::command::refused;
use crate::nats_server::free_port;
use crate::support::wait_until;

#[test]
fn a_shared_export_that_goes_on_is_not_resumed_nor_given_to_a_worker_and_ends_as_if_nothing_had_been()
 {
    let data = Data::new(30);
    succeeds(&data.export("alone", &[]));
    let server = JobServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    wait_until("the job", || server.messages("-units") == Some(4));
    let file = fs::read(data.path("shared/job.json")).unwrap();
    let (out, url) = (data.text("shared"), server.url());
    refused(&["resume", &out, "--nats", &url], &["is in use by"]);
    refused(
        &["work", "--nats", &url, "--job", "test", "--out", &out],
        &["is in use by"],
    );
    assert_eq!(server.messages("-units"), Some(4));
    assert_eq!(fs::read(data.path("shared/job.json")).unwrap(), file);
    let mut one = worker(&data, &server, "one", &[]);
    job.ends(0);
    one.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
}

#[test]
fn a_worker_with_the_folder_of_an_export_on_one_machine_leaves_what_is_there() {
    let data = Data::new(30);
    let server = JobServer::start();
    let mut job = coordinator(&data, &server, "shared", &[]);
    wait_until("the job", || server.messages("-units") == Some(4));
    let held = data.path("held");
    fs::create_dir_all(held.join("units")).unwrap();
    fs::write(held.join("units/alignment.json"), "another job's").unwrap();
    let _lock = fermata_files::FolderLock::take(&held).unwrap();
    let (out, url) = (data.text("held"), server.url());
    refused(
        &["work", "--nats", &url, "--job", "test", "--out", &out],
        &["is in use by"],
    );
    let left = fs::read_to_string(held.join("units/alignment.json")).unwrap();
    assert_eq!(left, "another job's");
    job.kill();
}

#[test]
fn a_folder_that_is_in_use_is_noticed_before_a_server_is_looked_for() {
    let data = Data::new(7);
    let held = data.path("held");
    fs::create_dir(&held).unwrap();
    let _lock = fermata_files::FolderLock::take(&held).unwrap();
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    refused(
        &data.export("held", &["--nats", &nobody]),
        &["is in use by"],
    );
}

#[test]
fn a_shared_export_in_the_folder_of_an_earlier_run_can_be_resumed() {
    let data = Data::new(30);
    succeeds(&data.export("alone", &[]));
    let server = JobServer::start();
    let shared = data.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("run.log"), "of an earlier run").unwrap();
    let mut job = coordinator(&data, &server, "shared", &[]);
    wait_until("the job", || server.messages("-units") == Some(4));
    job.kill();
    let earlier = fs::read_to_string(shared.join("earlier/1/run.log")).unwrap();
    assert_eq!(earlier, "of an earlier run");
    assert!(!shared.join("earlier/1/job.json").exists());
    let mut one = worker(&data, &server, "one", &[]);
    let (out, url) = (data.text("shared"), server.url());
    succeeds(&["resume", &out, "--nats", &url, "--quiet"]);
    one.ends(0);
    assert_same(&data.files("alone"), &data.files("shared"));
}
