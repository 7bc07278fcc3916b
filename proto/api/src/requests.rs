//! What requests have in common. The build implements these for every request of a service that has the field.

use bytes::Bytes;

/// A request that names a namespace.
pub trait InNamespace {
    /// The namespace's name, as the caller gave it. Workers may leave it empty where a task token says it.
    fn namespace(&self) -> &str;
}

/// A request about a task that was handed out.
pub trait HasTaskToken: InNamespace {
    /// The task's token, as the caller gave it.
    fn task_token(&self) -> &Bytes;
}
