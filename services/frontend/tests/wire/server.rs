//! A frontend on a loopback socket, and clients of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use frontend::{Directory, Frontend, StartError};
use grpc::workflow_service_client::WorkflowServiceClient;
use runtime::Runtime;
use settings::FrontendSettings;
use storage::memory::MemoryStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::neighbours::Neighbours;

pub type Client = WorkflowServiceClient<Channel>;

/// A running server with the namespaces `default` and `other`.
pub struct Server {
    pub address: SocketAddr,
    pub neighbours: Arc<Neighbours>,
    pub store: MemoryStore,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<Result<(), StartError>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Server {
    /// On a new store, with the default settings.
    pub async fn start() -> Self {
        Self::on(MemoryStore::new(), FrontendSettings::default()).await
    }

    /// On this store: what it holds survives.
    pub async fn on(store: MemoryStore, settings: FrontendSettings) -> Self {
        let neighbours = Arc::new(Neighbours::default());
        let (history, matching) = (Arc::clone(&neighbours), Arc::clone(&neighbours));
        let directory = Arc::new(Directory::new(store.store().registry, Runtime::system()));
        directory.follow().await.unwrap();
        let frontend = Frontend::new(settings, history, matching, directory, Runtime::system()).await.unwrap();
        frontend.ensure_namespace("default").await.unwrap();
        frontend.ensure_namespace("other").await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let served = Runtime::system().spawn(async move { frontend.serve(listener, stop).await });
        Self { address, neighbours, store, shutdown, served }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect_timeout(Duration::from_secs(10)).connect().await.unwrap()
    }

    /// A client that neither sends nor accepts compressed messages.
    pub async fn client(&self) -> Client {
        WorkflowServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }
}
