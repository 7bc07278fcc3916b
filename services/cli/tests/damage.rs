//! One flipped bit in the file of a server, in what its users stored: its readers get data loss, none is served anything
//! else, and all others are served.

use std::path::{Path, PathBuf};
use std::process::Command;

use api::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution, WorkflowType};
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use grpc::workflow_service_client::WorkflowServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};
use xxhash_rust::xxh3::xxh3_64_with_seed;

#[path = "process/server.rs"]
mod process;

use self::process::Process;

const PAGE: usize = 4096;
/// How many bytes at a page's end are its sum.
const SUM: usize = 8;
/// Five pages: no row shares the pages of its payload with another.
const PAYLOAD: usize = 5 * PAGE;

struct Server {
    process: Process,
    client: WorkflowServiceClient<Channel>,
}

fn outlast(arguments: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
    command.args(arguments).arg("--db-filename").arg(path);
    command
}

fn marker(id: &str) -> String {
    format!("payload of {id}, ")
}

fn payload(id: &str) -> Vec<u8> {
    marker(id).into_bytes().into_iter().cycle().take(PAYLOAD).collect()
}

impl Server {
    async fn on(path: &Path) -> Self {
        let process = Process::run(&mut outlast(&["server", "start-dev", "--port", "0"], path));
        Self { client: process.client().await, process }
    }

    /// Ends as an operator ends it: everything is in tables then, and in one file.
    fn stop(mut self) {
        let killed = Command::new("kill").args(["-TERM", &self.process.child.id().to_string()]).status().unwrap();
        assert!(killed.success() && self.process.child.wait().unwrap().success());
    }

    async fn start(&mut self, id: &str) -> Result<(), Status> {
        let input = Payloads { payloads: vec![Payload { data: payload(id).into(), ..Payload::default() }] };
        let request = wire::StartWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            workflow_id: id.to_owned(),
            request_id: id.to_owned(),
            workflow_type: Some(WorkflowType { name: "kept".to_owned() }),
            task_queue: Some(TaskQueue { name: "queue".to_owned(), ..TaskQueue::default() }),
            input: Some(input),
            ..wire::StartWorkflowExecutionRequest::default()
        };
        self.client.start_workflow_execution(request).await.map(drop)
    }

    /// Whether a workflow is there, with the input that it was started with.
    async fn read(&mut self, id: &str) -> Result<(), Status> {
        let execution = Some(WorkflowExecution { workflow_id: id.to_owned(), run_id: String::new() });
        let describe =
            wire::DescribeWorkflowExecutionRequest { namespace: "default".to_owned(), execution: execution.clone() };
        self.client.describe_workflow_execution(describe).await?;
        let read = wire::GetWorkflowExecutionHistoryRequest {
            namespace: "default".to_owned(),
            execution,
            ..wire::GetWorkflowExecutionHistoryRequest::default()
        };
        let history = self.client.get_workflow_execution_history(read).await?.into_inner().history.unwrap();
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = &history.events[0].attributes else {
            panic!("{history:?}");
        };
        assert!(started.input.as_ref().unwrap().payloads[0].data == payload(id), "altered data was served");
        Ok(())
    }

    async fn signal(&mut self, id: &str) -> Result<(), Status> {
        let request = wire::SignalWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            workflow_execution: Some(WorkflowExecution { workflow_id: id.to_owned(), run_id: String::new() }),
            signal_name: "hello".to_owned(),
            ..wire::SignalWorkflowExecutionRequest::default()
        };
        self.client.signal_workflow_execution(request).await.map(drop)
    }
}

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outlast.db");
    (directory, path)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Damage {
    /// The pages that only it has do not match their sums.
    Pages,
    /// Pages have been given sums again: it is the value that does not match.
    Value,
    /// Of another file, which does not consist of pages.
    Log,
}

/// Flips a bit wherever a workflow's payload is in the file.
fn flip(path: &Path, id: &str, damage: Damage) {
    let mut bytes = std::fs::read(path).unwrap();
    let marker = marker(id).into_bytes();
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&marker)).collect();
    let in_page = |at: usize| places.iter().filter(|other| **other / PAGE == at / PAGE).count();
    let is_alone = |at: &&usize| damage != Damage::Pages || (in_page(**at) + 2) * marker.len() > PAGE;
    let flipped: Vec<_> = places.iter().filter(is_alone).collect();
    assert!(flipped.len() > PAYLOAD / marker.len() / 2, "{} of {id}", flipped.len());
    flipped.iter().for_each(|at| bytes[**at] ^= 1);
    if damage == Damage::Value {
        for (number, page) in (1..).zip(bytes.chunks_exact_mut(PAGE)) {
            let sum = xxh3_64_with_seed(&page[..PAGE - SUM], number).to_le_bytes();
            page[PAGE - SUM..].copy_from_slice(&sum);
        }
    }
    std::fs::write(path, bytes).unwrap();
}

