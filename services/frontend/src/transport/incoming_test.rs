//! Messages as they come: whole, torn, compressed, too large, too slow.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::{Payload, Payloads};
use api::temporal::api::workflowservice::v1 as wire;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use ids::Timestamp;
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use super::*;
use crate::memory::{Bounds, ConnectionShare, RequestMemory};

const MIB: usize = 1024 * 1024;

struct Reading {
    reader: Reader,
    memory: Arc<RequestMemory>,
    account: Account,
    runtime: Runtime,
}

fn reading(total: usize) -> Reading {
    let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
    let memory = RequestMemory::new(Bounds { total, reserve: 0, connection: total, namespace: total });
    let account = Account::new(memory.request(ConnectionShare::default()));
    Reading { reader: Reader::new(TransportSettings::default(), runtime.clone()), memory, account, runtime }
}

impl Reading {
    async fn read(&self, body: Body, gzip: bool) -> Result<Message, Status> {
        self.reader.read(signal_number(), body, gzip, &self.account).await
    }

    async fn refusal(&self, body: Body, gzip: bool) -> (Code, String) {
        let status = self.read(body, gzip).await.err().unwrap();
        (status.code(), status.message().to_owned())
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.memory.request(ConnectionShare::default()).grow(bytes).is_ok()
    }
}

fn signal_number() -> usize {
    methods().named("SignalWorkflowExecution").unwrap()
}

fn signal(payloads: usize, bytes: usize) -> Vec<u8> {
    let payload = Payload { data: Bytes::from(vec![b'x'; bytes]), ..Payload::default() };
    let input = Some(Payloads { payloads: vec![payload; payloads] });
    wire::SignalWorkflowExecutionRequest { input, ..Default::default() }.encode_to_vec()
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flag];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

fn body(bytes: &[u8], part: usize) -> Body {
    let parts: Vec<_> =
        bytes.chunks(part).map(|part| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(part)))).collect();
    Body::new(StreamBody::new(futures::stream::iter(parts)))
}

fn channel() -> (UnboundedSender<Result<Frame<Bytes>, Status>>, Body) {
    let (sender, frames) = unbounded_channel();
    (sender, Body::new(StreamBody::new(UnboundedReceiverStream::new(frames).boxed())))
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_message_is_the_same_wherever_frames_end() {
    let message = signal(3, 100);
    for part in [1, 4, 7, 1000] {
        let read = reading(MIB).read(body(&framed(0, &message), part), false).await.unwrap();
        assert!(matches!(read, Message::Framed(bytes) if bytes == framed(0, &message)));
        let read = reading(MIB).read(body(&framed(1, &gzipped(&message)), part), true).await.unwrap();
        assert!(matches!(&read, Message::Framed(bytes) if *bytes == framed(0, &message)));
        let mut extensions = Extensions::new();
        read.into_body(&mut extensions);
        assert_eq!(extensions.get::<MessageBytes>().map(|bytes| bytes.0), Some(message.len()));
    }
}

#[tokio::test]
async fn what_is_large_is_decoded_before_it_is_handled() {
    let (wide, long) = (signal(3000, 0), signal(1, 300_000));
    for (message, flag) in [(&wide, 0), (&long, 0), (&wide, 1), (&long, 1)] {
        let sent = if flag == 1 { gzipped(message) } else { message.clone() };
        let reading = reading(8 * MIB);
        let read = reading.read(body(&framed(flag, &sent), 16_384), true).await.unwrap();
        assert!(matches!(read, Message::Decoded(..)), "{} bytes", message.len());
        let mut extensions = Extensions::new();
        let rest = read.into_body(&mut extensions).collect().await.unwrap().to_bytes();
        assert_eq!(rest, [0; 5][..]);
        assert!(extensions.get::<Decoded>().is_some());
        assert_eq!(extensions.get::<MessageBytes>().map(|bytes| bytes.0), Some(message.len()));
    }
}

#[tokio::test]
async fn an_announcement_is_charged_before_the_message_comes() {
    let reading = reading(MIB);
    let (sender, body) = channel();
    let mut prefix = vec![0];
    prefix.extend((u32::try_from(MIB).unwrap()).to_be_bytes());
    sender.send(Ok(Frame::data(Bytes::from(prefix.clone())))).unwrap();
    {
        let mut read = std::pin::pin!(reading.read(body, false));
        assert!(futures::poll!(read.as_mut()).is_pending());
        assert!(!reading.has_room_for(1), "nothing of it has come");
    }
    let other = Account::new(reading.memory.request(ConnectionShare::default()));
    let (sender, body) = channel();
    sender.send(Ok(Frame::data(Bytes::from(prefix)))).unwrap();
    let refused = reading.reader.read(signal_number(), body, false, &other).await.err().unwrap();
    assert_eq!(refused.message(), "requests in flight hold 1048576 bytes, at most 1048576 are allowed, try again");
    drop((sender, other));
    let mut too_long = vec![0];
    too_long.extend((u32::try_from(4 * MIB).unwrap() + 1).to_be_bytes());
    let expected = "grpc: received message larger than max (4194305 vs. 4194304)".to_owned();
    assert_eq!(reading.refusal(self::body(&too_long, 5), false).await, (Code::ResourceExhausted, expected));
}

#[tokio::test]
async fn what_a_message_takes_once_decoded_is_charged_before_it_is_decoded() {
    let message = signal(1000, 0);
    assert!(message.len() < 3000);
    let roomy = reading(8 * MIB);
    roomy.read(body(&framed(0, &message), 16_384), false).await.unwrap();
    assert!(!roomy.has_room_for(8 * MIB - 100_000), "and stays so");
    let tight = reading(50_000);
    let (code, text) = tight.refusal(body(&framed(0, &message), 16_384), false).await;
    assert!(code == Code::ResourceExhausted && text.ends_with("at most 50000 are allowed, try again"), "{text}");
}

#[tokio::test]
async fn what_would_take_too_much_is_refused_in_words_that_sdks_know() {
    let reading = reading(256 * MIB);
    let mut elements = signal(100_001, 0);
    let expected =
        "grpc: received message larger than max (100001 vs. 100000) in elements of lists and maps".to_owned();
    assert_eq!(reading.refusal(body(&framed(0, &elements), 16_384), false).await.1, expected);
    // Each with a map of one entry, which takes a node.
    let payload = [0x0a, 4, 0x0a, 2, 0x0a, 0];
    let input = payload.repeat(45_000);
    elements.clear();
    elements.push(0x22);
    prost::encoding::encode_varint(input.len() as u64, &mut elements);
    elements.extend(input);
    let (code, text) = reading.refusal(body(&framed(0, &elements), 16_384), false).await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.starts_with("grpc: received message larger than max (3355"), "{text}");
    assert!(text.ends_with(" vs. 33554432) once decoded"), "{text}");
}

