//! What is refused, and in which words.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Config, Overrides, Problem};

/// A process with all roles, one line a key so that lines can be counted on.
const GOOD: &str = "\
cluster:
  name: test
  history_shards: 4
  matching_shards: 1
node:
  id: one
  roles: [frontend, history, matching, membership]
internal:
  listen: 127.0.0.1:7240
http:
  listen: 127.0.0.1:7250
frontend:
  listen: 127.0.0.1:7233
store:
  memory: {}
membership:
  data_dir: data
  initial_voters: [{ id: one, address: '127.0.0.1:7240' }]
";

/// The line of the good file that makes it a cluster of its own.
const VOTERS: &str = "initial_voters: [{ id: one, address: '127.0.0.1:7240' }]";

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refusals(text: &str) -> Vec<String> {
    match Config::parse(text, &Overrides::none()) {
        Ok(config) => panic!("was taken:\n{}", config.effective()),
        Err(problems) => said(&problems),
    }
}

/// The good file with one line replaced.
#[track_caller]
fn with(line: &str, replacement: &str) -> String {
    assert!(GOOD.contains(line), "{line:?}");
    GOOD.replace(line, replacement)
}

fn environment(variables: &[(&str, &str)]) -> Overrides {
    Overrides::from_environment(variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text))))
}

#[test]
fn the_good_file_is_taken() {
    let config = Config::parse(GOOD, &Overrides::none()).unwrap();
    assert_eq!(config.node.weight, 100);
    assert_eq!(config.advertised().as_deref(), Some("127.0.0.1:7240"));
}

const TWO_VOTERS: &str = "initial_voters: [{id: one, address: 'h:1'}, {id: b, address: 'h:2'}]";

/// A line, what stands in its place, and what is said; words in braces are those of [`ALLOWED`].
const WRONG_VALUES: &[(&str, &str, &str)] = &[
    ("history_shards: 4", "history_shards: 0", "line 3: `cluster.history_shards` is 0, 1 to 4096 is allowed"),
    ("history_shards: 4", "history_shards: four", "line 3: `cluster.history_shards` is \"four\", 1 to 4096 is allowed"),
    ("history_shards: 4", "history_shards: 4.5", "line 3: `cluster.history_shards` is 4.5, 1 to 4096 is allowed"),
    ("history_shards: 4", "history_shards:", "line 3: `cluster.history_shards` is empty, 1 to 4096 is allowed"),
    (
        "history_shards: 4",
        "history_shards: 99999999999999999999999",
        "line 3: `cluster.history_shards` is 100000000000000000000000, 1 to 4096 is allowed",
    ),
    ("name: test", "name: 7", "line 2: `cluster.name` is 7, {name}"),
    ("  id: one", "  id: a/b", "line 6: `node.id` is \"a/b\", {name}"),
    ("  id: one", "  id: ''", "line 6: `node.id` is \"\", {name}"),
    ("listen: 127.0.0.1:7240", "listen: localhost:7240", "line 9: `internal.listen` is \"localhost:7240\", {listen}"),
    (
        "[frontend, history, matching, membership]",
        "[frontend, history, machting]",
        "line 7: `node.roles[2]` is \"machting\", did you mean `matching`? frontend, history, matching or membership \
             is allowed",
    ),
    (
        "[frontend, history, matching, membership]",
        "all",
        "line 7: `node.roles` is \"all\", a list is allowed, as in [a, b]",
    ),
    (
        "store:",
        "shards: { checkpoint_age: 10 }\nstore:",
        "line 14: `shards.checkpoint_age` is 10, {span}, from 100ms to 10m",
    ),
    (
        "store:",
        "shards: { checkpoint_age: 1h }\nstore:",
        "line 14: `shards.checkpoint_age` is \"1h\", {span}, from 100ms to 10m",
    ),
    (
        "store:",
        "shards: { memory_bytes: 64MB }\nstore:",
        "line 14: `shards.memory_bytes` is \"64MB\", {size}, from 1MiB to 1TiB",
    ),
    (
        "store:",
        "shards: { memory_bytes: -1 }\nstore:",
        "line 14: `shards.memory_bytes` is -1, {size}, from 1MiB to 1TiB",
    ),
    ("store:", "shards: { memory_bytes: 5 }\nstore:", "line 14: `shards.memory_bytes` is 5, {size}, from 1MiB to 1TiB"),
    ("store:", "memory: { total: 1MiB }\nstore:", "line 14: `memory.total` is \"1MiB\", {size}, from 64MiB to 64TiB"),
    ("store:", "log: { format: xml }\nstore:", "line 14: `log.format` is \"xml\", text or json is allowed"),
    ("store:", "log: { level: '' }\nstore:", "line 14: `log.level` is empty, leave it out or give it a value"),
    (
        "store:",
        "log: { level: off, format: [] }\nstore:",
        "line 14: `log.format` is a list of 0, text or json is allowed",
    ),
    ("store:", "log: { level: true }\nstore:", "line 14: `log.level` is true, which is not text: put it in quotes"),
    (
        "store:",
        "frontend2: {}\nstore:",
        "line 14: unknown key `frontend2`, did you mean `frontend`? known keys: cluster, frontend, history, http, internal, log, matching, membership, memory, node, remote, shards, store",
    ),
    ("memory: {}", "memory: { size: 1 }", "line 15: unknown key `store.memory.size`, no key is known here"),
    (VOTERS, TWO_VOTERS, "line 18: `membership.initial_voters` has 2 entries, 1, 3 or 5 are allowed"),
];

