//! Sizes of what users send: payloads, headers, memos, user metadata.

use api::Held;
use api::temporal::api::common::v1::{Header, Memo, Payloads};
use api::temporal::api::sdk::v1::UserMetadata;
use api::texts;
use calls::ServiceResult;
use prost::Message;
use settings::RequestLimits;

use super::invalid;

/// Whether `payloads` fit into one blob.
pub(crate) fn fit(payloads: Option<&Payloads>, limits: &RequestLimits) -> bool {
    payloads
        .is_none_or(|payloads| payloads.encoded_len() <= limits.blob_bytes && payloads.elements() <= limits.elements)
}

/// A list of payloads.
pub(crate) fn blob(field: &str, payloads: Option<&Payloads>, limits: &RequestLimits) -> ServiceResult<()> {
    sized(texts::BLOB_TOO_LARGE, field, payloads, limits.blob_bytes, limits)
}

/// Free text.
pub(crate) fn text(field: &str, text: &str, limits: &RequestLimits) -> ServiceResult<()> {
    bounded(field, text.len(), limits.details_bytes)
}

/// A header.
pub(crate) fn header(header: Option<&Header>, limits: &RequestLimits) -> ServiceResult<()> {
    sized(texts::BLOB_TOO_LARGE, "header", header, limits.blob_bytes, limits)
}

/// A memo.
pub(crate) fn memo(memo: Option<&Memo>, limits: &RequestLimits) -> ServiceResult<()> {
    sized(texts::MEMO_TOO_LARGE, "memo", memo, limits.memo_bytes, limits)
}

/// Summary and details of a workflow.
pub(crate) fn user_metadata(metadata: Option<&UserMetadata>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(metadata) = metadata else { return Ok(()) };
    let data =
        |payload: Option<&_>| payload.map_or(0, |payload: &api::temporal::api::common::v1::Payload| payload.data.len());
    bounded("user_metadata.summary", data(metadata.summary.as_ref()), limits.summary_bytes)?;
    bounded("user_metadata.details", data(metadata.details.as_ref()), limits.details_bytes)?;
    counted("user_metadata", metadata, limits)
}

/// What is wrong with payloads that do not fit.
pub(crate) fn excess(what: &str, payloads: Option<&Payloads>, limits: &RequestLimits) -> String {
    let (bytes, elements) = payloads.map_or((0, 0), |payloads| (payloads.encoded_len(), payloads.elements()));
    if bytes > limits.blob_bytes {
        return format!(
            "{} {what} is {bytes} bytes long, at most {} are allowed",
            texts::BLOB_TOO_LARGE,
            limits.blob_bytes
        );
    }
    format!("{what} has {elements} elements, at most {} are allowed", limits.elements)
}

fn sized(
    said: &str,
    field: &str,
    value: Option<&(impl Message + Held)>,
    allowed: usize,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    let Some(value) = value else { return Ok(()) };
    let bytes = value.encoded_len();
    if bytes > allowed {
        return invalid(format!("{said} {field} is {bytes} bytes long, at most {allowed} are allowed"));
    }
    counted(field, value, limits)
}

fn counted(field: &str, value: &impl Held, limits: &RequestLimits) -> ServiceResult<()> {
    let count = value.elements();
    if count <= limits.elements {
        return Ok(());
    }
    invalid(format!("{field} has {count} elements, at most {} are allowed", limits.elements))
}

fn bounded(field: &str, bytes: usize, allowed: usize) -> ServiceResult<()> {
    if bytes <= allowed {
        return Ok(());
    }
    invalid(format!("{field} is {bytes} bytes long, at most {allowed} are allowed"))
}

#[cfg(test)]
mod tests {
    use api::temporal::api::common::v1::Payload;
    use bytes::Bytes;

    use super::*;

    /// Payloads whose encoding takes exactly `bytes`.
    fn of_size(bytes: usize) -> Payloads {
        let with = |data: usize| Payloads {
            payloads: vec![Payload { data: Bytes::from(vec![7; data]), ..Payload::default() }],
        };
        let overhead = with(bytes - 16).encoded_len() - (bytes - 16);
        let payloads = with(bytes - overhead);
        assert_eq!(payloads.encoded_len(), bytes);
        payloads
    }

    #[test]
    fn a_blob_may_be_two_mebibytes_and_not_one_byte_more() {
        let limits = RequestLimits::default();
        assert_eq!(blob("input", Some(&of_size(2 * 1024 * 1024)), &limits), Ok(()));
        let refused = blob("input", Some(&of_size(2 * 1024 * 1024 + 1)), &limits).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Blob data size exceeds limit. input is 2097153 bytes long, at most 2097152 are allowed"
        );
    }

    #[test]
    fn elements_are_counted_with_the_metadata_of_payloads() {
        let limits = RequestLimits::default();
        let of = |count: usize| Payloads { payloads: vec![Payload::default(); count] };
        assert_eq!(blob("input", Some(&of(10_000)), &limits), Ok(()));
        assert!(fit(Some(&of(10_000)), &limits) && !fit(Some(&of(10_001)), &limits));
        let refused = blob("input", Some(&of(10_001)), &limits).unwrap_err();
        assert_eq!(refused.to_string(), "input has 10001 elements, at most 10000 are allowed");
        assert_eq!(
            excess("result", Some(&of(10_001)), &limits),
            "result has 10001 elements, at most 10000 are allowed"
        );
        let metadata = (0..5_001).map(|number| (number.to_string(), Bytes::new())).collect();
        let with = Payload { metadata, ..Payload::default() };
        let fields = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), with.clone())).collect();
        assert_eq!(memo(Some(&Memo { fields: fields(&["a"]) }), &limits), Ok(()));
        let refused = memo(Some(&Memo { fields: fields(&["a", "b"]) }), &limits).unwrap_err();
        assert_eq!(refused.to_string(), "memo has 10004 elements, at most 10000 are allowed");
    }

    #[test]
    fn user_metadata_is_measured_by_its_data() {
        let limits = RequestLimits::default();
        let with = |summary, details| UserMetadata {
            summary: Some(Payload { data: Bytes::from(vec![b'x'; summary]), ..Payload::default() }),
            details: Some(Payload { data: Bytes::from(vec![b'x'; details]), ..Payload::default() }),
        };
        assert_eq!(user_metadata(Some(&with(400, 20_000)), &limits), Ok(()));
        let summary = user_metadata(Some(&with(401, 0)), &limits).unwrap_err().to_string();
        assert_eq!(summary, "user_metadata.summary is 401 bytes long, at most 400 are allowed");
        assert!(user_metadata(Some(&with(0, 20_001)), &limits).is_err());
    }
}
