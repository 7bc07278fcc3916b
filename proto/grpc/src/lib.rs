//! tonic clients and server traits for WorkflowService, OperatorService and TestService.
//!
//! Every method of a server trait has a default body; the frontend answers methods it does not serve before they get
//! here, because the generated text is not the one clients know.

#[allow(clippy::all, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

pub use generated::temporal::api::operatorservice::v1::{operator_service_client, operator_service_server};
pub use generated::temporal::api::testservice::v1::{test_service_client, test_service_server};
pub use generated::temporal::api::workflowservice::v1::{workflow_service_client, workflow_service_server};