const ALLOWED: [(&str, &str); 4] = [
    ("{name}", "1 to 63 letters, digits, `.`, `_` or `-` that begin with a letter or digit are allowed"),
    ("{listen}", "an IP address and a port such as 0.0.0.0:7233 or [::]:7233 is allowed"),
    ("{span}", "a duration such as 250ms, 10s, 1m30s or 2d is allowed"),
    ("{size}", "a number of bytes, or one with KiB, MiB, GiB or TiB such as 64MiB is allowed"),
];

#[test]
fn one_wrong_value_is_named_with_its_line_and_what_is_allowed() {
    for (line, replacement, expected) in WRONG_VALUES {
        let expected = ALLOWED.iter().fold((*expected).to_owned(), |text, (word, allowed)| text.replace(word, allowed));
        let said = refusals(&with(line, replacement));
        assert!(said.contains(&expected), "expected {expected}\ngot {said:#?}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_what_may_have_been_meant() {
    let said = refusals(&with("  memory: {}", "  cassandra: { contact_points: ['a:9042'], keyspce: outlast }"));
    assert!(
        said[0].starts_with(
            "line 15: unknown key `store.cassandra.keyspce`, did you mean `keyspace`? known keys: conditional_timeout, "
        ),
        "{said:#?}"
    );
}

/// At the bounds of the rules between times.
#[test]
fn times_that_just_fit_each_other_are_taken() {
    let text = with(
        VOTERS,
        &format!(
            "{VOTERS}\n  heartbeat: 500ms\n  lease: 1s\n  leader_silence: 1s\n  raft_heartbeat: 333ms\n  \
             election_timeout_min: 666ms\n  election_timeout_max: 667ms\n  ring_interval: 1s"
        ),
    );
    let text = text.replace("  id: one", "  id: one\n  drain_within: 5s");
    Config::parse(&text, &Overrides::none()).unwrap_or_else(|problems| panic!("{:#?}", said(&problems)));
}

/// What breaks a rule between keys: a line, what stands in its place, and a part of what is said.
const BROKEN_RULES: &[(&str, &str, &str)] = &[
    (
        "  roles: [frontend, history, matching, membership]\n",
        "",
        "`node.roles` is empty, at least one of frontend, history, matching, membership is needed, or --role",
    ),
    (
        "[frontend, history, matching, membership]",
        "[frontend, history, history, matching]",
        "`node.roles` has history twice",
    ),
    ("frontend:\n  listen: 127.0.0.1:7233\n", "", "`frontend.listen` is not set, and the role frontend needs it"),
    (
        "listen: 127.0.0.1:7240",
        "listen: 0.0.0.0:7240",
        "`internal.advertise` is not set, and other nodes cannot connect to `internal.listen`, 0.0.0.0:7240",
    ),
    (
        "listen: 127.0.0.1:7240",
        "listen: 127.0.0.1:7240\n  advertise: h:0",
        "`internal.advertise` is \"h:0\", a host name",
    ),
    (
        "listen: 127.0.0.1:7250",
        "listen: 0.0.0.0:7240",
        "`http.listen` is 0.0.0.0:7240, which `internal.listen` takes already",
    ),
    (
        "listen: 127.0.0.1:7233",
        "listen: 127.0.0.1:7250",
        "`frontend.listen` is 127.0.0.1:7250, which `http.listen` takes already",
    ),
    ("  memory: {}", "  {}", "`store` is empty, one of cassandra, sqlite or memory is needed"),
    (
        "  memory: {}",
        "  memory: {}\n  sqlite: { path: x.db }",
        "`store` has sqlite and memory, one of them is needed and no more",
    ),
    (
        "[frontend, history, matching, membership]",
        "[frontend, history, membership]",
        "`store.memory` is of one process, and this one lacks the roles matching",
    ),
    (VOTERS, "", "`membership.seeds` is empty, and one is not one of `membership.initial_voters`"),
    ("  data_dir: data\n", "", "`membership.data_dir` is not set, and the role membership needs it"),
    (
        "[frontend, history, matching, membership]",
        "[frontend, history, matching]",
        "`node.roles` lacks membership, and one is one of",
    ),
    (
        VOTERS,
        "initial_voters: [{id: one, address: 'elsewhere:7240'}]",
        "has one at elsewhere:7240, and others connect to 127.0.0.1:7240: both must be the same",
    ),
    (
        VOTERS,
        "initial_voters: [{id: a, address: 'h:1'}, {id: a, address: 'h:2'}, {id: c, address: 'h:3'}]",
        "has an id or an address twice",
    ),
    (VOTERS, "initial_voters: [{id: b, address: 'h:1'}]", "names other processes, and `store.memory` is of one"),
    (VOTERS, "seeds: ['h:1']", "`membership.seeds` names other processes, and `store.memory` is of one"),
    (
        "store:",
        "shards: { memory_bytes: 1MiB, dirty_bytes: 2MiB }\nstore:",
        "`shards.dirty_bytes` is 2MiB, at most `shards.memory_bytes`, which is 1MiB, is allowed",
    ),
    (
        "store:",
        "memory: { total: 512MiB }\nshards: { memory_bytes: 400MiB, waiting_bytes: 64MiB }\nstore:",
        "line 15: `shards.memory_bytes`, `frontend.in_flight_bytes`, `shards.waiting_bytes` and the store's caches are \
         400MiB, 64MiB, 64MiB and 32MiB, which is 560MiB together, at most `memory.total`, which is 512MiB, is allowed",
    ),
    (
        "listen: 127.0.0.1:7233",
        "listen: 127.0.0.1:7233\n  blob_bytes: 8MiB",
        "`frontend.blob_bytes` is 8MiB, at most `frontend.request_bytes`, which is 4MiB, is allowed",
    ),
    (
        "listen: 127.0.0.1:7233",
        "listen: 127.0.0.1:7233\n  request_bytes: 11MiB",
        "`frontend.request_bytes` is 11MiB, at most `history.state_bytes`, which is 10MiB, is allowed",
    ),
    (
        VOTERS,
        "lease: 500ms",
        "`membership.heartbeat` is 300ms, at most half of `membership.lease`, which is 500ms, is allowed",
    ),
    (
        VOTERS,
        "raft_heartbeat: 160ms",
        "`membership.raft_heartbeat` is 160ms, at most half of `membership.election_timeout_min`, which is 300ms, is \
         allowed",
    ),
    (
        VOTERS,
        "raft_heartbeat: 500ms\n  election_timeout_min: 1s\n  election_timeout_max: 2s",
        "`membership.raft_heartbeat` is 500ms, at most a third of `membership.leader_silence`, which is 1s200ms, is allowed",
    ),
    (
        VOTERS,
        "leader_silence: 2s",
        "`membership.leader_silence` is 2s, at most `membership.lease`, which is 1s500ms, is allowed",
    ),
    (
        VOTERS,
        "heartbeat: 700ms\n  leader_silence: 1s",
        "`membership.heartbeat` is 700ms, at most half of `membership.leader_silence`, which is 1s, is allowed",
    ),
    (
        VOTERS,
        "election_timeout_min: 1s\n  election_timeout_max: 1s",
        "`membership.election_timeout_min` is 1s, less than `membership.election_timeout_max`, which is 1s, is allowed",
    ),
    (
        VOTERS,
        "ring_interval: 2s",
        "`membership.ring_interval` is 2s, at most `membership.call_timeout`, which is 1s, is allowed",
    ),
    (
        "store:",
        "remote: { connect_timeout: 11s }\nstore:",
        "`remote.connect_timeout` is 11s, at most `remote.call_timeout`, which is 10s, is allowed",
    ),
    (
        "  id: one",
        "  id: one\n  drain_within: 4s",
        "`frontend.shutdown_grace` is 5s, at most `node.drain_within`, which is 4s, is allowed",
    ),
    (
        "  memory: {}",
        "  cassandra: { contact_points: [] }",
        "`store.cassandra.contact_points` has 0 entries, at least 1 is needed",
    ),
    (
        "  memory: {}",
        "  cassandra: { contact_points: ['a:1'], replication: { dc9: 3 } }",
        "`store.cassandra.replication` has dc9, and not datacenter1",
    ),
    (
        "  memory: {}",
        "  cassandra: { contact_points: ['a:1'], replication: { datacenter1: 0 } }",
        "`store.cassandra.replication.datacenter1` is 0, 1 to 16 is allowed",
    ),
    (
        "  memory: {}",
        "  cassandra: { contact_points: ['a:1'], username: me }",
        "`store.cassandra.username` is set and `store.cassandra.password` is not",
    ),
    (
        "  memory: {}",
        "  cassandra: { contact_points: ['a:1'], tls: { ca_file: x, key_file: y } }",
        "has one of `certificate_file` and `key_file`",
    ),
    (
        "  memory: {}",
        "  cassandra: { contact_points: ['a:1'], tls: {} }",
        "`store.cassandra.tls.ca_file` is not set, and it is needed",
    ),
];

#[test]
fn rules_between_keys_hold() {
    for (line, replacement, expected) in BROKEN_RULES {
        let said = refusals(&with(line, replacement));
        assert!(said.iter().any(|said| said.contains(expected)), "expected {expected}\ngot {said:#?}");
    }
}

#[test]
fn everything_is_said_at_once_and_nothing_twice() {
    let text = GOOD
        .replace("history_shards: 4", "history_shards: 0")
        .replace("  id: one", "  id: one\n  wieght: 5")
        .replace("listen: 127.0.0.1:7250", "listen: nowhere")
        .replace("127.0.0.1:7233", "127.0.0.1")
        + "shards: { checkpoint_age: never }\n";
    let said = refusals(&text);
    assert_eq!(said.len(), 5, "{said:#?}");
    // The wrong address of the frontend is not reported again as a missing one.
    let text = with("127.0.0.1:7233", "127.0.0.1") + "shards: { memory_bytes: 1MiB, dirty_bytes: 2MiB }\n";
    let said = refusals(&text);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[1].contains("at most `shards.memory_bytes`"), "{said:#?}");
}

#[test]
fn what_is_missing_is_named() {
    let said = refusals("");
    let missing = ["cluster", "http", "internal", "node", "store"];
    assert_eq!(said.len(), missing.len(), "{said:#?}");
    assert!(missing.iter().zip(&said).all(|(key, said)| said.contains(&format!("`{key}` is not set"))), "{said:#?}");
    let said = refusals("- a\n");
    assert!(
        said[0].starts_with("line 1: the file is a list of 1, sections are needed: cluster, frontend, "),
        "{said:#?}"
    );
    let said = refusals(&with("  id: one\n", ""));
    assert!(said[0].contains("`node.id` is not set, and it is needed: names the process"), "{said:#?}");
}

#[test]
fn yaml_that_is_none_is_refused_in_one_problem() {
    for text in
        ["a: [", "a: b: c", "cluster:\n  name: a\n  name: b\n", "%", "a: *b\n", "--- a\n--- b\n", "? [a]\n: b\n"]
    {
        assert_eq!(refusals(text).len(), 1, "{text:?}");
    }
}

#[test]
fn files_that_are_none_are_refused() {
    let here = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = |name: &str, bytes: &[u8]| {
        let path = here.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let not_text = file("not-text.yaml", b"a: \xff\xfe\n");
    let large = file("large.yaml", "# much\n".repeat(200_000).as_bytes());
    for (path, expected) in [
        (
            Path::new("/nowhere/outlast.yaml"),
            "the file /nowhere/outlast.yaml cannot be read: No such file or directory (os error 2)",
        ),
        (&here, "Is a directory"),
        (&not_text, "it is not UTF-8 at byte 3"),
        (&large, "at most 1048576 are allowed"),
        (Path::new("/dev/zero"), "at most 1048576 are allowed"),
    ] {
        let problems = Config::read(path, &Overrides::none()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].text.contains(expected), "{}", problems[0]);
    }
}

#[test]
fn variables_take_the_place_of_keys() {
    let overrides = environment(&[
        ("OUTLAST__NODE__ID", "7"),
        ("OUTLAST__MEMBERSHIP__INITIAL_VOTERS", "[]"),
        ("OUTLAST__NODE__ROLES", "frontend, history,matching,membership"),
        ("OUTLAST__CLUSTER__HISTORY_SHARDS", "16"),
        ("OUTLAST__SHARDS__CHECKPOINT_AGE", "1s"),
        ("OUTLAST__STORE", "{ cassandra: { contact_points: ['a:1'] } }"),
        ("OUTLAST__STORE__CASSANDRA__CONTACT_POINTS", "a:9042,b:9042"),
        ("OUTLAST__STORE__CASSANDRA__REPLICATION", "{ datacenter1: 3 }"),
        ("OUTLAST__STORE__CASSANDRA__USERNAME", "me"),
        ("OUTLAST__STORE__CASSANDRA__PASSWORD", "007"),
        ("OUTLAST__MEMBERSHIP__DATA_DIR", "/tmp/x"),
        ("OUTLAST__MEMBERSHIP__SEEDS", "['h:1']"),
        // Kubernetes sets such for a service that is called outlast-frontend.
        ("OUTLAST_FRONTEND_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ]);
    let config = Config::parse(GOOD, &overrides).unwrap();
    assert_eq!((config.node.id.as_str(), config.node.roles.len(), config.cluster.history_shards), ("7", 4, 16));
    let cassandra = config.store.cassandra.unwrap();
    assert_eq!(cassandra.contact_points[1].to_string(), "b:9042");
    assert_eq!(cassandra.password.unwrap().reveal(), "007");
    assert!(config.store.memory.is_none());
    // Flags come after variables.
    let all = ["matching", "frontend", "history", "membership"].map(str::to_owned);
    let flags = environment(&[("OUTLAST__NODE__ROLES", "history")]).with_roles(&all);
    assert_eq!(Config::parse(GOOD, &flags).unwrap().node.roles.len(), 4);
}

#[test]
fn variables_that_set_nothing_or_nonsense_are_refused_by_their_names() {
    for (name, text, expected) in [
        (
            "OUTLAST__NODE__IDD",
            "x",
            "OUTLAST__NODE__IDD: sets no key, did you mean `OUTLAST__NODE__ID`? known keys of `node`: drain_within, id, roles, weight, zone",
        ),
        (
            "OUTLAST__NOED__ID",
            "x",
            "OUTLAST__NOED__ID: sets no key, did you mean `OUTLAST__NODE__ID`? known sections: cluster, ",
        ),
        (
            "OUTLAST__STORE__CASSANDRA__REPLICATION__DC1",
            "3",
            "`store.cassandra.replication` has no keys: set it as a whole",
        ),
        ("OUTLAST__NODE__ID__X", "3", "`node.id` has no keys: set it as a whole"),
        ("OUTLAST__", "3", "OUTLAST__: sets no key, known sections: cluster, "),
        (
            "OUTLAST__CLUSTER__HISTORY_SHARDS",
            "many",
            "OUTLAST__CLUSTER__HISTORY_SHARDS: `cluster.history_shards` is \"many\", 1 to 4096 is allowed",
        ),
        (
            "OUTLAST__CLUSTER__HISTORY_SHARDS",
            "",
            "OUTLAST__CLUSTER__HISTORY_SHARDS: `cluster.history_shards` is empty, 1 to 4096 is allowed",
        ),
        ("OUTLAST__CLUSTER__HISTORY_SHARDS", "[", "OUTLAST__CLUSTER__HISTORY_SHARDS: is not YAML: "),
        (
            "OUTLAST__NODE__ROLES",
            "frontend,hisotry",
            "OUTLAST__NODE__ROLES: `node.roles[1]` is \"hisotry\", did you mean `history`?",
        ),
        ("OUTLAST__FRONTEND", "5", "OUTLAST__FRONTEND: `frontend` is 5, keys with values are allowed: "),
        (
            "OUTLAST__HTTP__LISTEN",
            "0.0.0.0:7240",
            "OUTLAST__HTTP__LISTEN: `http.listen` is 0.0.0.0:7240, which `internal.listen` takes already",
        ),
    ] {
        let said = said(&Config::parse(GOOD, &environment(&[(name, text)])).unwrap_err());
        assert!(said.iter().any(|said| said.contains(expected)), "expected {expected}\ngot {said:#?}");
    }
    let said = said(&Config::parse(GOOD, &Overrides::none().with_roles(&["hsitory".into()])).unwrap_err());
    assert!(said[0].starts_with("--role: `node.roles[0]` is \"hsitory\", did you mean `history`?"), "{said:#?}");
}

#[test]
fn a_variable_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let overrides = Overrides::from_environment([("OUTLAST__NODE__ID".into(), OsString::from_vec(vec![0xff]))]);
    let said = said(&Config::parse(GOOD, &overrides).unwrap_err());
    assert_eq!(said, ["OUTLAST__NODE__ID: the value is not UTF-8"]);
}

#[test]
fn secrets_are_read_from_files_and_never_printed() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("password");
    std::fs::write(&path, "hunter2\r\n").unwrap();
    let with_file =
        |more: &str| with("  memory: {}", &format!("  cassandra: {{ contact_points: ['a:1'], username: me, {more} }}"));
    let text = with_file(&format!("password_file: {}", path.display()));
    let config = Config::parse(&text, &Overrides::none()).unwrap();
    assert!(!format!("{config:?}{}", config.effective()).contains("hunter2"));
    assert_eq!(config.store.cassandra.unwrap().password.unwrap().reveal(), "hunter2");

    for (more, expected) in [
        (format!("password_file: {}, password: hunter2", path.display()), "are both set, one is enough"),
        (
            "password_file: /nowhere/x".to_owned(),
            "\"/nowhere/x\", which cannot be read: No such file or directory (os error 2)",
        ),
        (
            "password: [hunter2]".to_owned(),
            "`store.cassandra.password` is something that is not shown, text is allowed",
        ),
        ("password: 222222".to_owned(), "`store.cassandra.password` is something that is not shown, which is not text"),
    ] {
        let said = refusals(&with_file(&more)).join("\n");
        assert!(said.contains(expected), "expected {expected}\ngot {said}");
        assert!(!said.contains("hunter2") && !said.contains("222222"), "{said}");
    }
    let overrides = environment(&[("OUTLAST__STORE__CASSANDRA", "{ password: [hunter2")]);
    let errors = format!("{:?}{overrides:?}", Config::parse(GOOD, &overrides).unwrap_err());
    assert!(!errors.contains("hunter2"), "{errors}");
}
