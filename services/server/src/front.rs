//! The frontend of a process, serving.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use frontend::Frontend;
use runtime::Runtime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ServerSettings;
use crate::retry_until_ready::retry_until_ready;
use crate::server::StartError;
use crate::services::Services;

/// A frontend and its listener.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), frontend::StartError>>,
}

impl Front {
    /// Serves the API on `listener`.
    pub(crate) async fn open(
        settings: &ServerSettings,
        store_name: &str,
        listener: TcpListener,
        services: &Services,
        runtime: &Runtime,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr().unwrap_or(SocketAddr::new(settings.ip, settings.port));
        let mut own = settings.frontend.clone();
        own.history_shards = i32::try_from(settings.history_shards).unwrap_or(i32::MAX);
        store_name.clone_into(&mut own.persistence_store);
        let (history, matching) = (Arc::clone(&services.any_history), Arc::clone(&services.any_matching));
        let open = async || {
            let (history, matching) = (Arc::clone(&history), Arc::clone(&matching));
            let opening =
                Frontend::new(own.clone(), history, matching, Arc::clone(&services.directory), runtime.clone());
            let frontend = opening.await?;
            ensure_namespaces(&frontend, &settings.namespaces).await?;
            Ok(frontend)
        };
        let frontend = retry_until_ready(runtime, "starting the frontend", open).await?;
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving = runtime.spawn(async move { frontend.serve(listener, stop).await });
        Ok(Self { address, shutdown, serving })
    }

    /// Returns when serving has ended by itself, and why.
    pub(crate) async fn failed(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "the listener has closed".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("the serving task panicked: {error}"),
        }
    }

    /// Takes no more connections, ends polls, lets requests finish within the shutdown grace, and none go on after `within`.
    pub(crate) async fn stop(mut self, within: Duration, runtime: &Runtime) {
        self.shutdown.cancel();
        if self.serving.is_finished() {
            return;
        }
        match runtime.timeout(within, &mut self.serving).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::error!(%error, "the serving task panicked"),
            None => self.serving.abort(),
        }
    }
}

async fn ensure_namespaces(frontend: &Frontend, wanted: &[String]) -> Result<(), StartError> {
    for name in std::iter::once("default").chain(wanted.iter().map(String::as_str)) {
        if let Err(source) = frontend.ensure_namespace(name).await {
            return Err(StartError::Namespace { name: name.to_owned(), source });
        }
    }
    Ok(())
}
