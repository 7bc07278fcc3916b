//! Steering a proxy from another process: a JSON command a line, a JSON answer a line.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::control::ProxyControl;
use crate::rule::{NodeMode, Rule};

/// What can be asked, as in `{"command":"mode","node":0,"mode":"swallow"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Replace all rules.
    Rules {
        /// The new ones.
        rules: Vec<Rule>,
    },
    /// Say whether a node can be reached.
    Mode {
        /// Counted from 0.
        node: usize,
        /// How.
        mode: NodeMode,
    },
    /// Say whether one process can reach a node.
    Link {
        /// The value of its `PROXY_SOURCE`.
        source: String,
        /// Counted from 0.
        node: usize,
        /// How.
        mode: NodeMode,
    },
    /// Break every connection to a node.
    Cut {
        /// Counted from 0.
        node: usize,
    },
    /// Open every node and remove all rules.
    Heal,
    /// Answer with what was seen and done.
    Counts,
    /// Count from zero.
    ResetCounts,
}

/// Serves commands until the future is dropped.
///
/// # Errors
///
/// The listener failed.
pub async fn serve_control(listener: TcpListener, control: ProxyControl) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, control.clone()));
    }
}

async fn converse(stream: TcpStream, control: ProxyControl) -> io::Result<()> {
    let (source, mut sink) = stream.into_split();
    let mut lines = BufReader::new(source).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = match serde_json::from_str(&line) {
            Ok(command) => obey(command, &control),
            Err(error) => serde_json::json!({ "error": format!("not a command: {error}") }),
        }
        .to_string();
        answer.push('\n');
        sink.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn obey(command: Command, control: &ProxyControl) -> serde_json::Value {
    if let Command::Mode { node, .. } | Command::Link { node, .. } | Command::Cut { node } = &command
        && *node >= control.nodes()
    {
        return serde_json::json!({ "error": format!("node {node} does not exist: there are {}", control.nodes()) });
    }
    match command {
        Command::Rules { rules } => control.set_rules(rules),
        Command::Mode { node, mode } => control.set_mode(node, mode),
        Command::Link { source, node, mode } => control.set_link(&source, node, mode),
        Command::Cut { node } => control.cut(node),
        Command::Heal => control.heal(),
        Command::Counts => return serde_json::json!(control.counts()),
        Command::ResetCounts => control.reset_counts(),
    }
    serde_json::json!({ "ok": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commands_are_lines_of_json_and_mistakes_are_named() {
        let control = ProxyControl::new(1, 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve_control(listener, control.clone()));
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (source, mut sink) = stream.into_split();
        let mut lines = BufReader::new(source).lines();
        let fault = r#"{"kind":"timeout","forward":{"late":{"after_ms":50}}}"#;
        let rule = format!(r#"{{"class":"conditional","probability":0.05,"fault":{fault}}}"#);
        for (line, answer) in [
            (format!(r#"{{"command":"rules","rules":[{rule}]}}"#), r#"{"ok":true}"#),
            (r#"{"command":"mode","node":0,"mode":"swallow"}"#.to_owned(), r#"{"ok":true}"#),
            (r#"{"command":"mode","node":1,"mode":"open"}"#.to_owned(), "node 1 does not exist"),
            (r#"{"command":"dance"}"#.to_owned(), "not a command"),
            (r#"{"command":"counts"}"#.to_owned(), r#""connections":0"#),
        ] {
            sink.write_all(format!("{line}\n").as_bytes()).await.expect("sent");
            let got = lines.next_line().await.expect("readable").expect("an answer");
            assert!(got.contains(answer), "{line} was answered with {got}");
        }
        assert_eq!(control.modes().borrow().between("anyone", 0), NodeMode::Swallow);
    }
}
