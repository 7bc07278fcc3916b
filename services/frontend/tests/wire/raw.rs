//! Calls below the generated client: any path, any bytes.

use bytes::{Buf, BufMut, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Bytes as they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Sends `message` to `path`.
pub async fn call(channel: &Channel, path: &str, message: impl Into<Bytes>) -> Result<Response<Bytes>, Status> {
    send(channel, path, Request::new(message.into())).await
}

/// Sends `request` to `path`.
pub async fn send(channel: &Channel, path: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    send_by(Grpc::new(channel.clone()), path, request).await
}

/// Sends `message` to `path`, compressed.
pub async fn call_compressed(
    channel: &Channel,
    path: &str,
    message: impl Into<Bytes>,
) -> Result<Response<Bytes>, Status> {
    let grpc = Grpc::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    send_by(grpc, path, Request::new(message.into())).await
}

async fn send_by(mut grpc: Grpc<Channel>, path: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    grpc.ready().await.unwrap();
    grpc.unary(request, path.parse().unwrap(), Raw).await
}
