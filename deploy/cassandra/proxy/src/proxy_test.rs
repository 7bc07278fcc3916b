//! The proxy between a client and a node, both made here: what reaches whom, under each fault.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::frame::{Frame, Next, next, opcode};
use crate::{Class, Fault, Forward, NodeMode, Proxy, ProxyControl, Route, Rule};

const LWT: &str = "UPDATE t SET v = 1 WHERE p = 1 IF v = 0";
const READ: &str = "SELECT v FROM t WHERE p = 1";
/// Long enough for loopback on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to say that nothing comes.
const NEVER: Duration = Duration::from_millis(150);

/// A connection, whichever side.
struct End {
    stream: TcpStream,
    buffer: BytesMut,
}

impl End {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    async fn send(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.bytes).await.expect("the connection stands");
    }

    /// The next frame; nothing at the connection's end.
    async fn receive(&mut self) -> Option<Frame> {
        loop {
            match next(&mut self.buffer) {
                Next::Frame(frame) => return Some(frame),
                Next::Foreign => panic!("no frame: {:?}", self.buffer),
                Next::More => {}
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn soon(&mut self) -> Option<Frame> {
        timeout(SOON, self.receive()).await.expect("something comes soon")
    }

    async fn nothing(&mut self) {
        assert_eq!(timeout(NEVER, self.receive()).await.ok(), None, "nothing was to come");
    }
}

fn query(stream: i16, text: &str) -> Frame {
    ask(opcode::QUERY, stream, text)
}

fn ask(opcode: u8, stream: i16, text: &str) -> Frame {
    let body = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes(), &[0, 6, 0]].concat();
    Frame::new(4, stream, opcode, &body)
}

/// What the node answers: for PREPARE an id, for all else an empty result.
/// How a request ends whose statement the node does not know.
const UNKNOWN_HERE: u8 = 0xee;

fn reply(request: &Frame) -> Frame {
    if request.opcode() == opcode::EXECUTE && request.body().ends_with(&[UNKNOWN_HERE]) {
        return Frame::new(0x84, request.stream(), opcode::ERROR, &[0, 0, 0x25, 0, 0, 0, 0, 2, b'i', b'd']);
    }
    let body: &[u8] = if request.opcode() == opcode::PREPARE { &[0, 0, 0, 4, 0, 2, b'i', b'd'] } else { &[0, 0, 0, 1] };
    Frame::new(0x84, request.stream(), opcode::RESULT, body)
}

/// A node that answers everything and records what it got, a proxy before it, and one client connected to that.
struct Stage {
    client: End,
    node: mpsc::UnboundedReceiver<Frame>,
    control: ProxyControl,
    proxy: Proxy,
}

async fn stage() -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let upstream = listener.local_addr().expect("an address");
    let (received, node) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let received = received.clone();
            tokio::spawn(async move {
                let mut end = End::new(stream);
                while let Some(frame) = end.receive().await {
                    let _ = received.send(frame.clone());
                    end.send(&reply(&frame)).await;
                }
            });
        }
    });
    let route = Route { listen: "127.0.0.1:0".parse().expect("an address"), upstream };
    let proxy = Proxy::start(&[route], 7).await.expect("a proxy");
    let client = End::new(TcpStream::connect(proxy.addresses()[0]).await.expect("a connection"));
    Stage { client, node, control: proxy.control(), proxy }
}

impl Stage {
    fn rule(&self, rule: Rule) {
        self.control.set_rules(vec![rule]);
    }

    async fn node_got(&mut self) -> Frame {
        timeout(SOON, self.node.recv()).await.expect("the node gets something soon").expect("the node is there")
    }

    async fn node_got_nothing(&mut self) {
        assert!(timeout(NEVER, self.node.recv()).await.is_err(), "the node was to get nothing");
    }

    async fn reconnect(&mut self) {
        self.client = End::new(TcpStream::connect(self.proxy.addresses()[0]).await.expect("a connection"));
    }
}

