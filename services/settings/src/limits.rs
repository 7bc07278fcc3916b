//! What a single request may carry. The public server enforces the same bounds unless noted.

use std::time::Duration;

use crate::{KIB, MIB};

/// Bounds of a request's fields. A value at the bound is accepted, one more is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestLimits {
    /// Any id or name: workflow, activity, signal, task queue, type, identity, request id. Bytes of UTF-8.
    pub id_bytes: usize,
    /// A list of payloads (input, result, details, a signal's or query's arguments) or a header. Bytes.
    pub blob_bytes: usize,
    /// Entries of all lists and maps of one value (a list of payloads with their metadata, a header, a memo, a failure): each
    /// takes hundreds of bytes in memory, however short it is. The public server has no such bound. Count.
    pub elements: usize,
    /// All of a memo. Bytes.
    pub memo_bytes: usize,
    /// Search attributes of one workflow. Count.
    pub search_attribute_keys: usize,
    /// The value of one search attribute. Bytes.
    pub search_attribute_value_bytes: usize,
    /// All names and values of a workflow's search attributes. Bytes.
    pub search_attributes_total_bytes: usize,
    /// The data of a user-metadata summary. Bytes.
    pub summary_bytes: usize,
    /// The data of user-metadata details. Bytes.
    pub details_bytes: usize,
    /// Links in one request. Count.
    pub links: usize,
    /// One encoded link. Bytes.
    pub link_bytes: usize,
    /// A fairness key. Bytes.
    pub fairness_key_bytes: usize,
    /// A longer duration is shortened to this one: 100 years.
    pub longest_duration: Duration,
    /// A page of a listing. Count.
    pub page_size: i32,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            id_bytes: 1000,
            blob_bytes: 2 * MIB,
            elements: 10_000,
            memo_bytes: 2 * MIB,
            search_attribute_keys: 100,
            search_attribute_value_bytes: 2 * KIB,
            search_attributes_total_bytes: 40 * KIB,
            summary_bytes: 400,
            details_bytes: 20_000,
            links: 10,
            link_bytes: 4000,
            fairness_key_bytes: 64,
            longest_duration: Duration::from_secs(100 * 365 * 24 * 3600),
            page_size: 1000,
        }
    }
}
