//! One connection of a driver, and the one to the node behind it.
//!
//! Requests and replies go through four loops that run as one task: a reader and a writer in each direction. When any of
//! them ends, the connection ends, on both sides.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::control::{Modes, ProxyControl, key_of};
use crate::frame::{Frame, Next, next};
use crate::proxy::Route;
use crate::request::{Request, cas_write_unknown, is_unprepared, overloaded, prepared_id, unavailable};
use crate::rule::{Class, Fault, Forward, NodeMode};
use crate::source;

/// One connection after the other is looked up: drivers that all connect anew would otherwise take the machine's
/// processors from the very answers that they wait for.
static LOOKUPS: Semaphore = Semaphore::const_new(1);

/// What becomes of a reply when it comes.
enum Fate {
    Pass { preparing: Option<Arc<str>>, conditional: Option<u64> },
    Drop,
    Delay(Duration),
    Replace(Frame),
    Cut,
}

/// How the client of this connection reaches the node.
#[derive(Clone)]
struct Gate {
    node: usize,
    source: Arc<str>,
    modes: watch::Receiver<Modes>,
}

impl Gate {
    /// Waits until the mode is one that `wanted` accepts, and returns it; nothing when the proxy ends.
    async fn wait(&mut self, wanted: impl Fn(NodeMode) -> bool) -> Option<NodeMode> {
        let (source, node) = (&self.source, self.node);
        let modes = self.modes.wait_for(|modes| wanted(modes.between(source, node))).await.ok()?;
        Some(modes.between(source, node))
    }

    /// Whether something may go on, after waiting for as long as the node stalls.
    async fn passes(&mut self) -> bool {
        self.wait(|mode| mode != NodeMode::Stall).await == Some(NodeMode::Open)
    }
}

/// What every loop of one connection sees.
struct Link {
    node: usize,
    gate: Gate,
    control: ProxyControl,
    /// By stream number, from the request's coming to its reply's.
    fates: Mutex<HashMap<i16, Fate>>,
    /// Numbers for late requests, whose own numbers are free for others by then. Drivers use the low ones.
    late_streams: Mutex<i16>,
    to_node: mpsc::UnboundedSender<Bytes>,
    to_client: mpsc::UnboundedSender<Bytes>,
}

/// Serves one connection until either side, a fault or a node's mode ends it.
pub async fn serve(client: TcpStream, node: usize, route: Route, control: ProxyControl) -> io::Result<()> {
    control.connected();
    let mut cuts = control.cuts(node);
    let (theirs, ours) = (client.peer_addr()?, client.local_addr()?);
    let looking = LOOKUPS.acquire().await;
    let source = tokio::task::spawn_blocking(move || source::name_of(theirs, ours)).await.ok().flatten();
    drop(looking);
    let gate = Gate { node, source: source.unwrap_or_default().into(), modes: control.modes() };
    let (mut opened, mut refused) = (gate.clone(), gate.clone());
    tokio::select! {
        done = async {
            // A node that cannot be reached does not answer, and the client is left to wait.
            if opened.wait(|mode| mode == NodeMode::Open).await.is_none() {
                return Ok(());
            }
            let upstream = TcpStream::connect(route.upstream).await?;
            converse(client, upstream, gate, control).await
        } => done,
        _ = refused.wait(|mode| mode == NodeMode::Refuse) => Ok(()),
        _ = cuts.changed() => Ok(()),
    }
}

async fn converse(client: TcpStream, upstream: TcpStream, gate: Gate, control: ProxyControl) -> io::Result<()> {
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (mut from_client, client_sink) = client.into_split();
    let (from_node, node_sink) = upstream.into_split();
    let mut beginning = BytesMut::new();
    // The first frame has the protocol version of all.
    loop {
        match next(&mut beginning.clone()) {
            Next::Foreign => {
                let (requests, replies) = (gate.clone(), gate);
                return tokio::select! {
                    done = pass_through(from_client, node_sink, requests, beginning) => done,
                    done = pass_through(from_node, client_sink, replies, BytesMut::new()) => done,
                };
            }
            Next::Frame(_) => break,
            Next::More if from_client.read_buf(&mut beginning).await? == 0 => return Ok(()),
            Next::More => {}
        }
    }
    let (to_node, node_queue) = mpsc::unbounded_channel();
    let (to_client, client_queue) = mpsc::unbounded_channel();
    let link = Link {
        node: gate.node,
        gate,
        control,
        fates: Mutex::default(),
        late_streams: Mutex::new(i16::MAX),
        to_node,
        to_client,
    };
    tokio::select! {
        done = link.requests(from_client, beginning) => done,
        done = link.replies(from_node) => done,
        done = write_all(node_queue, node_sink) => done,
        done = write_all(client_queue, client_sink) => done,
    }
}

