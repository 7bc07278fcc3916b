//! Requests are known for what they are, prepared or not, alone or in a batch.

use super::*;

fn long(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn values(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut all = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(bytes) => {
                all.extend((bytes.len() as i32).to_be_bytes());
                all.extend(*bytes);
            }
            None => all.extend((-1i32).to_be_bytes()),
        }
    }
    all
}

fn known() -> Prepared {
    let mut prepared = Prepared::default();
    prepared.learn(Bytes::from_static(b"cond"), "UPDATE t SET v = ? WHERE p = ? IF e = ?".into());
    prepared.learn(Bytes::from_static(b"plain"), "INSERT INTO t (p) VALUES (?)".into());
    prepared
}

fn read(opcode: u8, body: &[u8]) -> Request {
    Request::read(&Frame::new(4, 1, opcode, body), &known())
}

#[test]
fn queries_and_executions_have_their_statements_class() {
    assert_eq!(read(opcode::QUERY, &long("SELECT 1 FROM t")).class, Class::Read);
    assert_eq!(read(opcode::EXECUTE, &short(b"cond")).class, Class::Conditional);
    assert_eq!(read(opcode::EXECUTE, &short(b"plain")).class, Class::Write);
    let unknown = read(opcode::EXECUTE, &short(b"never"));
    assert_eq!((unknown.class, unknown.unknown_prepared), (Class::Other, true));
    let preparing = read(opcode::PREPARE, &long("UPDATE t SET v = 1 WHERE p = 1 IF EXISTS"));
    assert_eq!(preparing.class, Class::Other, "preparing a conditional statement changes nothing");
    assert!(preparing.preparing.is_some());
}

#[test]
fn a_batch_is_conditional_if_any_of_its_statements_is() {
    let some = [Some(&b"value"[..]), None];
    let plain = [vec![1], short(b"plain"), values(&some)].concat();
    let conditional = [vec![1], short(b"cond"), values(&some)].concat();
    let simple = [vec![0], long("DELETE FROM t WHERE p = 1"), values(&[])].concat();
    let unknown = [vec![1], short(b"never"), values(&some)].concat();
    let batch = |statements: &[&Vec<u8>]| {
        let mut body = vec![1];
        body.extend((statements.len() as u16).to_be_bytes());
        statements.iter().for_each(|statement| body.extend(*statement));
        body.extend([0, 6, 0]);
        read(opcode::BATCH, &body)
    };
    assert_eq!(batch(&[&plain, &simple]).class, Class::Write);
    assert_eq!(batch(&[&plain, &simple]).text, "INSERT INTO t (p) VALUES (?); DELETE FROM t WHERE p = 1");
    assert_eq!(batch(&[&plain, &conditional]).class, Class::Conditional);
    assert_eq!(batch(&[&conditional, &simple]).class, Class::Conditional);
    assert!(batch(&[&plain, &unknown]).unknown_prepared);
}

#[test]
fn bodies_that_end_too_soon_or_are_compressed_are_other() {
    let whole = long("UPDATE t SET v = 1 WHERE p = 1 IF EXISTS");
    assert_eq!(read(opcode::QUERY, &whole).class, Class::Conditional);
    assert_eq!(read(opcode::QUERY, &whole[..whole.len() - 1]).class, Class::Other);
    assert_eq!(read(opcode::BATCH, &[1, 0, 9]).class, Class::Other);
    let mut bytes = BytesMut::from(&Frame::new(4, 1, opcode::QUERY, &whole).bytes[..]);
    bytes[1] = 1;
    let compressed = Frame { bytes: bytes.freeze() };
    assert_eq!(Request::read(&compressed, &known()).class, Class::Other);
}

#[test]
fn timeouts_say_which_write_it_was() {
    let ends_with = |request: &Request, write_type: Option<&str>| {
        let frame = request.timeout(4, 7, write_type);
        assert_eq!((frame.bytes[0], frame.stream(), frame.opcode()), (0x84, 7, opcode::ERROR));
        frame.body()
    };
    let conditional = read(opcode::EXECUTE, &short(b"cond"));
    let body = ends_with(&conditional, None);
    assert_eq!(&body[..4], &[0, 0, 0x11, 0]);
    assert!(body.ends_with(b"\x00\x03CAS"));
    assert!(ends_with(&conditional, Some("SIMPLE")).ends_with(b"\x00\x06SIMPLE"));
    assert!(ends_with(&read(opcode::EXECUTE, &short(b"plain")), None).ends_with(b"\x00\x06SIMPLE"));
    assert_eq!(&ends_with(&read(opcode::QUERY, &long("SELECT 1 FROM t")), None)[..4], &[0, 0, 0x12, 0]);
}

#[test]
fn the_id_of_a_prepared_statement_is_read_from_the_reply() {
    let body = [&4i32.to_be_bytes()[..], &short(b"id"), b"metadata"].concat();
    assert_eq!(prepared_id(&Frame::new(0x84, 1, opcode::RESULT, &body)), Some(Bytes::from_static(b"id")));
    let rows = [&2i32.to_be_bytes()[..], &short(b"id")].concat();
    assert_eq!(prepared_id(&Frame::new(0x84, 1, opcode::RESULT, &rows)), None);
    assert_eq!(prepared_id(&Frame::new(0x84, 1, opcode::ERROR, &body)), None);

    let warned = [&1u16.to_be_bytes()[..], &short(b"a warning"), &body].concat();
    let mut bytes = BytesMut::from(&Frame::new(0x84, 1, opcode::RESULT, &warned).bytes[..]);
    bytes[1] = 0x08;
    assert_eq!(prepared_id(&Frame { bytes: bytes.freeze() }), Some(Bytes::from_static(b"id")));
}
