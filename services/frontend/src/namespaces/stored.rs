//! The two registry rows of a namespace.

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use bytes::Bytes;
use calls::{Namespace, ServiceError, ServiceResult};
use ids::NamespaceId;
use prost::Message;
use storage::RegistryEntry;

pub(super) const NAME_ROWS: &str = "namespace/name/";
pub(super) const ID_ROWS: &str = "namespace/id/";
const FORMAT: u32 = 1;

pub(super) fn name_row(name: &str) -> String {
    format!("{NAME_ROWS}{name}")
}

pub(super) fn id_row(id: &str) -> String {
    format!("{ID_ROWS}{id}")
}

/// What a namespace is now.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredNamespace {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// Rises by one with each update.
    #[prost(uint64, tag = "2")]
    pub(super) revision: u64,
    #[prost(message, optional, tag = "3")]
    info: Option<NamespaceInfo>,
    #[prost(message, optional, tag = "4")]
    config: Option<NamespaceConfig>,
    /// Names the update that wrote this, so that its writer knows its own write again. Empty as created.
    #[prost(string, tag = "5")]
    update_id: String,
}

impl StoredNamespace {
    pub(super) fn of(namespace: &Namespace, revision: u64, update_id: String) -> Self {
        let (info, config) = (Some(namespace.info.clone()), Some(namespace.config.clone()));
        Self { format: FORMAT, revision, info, config, update_id }
    }

    pub(super) fn read(entry: &RegistryEntry) -> ServiceResult<Self> {
        let stored = Self::decode(entry.value.clone()).map_err(|error| corrupt(&entry.key, &error.to_string()))?;
        if stored.format != FORMAT {
            return Err(unknown_format(&entry.key, stored.format));
        }
        Ok(stored)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        Bytes::from(self.encode_to_vec())
    }

    pub(super) fn into_namespace(self) -> ServiceResult<Namespace> {
        let info = self.info.ok_or_else(|| corrupt(ID_ROWS, "a namespace without info"))?;
        let config = self.config.unwrap_or_default();
        Ok(Namespace { id: NamespaceId::new(&info.id), name: info.name.clone(), info, config })
    }
}

/// Takes a name, and makes its namespace exist.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Claim {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(message, optional, tag = "3")]
    created: Option<StoredNamespace>,
}

impl Claim {
    pub(super) fn of(namespace: &Namespace) -> Self {
        let created = Some(StoredNamespace::of(namespace, 1, String::new()));
        Self { format: FORMAT, id: namespace.id.as_str().to_owned(), created }
    }

    pub(super) fn read(entry: &RegistryEntry) -> ServiceResult<Self> {
        let claim = Self::decode(entry.value.clone()).map_err(|error| corrupt(&entry.key, &error.to_string()))?;
        if claim.format != FORMAT {
            return Err(unknown_format(&entry.key, claim.format));
        }
        Ok(claim)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        Bytes::from(self.encode_to_vec())
    }

    pub(super) fn id_row(&self) -> String {
        id_row(&self.id)
    }

    /// The second row, as the creator would write it: the same bytes from every writer.
    pub(super) fn created_bytes(&self) -> Bytes {
        self.created.as_ref().map(StoredNamespace::to_bytes).unwrap_or_default()
    }

    pub(super) fn into_created(self) -> ServiceResult<StoredNamespace> {
        self.created.ok_or_else(|| corrupt(NAME_ROWS, "a claim without a namespace"))
    }
}

fn corrupt(row: &str, what: &str) -> ServiceError {
    ServiceError::DataLoss(format!("registry row {row:?} cannot be read: {what}"))
}

fn unknown_format(row: &str, format: u32) -> ServiceError {
    ServiceError::DataLoss(format!("registry row {row:?} has format {format}, this release reads {FORMAT}"))
}