fn is_lost(answer: Result<(), Status>, names: &[&str]) -> bool {
    answer.is_err_and(|status| {
        let is_named = names.iter().all(|name| status.message().contains(name));
        assert!(status.code() == Code::DataLoss && is_named, "{status:?}, should name {names:?}");
        true
    })
}

const OTHERS: [&str; 9] = ["w-1", "w-2", "w-3", "w-4", "w-5", "w-6", "w-7", "w-8", "w-9"];

/// A file with some workflows, of which one is damaged as `admin verify` says.
async fn damaged_file(path: &Path, damage: Damage) {
    let mut server = Server::on(path).await;
    for id in ["victim"].iter().chain(&OTHERS) {
        server.start(id).await.unwrap();
    }
    server.stop();
    assert!(!path.with_extension("db-wal").exists());
    let whole = outlast(&["admin", "verify"], path).output().unwrap();
    assert!(whole.status.success(), "{whole:?}");
    flip(path, "victim", damage);
    let verified = outlast(&["admin", "verify"], path).output().unwrap();
    assert_eq!(verified.status.code(), Some(1), "{damage:?}: {verified:?}");
}

#[tokio::test]
async fn a_workflow_whose_row_is_damaged_is_lost_and_all_others_are_served() {
    let names = ["row \"s\" of partition \"run/", "x00victim\": its checksum does not match"];
    let (_directory, path) = fresh();
    damaged_file(&path, Damage::Value).await;
    for restart in 0..2 {
        let mut server = Server::on(&path).await;
        assert!(is_lost(server.read("victim").await, &names));
        assert!(is_lost(server.signal("victim").await, &names));
        assert!(is_lost(server.start("victim").await, &names));
        for id in OTHERS {
            server.read(id).await.unwrap();
            server.signal(id).await.unwrap();
        }
        // Killed at the end of the loop, what it acknowledged is there all the same.
        server.start(["new-0", "new-1"][restart]).await.unwrap();
        for id in &["new-0", "new-1"][..=restart] {
            server.read(id).await.unwrap();
        }
    }
}

/// Rows lie in one tree with their values, so a row that is looked up past a damaged page is lost too.
#[tokio::test]
async fn a_workflow_whose_pages_are_damaged_is_lost_and_nothing_else_is_served_for_it() {
    let (_directory, path) = fresh();
    damaged_file(&path, Damage::Pages).await;
    for _ in 0..2 {
        let mut server = Server::on(&path).await;
        let names = ["page", "of the file does not match its checksum"];
        assert!(is_lost(server.read("victim").await, &names));
        assert!(is_lost(server.signal("victim").await, &names));
        let mut served = 0;
        for id in OTHERS {
            match server.read(id).await {
                Ok(()) => served += 1,
                Err(status) => assert!(is_lost(Err(status), &names)),
            }
        }
        println!("{served} of {} others are served", OTHERS.len());
    }
}

#[tokio::test]
async fn a_damaged_group_of_a_log_costs_its_shard_and_all_others_are_served() {
    let (directory, path) = fresh();
    let mut server = Server::on(&path).await;
    for id in ["victim"].iter().chain(&OTHERS) {
        server.start(id).await.unwrap();
    }
    // Killed: what it has acknowledged is in its logs, which a backup brings into one file.
    drop(server);
    let copy = directory.path().join("copy.db");
    let backup = outlast(&["admin", "backup"], &path).arg("--to").arg(&copy).output().unwrap();
    assert!(backup.status.success(), "{backup:?}");
    flip(&copy, "victim", Damage::Value);

    let names = ["is not served", "log history/", "its checksum does not match", "restore a backup"];
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut server = Server::on(&copy).await;
        assert!(is_lost(server.read("victim").await, &names));
        assert!(is_lost(server.signal("victim").await, &names));
        let mut here = Vec::new();
        for id in OTHERS {
            match server.read(id).await {
                Ok(()) => here.push(id),
                Err(status) => assert!(is_lost(Err(status), &names)),
            }
        }
        assert!(here.len() >= OTHERS.len() / 3, "those of the three other shards: {here:?}");
        for id in &here {
            server.signal(id).await.unwrap();
        }
        assert!(served.is_empty() || served == here);
        served = here;
    }
}

#[tokio::test]
async fn no_server_starts_on_a_damaged_write_ahead_log_and_undamaged_it_has_everything() {
    let (_directory, path) = fresh();
    let mut server = Server::on(&path).await;
    for id in ["victim"].iter().chain(&OTHERS) {
        server.start(id).await.unwrap();
    }
    drop(server);
    let log = path.with_extension("db-wal");
    let whole = std::fs::read(&log).unwrap();
    flip(&log, "victim", Damage::Log);
    let refused = outlast(&["server", "start-dev", "--port", "0"], &path).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("of its write-ahead log is damaged"), "{said}");
    std::fs::write(&log, whole).unwrap();
    let mut server = Server::on(&path).await;
    for id in ["victim"].iter().chain(&OTHERS) {
        server.read(id).await.unwrap();
    }
}