fn error_code(frame: &Frame) -> u32 {
    assert_eq!(frame.opcode(), opcode::ERROR);
    u32::from_be_bytes(frame.body()[..4].try_into().expect("four bytes"))
}

#[tokio::test]
async fn without_rules_frames_pass_unchanged_and_are_counted() {
    let mut stage = stage().await;
    for (stream, text) in [(0, READ), (1, LWT), (2, "INSERT INTO t (p) VALUES (1)"), (3, "USE ks")] {
        let request = query(stream, text);
        stage.client.send(&request).await;
        assert_eq!(stage.node_got().await, request);
        assert_eq!(stage.client.soon().await, Some(reply(&request)));
    }
    let counts = stage.control.counts();
    assert_eq!(counts.connections, 1);
    for class in [Class::Read, Class::Conditional, Class::Write, Class::Other] {
        assert_eq!(counts.seen[&class], 1, "{class:?}");
    }
    assert!(counts.faults.is_empty() && counts.resent.is_empty());
}

#[tokio::test]
async fn a_dropped_reply_and_a_dropped_request_look_the_same_to_the_client() {
    for (fault, arrives) in [(Fault::DropReply, true), (Fault::DropRequest, false)] {
        let mut stage = stage().await;
        stage.rule(Rule::new(Class::Conditional, 1.0, fault));
        stage.client.send(&query(0, LWT)).await;
        if arrives {
            assert_eq!(stage.node_got().await, query(0, LWT));
        } else {
            stage.node_got_nothing().await;
        }
        stage.client.nothing().await;
        // Others on the same connection go on.
        stage.client.send(&query(1, READ)).await;
        assert_eq!(stage.client.soon().await, Some(reply(&query(1, READ))));
        assert_eq!(stage.control.counts().faulted(Class::Conditional), 1);
    }
}

#[tokio::test]
async fn a_timeout_may_stand_for_a_write_that_happened_or_did_not_or_happens_later() {
    for forward in [Forward::First, Forward::Never, Forward::Late { after_ms: 100 }] {
        let mut stage = stage().await;
        stage.rule(Rule::new(Class::Conditional, 1.0, Fault::Timeout { forward, write_type: None }).at_most(1));
        stage.client.send(&query(0, LWT)).await;
        let answer = stage.client.soon().await.expect("an answer");
        assert_eq!((answer.stream(), error_code(&answer)), (0, 0x1100));
        // The client may use the stream number again, while the late request is still to come.
        stage.client.send(&query(0, READ)).await;
        assert_eq!(stage.client.soon().await, Some(reply(&query(0, READ))));
        let mut got = vec![stage.node_got().await];
        if forward != Forward::Never {
            got.push(stage.node_got().await);
        }
        let bodies: Vec<Bytes> = got.iter().map(Frame::body).collect();
        let (lwt, read) = (query(0, LWT).body(), query(0, READ).body());
        match forward {
            Forward::First => assert_eq!(bodies, [lwt, read]),
            Forward::Never => assert_eq!(bodies, [read]),
            Forward::Late { .. } => assert_eq!(bodies, [read, lwt]),
        }
        // The reply to the late request is dropped.
        stage.client.nothing().await;
    }
}

#[tokio::test]
async fn refusals_never_reach_the_node() {
    for (fault, code) in [
        (Fault::Unavailable, 0x1000),
        (Fault::Overloaded, 0x1001),
        (Fault::CasWriteUnknown { forward: Forward::Never }, 0x1700),
    ] {
        let mut stage = stage().await;
        stage.rule(Rule { class: None, ..Rule::new(Class::Read, 1.0, fault) });
        stage.client.send(&query(5, LWT)).await;
        assert_eq!(stage.client.soon().await.as_ref().map(error_code), Some(code));
        stage.client.send(&query(6, READ)).await;
        assert_eq!(stage.client.soon().await.as_ref().map(error_code), Some(code));
        stage.node_got_nothing().await;
        // What drivers ask about the cluster is met only by rules that say so.
        stage.client.send(&query(7, "SELECT * FROM system.local")).await;
        assert_eq!(stage.client.soon().await.map(|frame| frame.opcode()), Some(opcode::RESULT));
    }
}

