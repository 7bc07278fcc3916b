//! Reflection, for tools that ask a server what it speaks.

use tonic_reflection::server::{Builder, v1, v1alpha};

use crate::frontend::StartError;
use crate::methods::methods;

/// The services that reflection lists; methods that are not served answer so.
fn builder() -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(api::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    methods().services().into_iter().fold(builder, Builder::with_service_name)
}

/// `grpc.reflection.v1.ServerReflection`.
pub(super) fn current() -> Result<v1::ServerReflectionServer<impl v1::ServerReflection>, StartError> {
    builder().build_v1().map_err(|error| StartError::Reflection(error.to_string()))
}

/// `grpc.reflection.v1alpha.ServerReflection`, which older tools ask.
pub(super) fn former() -> Result<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>, StartError> {
    builder().build_v1alpha().map_err(|error| StartError::Reflection(error.to_string()))
}