/// Another protocol's bytes, untouched. Where some were swallowed the rest makes no sense, so there the connection ends.
async fn pass_through(
    mut source: impl AsyncRead + Unpin,
    mut sink: impl AsyncWrite + Unpin,
    mut gate: Gate,
    mut buffer: BytesMut,
) -> io::Result<()> {
    let mut swallowed = false;
    loop {
        if !buffer.is_empty() {
            if gate.passes().await {
                if swallowed {
                    return Ok(());
                }
                sink.write_all(&buffer).await?;
            } else {
                swallowed = true;
            }
            buffer.clear();
        }
        if source.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn write_all(mut queue: mpsc::UnboundedReceiver<Bytes>, mut sink: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(bytes) = queue.recv().await {
        sink.write_all(&bytes).await?;
    }
    Ok(())
}

impl Link {
    async fn requests(&self, mut source: impl AsyncRead + Unpin, mut buffer: BytesMut) -> io::Result<()> {
        let mut gate = self.gate.clone();
        while let Some(frame) = read_frame(&mut source, &mut buffer).await? {
            if !gate.passes().await {
                continue;
            }
            let (request, fault) = self.control.meet(self.node, &frame);
            match fault {
                None => {
                    let conditional = (request.class == Class::Conditional).then(|| key_of(&frame.body()));
                    self.forward(&frame, Fate::Pass { preparing: request.preparing, conditional });
                }
                Some(fault) => {
                    if !self.harm(frame, &request, fault) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    async fn replies(&self, mut source: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut gate = self.gate.clone();
        let mut buffer = BytesMut::new();
        while let Some(frame) = read_frame(&mut source, &mut buffer).await? {
            if !gate.passes().await {
                continue;
            }
            let fate = self.fates.lock().unwrap_or_else(PoisonError::into_inner).remove(&frame.stream());
            match fate {
                // An event, which answers no request.
                None => self.answer(&frame),
                Some(Fate::Pass { preparing, conditional }) => {
                    if let Some(key) = conditional.filter(|_| is_unprepared(&frame)) {
                        self.control.not_prepared(key);
                    }
                    if let (Some(text), Some(id)) = (preparing, prepared_id(&frame)) {
                        self.control.learn(id, text);
                    }
                    self.answer(&frame);
                }
                Some(Fate::Drop) => {}
                Some(Fate::Delay(delay)) => later(delay, self.to_client.clone(), frame),
                Some(Fate::Replace(error)) => self.answer(&error),
                Some(Fate::Cut) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Carries out a fault. False if the connection is to end now.
    fn harm(&self, frame: Frame, request: &Request, fault: Fault) -> bool {
        let version = frame.bytes[0];
        let stream = frame.stream();
        match fault {
            Fault::DropReply => self.forward(&frame, Fate::Drop),
            Fault::DropRequest => {}
            Fault::DelayRequest { min_ms, .. } => {
                self.expect(stream, Fate::Pass { preparing: None, conditional: None });
                later(Duration::from_millis(min_ms), self.to_node.clone(), frame);
            }
            Fault::DelayReply { min_ms, .. } => self.forward(&frame, Fate::Delay(Duration::from_millis(min_ms))),
            Fault::Timeout { forward, write_type } => {
                let error = request.timeout(version, stream, write_type.as_deref());
                self.instead(&frame, error, forward);
            }
            Fault::CasWriteUnknown { forward } => self.instead(&frame, cas_write_unknown(version, stream), forward),
            Fault::Unavailable => self.answer(&unavailable(version, stream)),
            Fault::Overloaded => self.answer(&overloaded(version, stream)),
            Fault::Cut { forward: true } => self.forward(&frame, Fate::Cut),
            Fault::Cut { forward: false } => return false,
        }
        true
    }

    /// Answers with an error in place of the node.
    fn instead(&self, frame: &Frame, error: Frame, forward: Forward) {
        match forward {
            Forward::First => self.forward(frame, Fate::Replace(error)),
            Forward::Never => self.answer(&error),
            Forward::Late { after_ms } => {
                self.answer(&error);
                let stream = self.late_stream();
                self.expect(stream, Fate::Drop);
                later(Duration::from_millis(after_ms), self.to_node.clone(), frame.with_stream(stream));
            }
        }
    }

    fn late_stream(&self) -> i16 {
        let mut last = self.late_streams.lock().unwrap_or_else(PoisonError::into_inner);
        *last = if *last <= i16::MAX / 2 { i16::MAX } else { *last - 1 };
        *last
    }

    fn expect(&self, stream: i16, fate: Fate) {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).insert(stream, fate);
    }

    fn forward(&self, frame: &Frame, fate: Fate) {
        self.expect(frame.stream(), fate);
        // A queue that is gone belongs to a connection that is ending.
        let _ = self.to_node.send(frame.bytes.clone());
    }

    fn answer(&self, frame: &Frame) {
        let _ = self.to_client.send(frame.bytes.clone());
    }
}

/// Sends a frame after a while, if the connection is still there.
fn later(delay: Duration, queue: mpsc::UnboundedSender<Bytes>, frame: Frame) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = queue.send(frame.bytes);
    });
}

/// The next frame, or nothing when the source ends or sends what is no frame.
async fn read_frame(source: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    loop {
        match next(buffer) {
            Next::Frame(frame) => return Ok(Some(frame)),
            Next::Foreign => return Ok(None),
            Next::More if source.read_buf(buffer).await? == 0 => return Ok(None),
            Next::More => {}
        }
    }
}
