//! The process stays within its memory, whatever it has served: closed workflows leave nothing behind. In a control group of
//! 512 MiB where this process may make one.
//!
//! `OUTLAST_MEMORY_LONG=1` runs 100,000 workflows instead of 1,600.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{Command as Decision, CompleteWorkflowExecutionCommandAttributes};
use api::temporal::api::common::v1::{Payload, Payloads, WorkflowType};
use api::temporal::api::enums::v1::CommandType;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use grpc::workflow_service_client::WorkflowServiceClient;
use runtime::Runtime;
use tonic::transport::Channel;

#[path = "process/server.rs"]
mod process;

use self::process::Process;

const MIB: usize = 1 << 20;
const GROUP_BYTES: usize = 512 * MIB;
const WORKERS: usize = 16;

/// A control group with a bound; removed when dropped.
struct Group(PathBuf);

impl Group {
    /// `None` where this process may make none.
    fn make() -> Option<Self> {
        let name = format!("outlast-test-{}", std::process::id());
        for (mount, file) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let path = PathBuf::from(mount).join(&name);
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Self(path);
            if std::fs::write(group.0.join(file), GROUP_BYTES.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A server in a control group.
struct Server {
    process: Process,
    metrics_port: u16,
    _group: Option<Group>,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(memory_total: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metrics_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let group = Group::make();
        println!("in a control group: {}", group.is_some());
        let joining =
            group.as_ref().map_or(String::new(), |group| format!("echo $$ > {}/cgroup.procs;", group.0.display()));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{joining} exec \"$@\""), "sh", env!("CARGO_BIN_EXE_outlast"), "server", "start-dev"])
            .args(["--port", "0", "--metrics-port", &metrics_port.to_string(), "--memory-total", memory_total])
            .arg("--db-filename")
            .arg(directory.path().join("outlast.db"));
        let process = Process::run(&mut command);
        Self { process, metrics_port, _group: group, _directory: directory }
    }

    /// Resident bytes of its own: pages of files do not count.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
    }

    /// The sum of a metric over its labels, or of one of them.
    fn metric(&self, name: &str, label: &str) -> usize {
        let mut connection = TcpStream::connect(("127.0.0.1", self.metrics_port)).unwrap();
        connection.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let of = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        of.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as usize).sum()
    }

    /// Waits until all that has closed is in its tables.
    async fn rest(&self, runtime: &Runtime) {
        while self.metric("outlast_shard_dirty_entities", "history/") > 0 {
            runtime.sleep(Duration::from_millis(200)).await;
        }
    }
}

fn payloads() -> Option<Payloads> {
    let metadata = [("encoding".to_owned(), "json/plain".into())].into();
    Some(Payloads { payloads: vec![Payload { metadata, data: "\"a few words\"".into(), ..Payload::default() }] })
}

/// Starts a workflow, takes the next task and closes its workflow, again and again.
async fn work(mut client: WorkflowServiceClient<Channel>, worker: String, count: usize) {
    let namespace = "default".to_owned();
    let task_queue = Some(TaskQueue { name: format!("queue-{worker}"), ..TaskQueue::default() });
    for number in 0..count {
        let start = wire::StartWorkflowExecutionRequest {
            namespace: namespace.clone(),
            workflow_id: format!("{worker}-{number}"),
            request_id: format!("{worker}-{number}"),
            workflow_type: Some(WorkflowType { name: "short".to_owned() }),
            task_queue: task_queue.clone(),
            input: payloads(),
            ..wire::StartWorkflowExecutionRequest::default()
        };
        client.start_workflow_execution(start).await.unwrap();
        let poll = wire::PollWorkflowTaskQueueRequest {
            namespace: namespace.clone(),
            task_queue: task_queue.clone(),
            identity: worker.clone(),
            ..wire::PollWorkflowTaskQueueRequest::default()
        };
        let task = client.poll_workflow_task_queue(poll).await.unwrap().into_inner();
        let attributes = CompleteWorkflowExecutionCommandAttributes { result: payloads() };
        let completed = wire::RespondWorkflowTaskCompletedRequest {
            namespace: namespace.clone(),
            task_token: task.task_token,
            commands: vec![Decision {
                command_type: CommandType::CompleteWorkflowExecution as i32,
                attributes: Some(Attributes::CompleteWorkflowExecutionCommandAttributes(attributes)),
                ..Decision::default()
            }],
            ..wire::RespondWorkflowTaskCompletedRequest::default()
        };
        client.respond_workflow_task_completed(completed).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_workflows_leave_nothing_in_memory() {
    let long = std::env::var_os("OUTLAST_MEMORY_LONG").is_some();
    let count = if long { 100_000 } else { 1_600 };
    let runtime = Runtime::system();
    let server = Server::start("128MiB");
    let client = server.process.client().await;
    let mut marks = Vec::new();
    const MARKS: usize = 4;
    for mark in 0..MARKS {
        let each = count / MARKS / WORKERS;
        let working = (0..WORKERS).map(|worker| runtime.spawn(work(client.clone(), format!("{mark}-{worker}"), each)));
        for worker in working.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        server.rest(&runtime).await;
        let entities = server.metric("outlast_memory_bytes", "part=\"entities\"");
        println!("{} closed: {} resident, {entities} in entities", each * WORKERS * (mark + 1), server.resident());
        assert!(server.resident() < GROUP_BYTES, "{}", server.resident());
        marks.push((server.resident(), entities));
    }
    // Of 48 MiB for entities, one part in 32 is for those that have come to their end, and the task queues take some.
    assert!(marks.iter().all(|(_, entities)| *entities < 2 * MIB), "{marks:?}");
    let between = count / MARKS * (MARKS - 2);
    let grown = marks[MARKS - 1].0.saturating_sub(marks[1].0);
    // Of a few workflows the allocator's own ups and downs are more than what they could leave.
    let slack = if long { 0 } else { 32 * MIB };
    assert!(grown < between * 500 + slack, "{} bytes for each closed workflow: {marks:?}", grown / between);
}