#[tokio::test]
async fn a_cut_connection_ends_with_the_request_carried_out_or_not() {
    for forward in [true, false] {
        let mut stage = stage().await;
        stage.rule(Rule::new(Class::Conditional, 1.0, Fault::Cut { forward }));
        stage.client.send(&query(0, LWT)).await;
        assert_eq!(stage.client.soon().await, None, "the connection ends");
        if forward {
            assert_eq!(stage.node_got().await, query(0, LWT));
        } else {
            stage.node_got_nothing().await;
        }
    }
}

#[tokio::test]
async fn delays_hold_one_request_and_let_others_pass() {
    for fault in [Fault::DelayRequest { min_ms: 100, max_ms: 120 }, Fault::DelayReply { min_ms: 100, max_ms: 120 }] {
        let mut stage = stage().await;
        stage.rule(Rule::new(Class::Conditional, 1.0, fault));
        stage.client.send(&query(0, LWT)).await;
        stage.client.send(&query(1, READ)).await;
        let streams = [stage.client.soon().await, stage.client.soon().await].map(|frame| frame.map(|it| it.stream()));
        assert_eq!(streams, [Some(1), Some(0)]);
    }
}

#[tokio::test]
async fn prepared_statements_are_known_on_every_connection() {
    let mut stage = stage().await;
    stage.client.send(&ask(opcode::PREPARE, 0, LWT)).await;
    stage.client.soon().await;
    stage.reconnect().await;
    stage.rule(Rule::new(Class::Conditional, 1.0, Fault::Unavailable));
    let execute = Frame::new(4, 3, opcode::EXECUTE, &[0, 2, b'i', b'd', 0, 6, 0]);
    stage.client.send(&execute).await;
    assert_eq!(stage.client.soon().await.as_ref().map(error_code), Some(0x1000));
    stage.control.clear_rules();
    stage.client.send(&execute).await;
    assert_eq!(stage.client.soon().await, Some(reply(&execute)));
    let resent = stage.control.counts().resent;
    assert_eq!((resent.len(), resent[0].times, resent[0].statement.as_str()), (1, 2, LWT));
    stage.control.reset_counts();
    assert!(stage.control.counts().resent.is_empty());
}

/// Drivers prepare a statement again that a restarted node has forgotten, and send the same request once more.
#[tokio::test]
async fn a_request_whose_statement_the_node_did_not_know_was_not_carried_out() {
    let mut stage = stage().await;
    stage.client.send(&ask(opcode::PREPARE, 0, LWT)).await;
    stage.client.soon().await;
    let execute = Frame::new(4, 3, opcode::EXECUTE, &[0, 2, b'i', b'd', 0, 6, UNKNOWN_HERE]);
    for _ in 0..2 {
        stage.client.send(&execute).await;
        assert_eq!(stage.client.soon().await.as_ref().map(error_code), Some(0x2500));
    }
    assert!(stage.control.counts().resent.is_empty());
}

#[tokio::test]
async fn rules_can_mean_one_table_one_node_and_so_many_times() {
    let mut stage = stage().await;
    let rule = Rule::new(Class::Read, 1.0, Fault::Unavailable);
    let refused = async |stage: &mut Stage, text: &str| {
        stage.client.send(&query(0, text)).await;
        stage.client.soon().await.is_some_and(|frame| frame.opcode() == opcode::ERROR)
    };
    stage.rule(rule.clone().containing("FROM LOGS"));
    assert!(!refused(&mut stage, READ).await);
    assert!(refused(&mut stage, "select v from logs").await);
    stage.rule(rule.clone().on_node(1));
    assert!(!refused(&mut stage, READ).await);
    stage.rule(rule.clone().at_most(2));
    let three = [refused(&mut stage, READ).await, refused(&mut stage, READ).await, refused(&mut stage, READ).await];
    assert_eq!(three, [true, true, false]);
    stage.rule(Rule { probability: 0.5, ..rule });
    let mut refusals = 0;
    for _ in 0..200 {
        refusals += u32::from(refused(&mut stage, READ).await);
    }
    assert!((60..140).contains(&refusals), "{refusals} of 200");
}

