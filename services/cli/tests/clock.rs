//! A real process whose wall clock is set while it runs, by libfaketime, which leaves the monotonic clock alone: a dead worker's task
//! is given out again in time, across a SIGKILL too, and a timer is never early by the wall clock.
//!
//! Runs with `OUTLAST_FAKETIME=1` (`make test-long`) where libfaketime is installed (Debian: `apt-get install faketime`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{Command as Decision, StartTimerCommandAttributes};
use api::temporal::api::common::v1::WorkflowType;
use api::temporal::api::enums::v1::CommandType;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use grpc::workflow_service_client::WorkflowServiceClient;
use runtime::Runtime;
use tonic::transport::Channel;

#[path = "process/server.rs"]
mod process;

use self::process::Process;

/// How long what takes seconds may take on a busy machine. The clock is set by an hour.
const SOON: Duration = Duration::from_secs(30);
const TASK_TIMEOUT: i64 = 3;

fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"];
    folders.iter().map(|folder| Path::new(folder).join("libfaketimeMT.so.1")).find(|path| path.exists())
}

/// A server whose wall clock is what a file says.
struct Server {
    _process: Process,
    client: WorkflowServiceClient<Channel>,
}

/// Sets the wall clock of the servers: by how much it differs from the machine's.
fn set(folder: &Path, by: &str) {
    std::fs::write(folder.join("time"), by).unwrap();
}

impl Server {
    async fn on(folder: &Path, library: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
        command
            .args(["server", "start-dev", "--port", "0", "--db-filename"])
            .arg(folder.join("outlast.db"))
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", folder.join("time"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        let process = Process::run(&mut command);
        Self { client: process.client().await, _process: process }
    }

    async fn start(&mut self, id: &str) {
        let request = wire::StartWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            workflow_id: id.to_owned(),
            request_id: id.to_owned(),
            workflow_type: Some(WorkflowType { name: "clocked".to_owned() }),
            task_queue: Some(TaskQueue { name: id.to_owned(), ..TaskQueue::default() }),
            workflow_task_timeout: Some(prost_types::Duration { seconds: TASK_TIMEOUT, nanos: 0 }),
            ..wire::StartWorkflowExecutionRequest::default()
        };
        self.client.start_workflow_execution(request).await.unwrap();
    }

    /// The next task of a workflow, if there is one within the time.
    async fn poll(&mut self, id: &str, within: Duration) -> Option<wire::PollWorkflowTaskQueueResponse> {
        let mut request = tonic::Request::new(wire::PollWorkflowTaskQueueRequest {
            namespace: "default".to_owned(),
            task_queue: Some(TaskQueue { name: id.to_owned(), ..TaskQueue::default() }),
            identity: "worker".to_owned(),
            ..wire::PollWorkflowTaskQueueRequest::default()
        });
        request.set_timeout(within);
        let task = self.client.poll_workflow_task_queue(request).await.ok()?.into_inner();
        (!task.task_token.is_empty()).then_some(task)
    }

    async fn start_timer(&mut self, task: wire::PollWorkflowTaskQueueResponse, seconds: i64) {
        let timeout = Some(prost_types::Duration { seconds, nanos: 0 });
        let timer = StartTimerCommandAttributes { timer_id: "t".to_owned(), start_to_fire_timeout: timeout };
        let completed = wire::RespondWorkflowTaskCompletedRequest {
            namespace: "default".to_owned(),
            task_token: task.task_token,
            commands: vec![Decision {
                command_type: CommandType::StartTimer as i32,
                attributes: Some(Attributes::StartTimerCommandAttributes(timer)),
                ..Decision::default()
            }],
            ..wire::RespondWorkflowTaskCompletedRequest::default()
        };
        self.client.respond_workflow_task_completed(completed).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_given_out_again_and_timers_wait_when_the_wall_clock_is_set_back_and_the_process_killed() {
    if std::env::var_os("OUTLAST_FAKETIME").is_none() {
        return;
    }
    let Some(library) = library() else {
        println!("not run: there is no libfaketime here");
        return;
    };
    let (directory, runtime) = (tempfile::tempdir().unwrap(), Runtime::system());
    let folder = directory.path();
    set(folder, "+0");
    let mut server = Server::on(folder, &library).await;
    server.start("dies").await;
    server.start("sleeps").await;
    let task = server.poll("sleeps", SOON).await.unwrap();
    server.start_timer(task, 10).await;
    assert_eq!(server.poll("dies", SOON).await.unwrap().attempt, 1);
    // No node answers.
    set(folder, "-3600");
    assert_eq!(server.poll("dies", SOON).await.unwrap().attempt, 2, "within its timeout, not an hour");
    assert!(server.poll("sleeps", Duration::from_secs(15)).await.is_none(), "early by the wall clock");

    // Killed while the clock is back, and a task is with a worker that dies as well.
    let attempt = server.poll("dies", SOON).await.unwrap().attempt;
    runtime.sleep(Duration::from_secs(1)).await;
    drop(server);
    let mut server = Server::on(folder, &library).await;
    assert!(server.poll("dies", SOON).await.unwrap().attempt > attempt, "within its timeout, not an hour");
    assert!(server.poll("sleeps", Duration::from_secs(5)).await.is_none(), "early by the wall clock");

    // Set right again.
    set(folder, "+0");
    server.poll("sleeps", SOON).await.expect("the timer's task");
}
