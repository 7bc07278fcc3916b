//! Frames come off a buffer whole, whatever pieces they arrive in.

use super::*;

fn frame(stream: i16, body: &[u8]) -> Frame {
    Frame::new(4, stream, opcode::QUERY, body)
}

#[test]
fn two_frames_come_off_in_order_whatever_the_pieces() {
    let first = frame(3, b"one");
    let second = frame(-1, b"");
    let all = [&first.bytes[..], &second.bytes[..]].concat();
    for cut in 0..all.len() {
        let mut buffer = BytesMut::from(&all[..cut]);
        let mut got = Vec::new();
        while let Next::Frame(frame) = next(&mut buffer) {
            got.push(frame);
        }
        buffer.extend_from_slice(&all[cut..]);
        while let Next::Frame(frame) = next(&mut buffer) {
            got.push(frame);
        }
        assert_eq!(got, [first.clone(), second.clone()], "cut at {cut}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn what_is_not_v3_or_v4_is_foreign_and_stays() {
    for (bytes, foreign) in [
        (&[5u8, 0, 0, 0, 1, 0, 0, 0, 0][..], true),
        (b"GET / HTTP/1.1", true),
        // A length beyond what the protocol allows.
        (&[4, 0, 0, 0, 7, 0x7f, 0, 0, 0], true),
        (&[4, 0, 0, 0, 7, 0, 0, 0, 1], false),
        (&[0x84, 0, 0], false),
        (&[], false),
    ] {
        let mut buffer = BytesMut::from(bytes);
        assert_eq!(next(&mut buffer) == Next::Foreign, foreign, "{bytes:?}");
        assert_eq!(&buffer[..], bytes);
    }
}

#[test]
fn the_header_says_stream_opcode_and_compression() {
    let mut bytes = BytesMut::from(&frame(258, b"xy").bytes[..]);
    bytes[1] = 1;
    let Next::Frame(frame) = next(&mut bytes) else { panic!("a whole frame") };
    assert_eq!((frame.stream(), frame.opcode(), frame.compressed()), (258, opcode::QUERY, true));
    assert_eq!(&frame.body()[..], b"xy");
    assert_eq!(frame.with_stream(32_767).stream(), 32_767);
    assert_eq!(frame.with_stream(32_767).body(), frame.body());
}

#[test]
fn a_reader_says_nothing_about_bytes_that_are_not_there() {
    let mut reader = Reader(Bytes::from_static(&[0, 0, 0, 2, b'a']));
    assert_eq!(reader.long_string(), None);
    let mut reader = Reader(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 1]));
    assert_eq!(reader.value(), Some(Bytes::new()), "null");
    assert_eq!(reader.short_bytes(), None);
    assert_eq!(reader.byte(), None);
}
