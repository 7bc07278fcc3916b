//! OperatorService: its rows of the table of methods, and a file for each method.

mod list_clusters;

use crate::methods::{Method, row};

/// The full name of the service.
const NAME: &str = "temporal.api.operatorservice.v1.OperatorService";

/// The methods that are served.
pub(crate) fn methods() -> Vec<Method> {
    vec![row!(ListClusters, list_clusters, Read)]
}