#[tokio::test]
async fn a_node_can_be_gone_silent_or_stalled() {
    let mut stage = stage().await;
    stage.client.send(&query(0, READ)).await;
    stage.client.soon().await;
    stage.node_got().await;

    stage.control.set_mode(0, NodeMode::Stall);
    stage.client.send(&query(1, READ)).await;
    stage.node_got_nothing().await;
    stage.control.set_mode(0, NodeMode::Open);
    assert_eq!(stage.client.soon().await, Some(reply(&query(1, READ))), "what stalled arrives in the end");
    stage.node_got().await;

    stage.control.set_mode(0, NodeMode::Swallow);
    stage.client.send(&query(2, READ)).await;
    stage.node_got_nothing().await;
    stage.control.set_mode(0, NodeMode::Open);
    stage.client.nothing().await;

    stage.control.set_mode(0, NodeMode::Refuse);
    assert_eq!(stage.client.soon().await, None);
    stage.reconnect().await;
    assert_eq!(stage.client.soon().await, None, "new connections are closed");
    stage.control.heal();
    stage.reconnect().await;
    stage.client.send(&query(0, READ)).await;
    assert_eq!(stage.client.soon().await, Some(reply(&query(0, READ))));
    stage.control.cut(0);
    assert_eq!(stage.client.soon().await, None);
}

#[tokio::test]
async fn another_protocol_passes_through_untouched() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let route = Route {
        listen: "127.0.0.1:0".parse().expect("an address"),
        upstream: listener.local_addr().expect("an address"),
    };
    let proxy = Proxy::start(&[route], 1).await.expect("a proxy");
    proxy.control().set_rules(vec![Rule::new(Class::Other, 1.0, Fault::DropRequest)]);
    let mut client = TcpStream::connect(proxy.addresses()[0]).await.expect("a connection");
    client.write_all(b"\x05hello").await.expect("sent");
    let (mut node, _) = timeout(SOON, listener.accept()).await.expect("soon").expect("a connection");
    let mut got = [0; 6];
    node.read_exact(&mut got).await.expect("arrives");
    assert_eq!(&got, b"\x05hello");
    node.write_all(b"\x85there").await.expect("sent");
    client.read_exact(&mut got).await.expect("arrives");
    assert_eq!(&got, b"\x85there");

    proxy.control().set_mode(0, NodeMode::Stall);
    client.write_all(b"\x05later").await.expect("sent");
    assert!(timeout(NEVER, node.read_exact(&mut got)).await.is_err(), "it stalls");
    proxy.control().heal();
    timeout(SOON, node.read_exact(&mut got)).await.expect("soon").expect("arrives");
    assert_eq!(&got, b"\x05later");
}

#[tokio::test]
async fn one_process_can_be_cut_off_while_others_are_not() {
    let mut stage = stage().await;
    // Another process connects, and says by its environment who it is.
    let script = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.recv(1)";
    let address = stage.proxy.addresses()[0];
    let mut other = tokio::process::Command::new("python3")
        .args(["-c", script, &address.ip().to_string(), &address.port().to_string()])
        .env("PROXY_SOURCE", "other")
        .kill_on_drop(true)
        .spawn()
        .expect("python3");
    timeout(SOON, async {
        while stage.control.counts().connections < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it connects");
    stage.control.set_link("stranger", 0, NodeMode::Refuse);
    assert!(timeout(NEVER, other.wait()).await.is_err(), "it waits for a byte");
    stage.control.set_link("other", 0, NodeMode::Refuse);
    timeout(SOON, other.wait()).await.expect("its connection ends").expect("and so it does");
    stage.client.send(&query(1, READ)).await;
    assert_eq!(stage.client.soon().await, Some(reply(&query(1, READ))), "others are served");
}