#[tokio::test]
async fn what_is_no_single_message_is_refused() {
    let reading = reading(MIB);
    let message = framed(0, &signal(1, 10));
    let two = [message.clone(), message.clone()].concat();
    let internal = |text: &str| (Code::Internal, text.to_owned());
    let table = [
        (&b""[..], "Missing request message."),
        (&message[..3], "Unexpected EOF decoding stream."),
        (&message[..message.len() - 1], "Unexpected EOF decoding stream."),
        (&two, "a unary request has more than one message"),
        (b"\x02\0\0\0\0", "a message's compression flag is 2, 0 or 1 is needed"),
        (b"\x01\0\0\0\0", "a message is compressed, but grpc-encoding does not say how"),
    ];
    for (bytes, expected) in table {
        assert_eq!(reading.refusal(body(bytes, 4), false).await, internal(expected));
    }
    let (code, text) = reading.refusal(body(&framed(1, b"no gzip"), 100), true).await;
    assert!(code == Code::Internal && text.starts_with("a message cannot be decompressed: "), "{text}");
}

#[tokio::test]
async fn what_a_compressed_message_expands_to_is_charged_as_it_does() {
    let bomb = gzipped(&vec![0; 3 * MIB]);
    assert!(bomb.len() < MIB / 8);
    let (code, text) = reading(MIB).refusal(body(&framed(1, &bomb), 16_384), true).await;
    assert!(code == Code::ResourceExhausted && text.ends_with("at most 1048576 are allowed, try again"), "{text}");
    let bomb = gzipped(&vec![0; 4 * MIB + 1]);
    let expected = "grpc: received message larger than max (4194305 vs. 4194304)";
    assert_eq!(reading(256 * MIB).refusal(body(&framed(1, &bomb), 16_384), true).await.1, expected);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stalls_is_refused_and_one_that_is_slow_is_not() {
    let reading = reading(MIB);
    let message = framed(0, &signal(1, 40_000));
    let part = Duration::from_secs(29);
    let (sender, slow) = channel();
    let runtime = reading.runtime.clone();
    let parts: Vec<_> = message.chunks(PROGRESS).map(Bytes::copy_from_slice).collect();
    runtime.clone().spawn(async move {
        for part_of_it in parts {
            runtime.sleep(part).await;
            sender.send(Ok(Frame::data(part_of_it))).unwrap();
        }
    });
    reading.read(slow, false).await.unwrap();

    let (sender, dripping) = channel();
    let runtime = reading.runtime.clone();
    runtime.clone().spawn(async move {
        for byte in message {
            runtime.sleep(Duration::from_secs(2)).await;
            if sender.send(Ok(Frame::data(Bytes::from(vec![byte])))).is_err() {
                return;
            }
        }
    });
    let began = reading.runtime.now();
    let (code, text) = reading.refusal(dripping, false).await;
    assert_eq!(code, Code::DeadlineExceeded);
    assert!(text.starts_with("the request made no progress within 30s, "), "{text}");
    assert!(reading.runtime.now().since(began) < Duration::from_secs(61), "a byte now and then is no progress");
}
