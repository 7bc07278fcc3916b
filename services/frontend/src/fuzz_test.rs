//! Ten thousand inputs, and as many again made from valid requests.

use super::*;

/// A seeded generator: the same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Bytes that look like protobuf: fields with the tags and lengths of real ones, some nested, some wrong.
    fn message(&mut self, depth: usize) -> Vec<u8> {
        let mut message = Vec::new();
        for _ in 0..self.below(6) {
            let field = 1 + self.below(30) as u64;
            match self.below(6) {
                0 => {
                    varint(&mut message, field << 3);
                    let value = self.next() >> self.below(64);
                    varint(&mut message, value);
                }
                1 => {
                    varint(&mut message, field << 3 | 1);
                    message.extend(self.next().to_le_bytes());
                }
                2 if depth > 0 => {
                    let inner = self.message(depth - 1);
                    delimited(&mut message, field, &inner);
                }
                3 => {
                    let text: String = (0..self.below(12)).map(|_| (b'a' + self.below(26) as u8) as char).collect();
                    delimited(&mut message, field, text.as_bytes());
                }
                4 => {
                    let bytes = self.bytes(20);
                    delimited(&mut message, field, &bytes);
                }
                _ => message.push(self.next() as u8),
            }
        }
        message
    }

    /// Flips, drops, doubles and inserts bytes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let position = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[position] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => drop(bytes.remove(position)),
                2 => bytes.insert(position, self.next() as u8),
                _ => bytes.truncate(bytes.len() - self.below(3).min(bytes.len())),
            }
        }
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn delimited(bytes: &mut Vec<u8>, field: u64, content: &[u8]) {
    varint(bytes, field << 3 | 2);
    varint(bytes, content.len() as u64);
    bytes.extend(content);
}

#[test]
fn ten_thousand_generated_inputs_do_not_panic() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut accepted = 0;
    for round in 0..10_000 {
        let mut input = vec![(round % methods().rows().len()) as u8];
        if random.below(4) == 0 {
            input.extend(random.bytes(200))
        } else {
            input.extend(random.message(4))
        }
        accepted += usize::from(decode_and_check(&input));
    }
    assert!(accepted > 0, "inputs must reach past decoding");
}

#[test]
fn ten_thousand_mutations_of_valid_requests_do_not_panic() {
    let mut random = Random(0xfeed_face_dead_beef);
    let valid = samples::valid();
    for (rpc, bytes) in &valid {
        let number = methods().named(rpc).unwrap();
        let mut input = vec![number as u8];
        input.extend(bytes);
        assert!(decode_and_check(&input), "{rpc} is valid before it is mutated");
    }
    for round in 0..10_000 {
        let (rpc, bytes) = &valid[round % valid.len()];
        let number = methods().named(rpc).unwrap();
        let mut mutated = bytes.clone();
        random.mutate(&mut mutated);
        let mut input = vec![number as u8];
        input.extend(mutated);
        decode_and_check(&input);
    }
}

#[path = "samples.rs"]
mod samples;
