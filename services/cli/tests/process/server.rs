//! A server process of a test's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use grpc::workflow_service_client::WorkflowServiceClient;
use tonic::transport::Channel;

/// A server that runs; killed when dropped.
pub struct Process {
    pub child: Child,
    address: String,
}

impl Process {
    /// Runs what starts one, and returns once it serves.
    pub fn run(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.find_map(|line| line.strip_prefix("server:  ").map(str::to_owned)).unwrap();
        Self { child, address }
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> WorkflowServiceClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        WorkflowServiceClient::new(channel)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
