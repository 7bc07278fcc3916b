//! How far a client is with the beginning of HTTP/2: the preface, and a whole SETTINGS frame behind it (RFC 9113, 3.4).

/// Bytes of the preface.
const PREFACE: usize = 24;
/// Bytes of a frame's head: length (3), type, flags, stream (4).
const HEAD: usize = 9;

/// Counts what arrives until the handshake is whole. It checks nothing: HTTP/2 itself refuses bytes that make no sense.
#[derive(Default)]
pub(super) struct Handshake {
    arrived: usize,
    /// Length of the first frame.
    payload: usize,
}

impl Handshake {
    /// Takes in what arrived. Whether the handshake is whole now.
    pub(super) fn arrived(&mut self, bytes: &[u8]) -> bool {
        for (position, byte) in (self.arrived..PREFACE + 3).zip(bytes) {
            if position >= PREFACE {
                self.payload = self.payload << 8 | usize::from(*byte);
            }
        }
        self.arrived += bytes.len();
        self.arrived >= PREFACE + HEAD + self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64";

    #[test]
    fn a_handshake_is_whole_with_the_last_byte_of_its_settings_however_it_is_cut() {
        for piece in 1..=SETTINGS.len() {
            let mut handshake = Handshake::default();
            let (last, before) = SETTINGS.split_last().unwrap();
            assert!(before.chunks(piece).all(|bytes| !handshake.arrived(bytes)), "{piece}");
            assert!(handshake.arrived(&[*last]), "{piece}");
        }
        assert!(Handshake::default().arrived(&[SETTINGS, b"more"].concat()));
    }

    #[test]
    fn settings_may_be_empty_and_are_waited_for_if_announced_as_long() {
        let empty = [&SETTINGS[..24], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        assert!(Handshake::default().arrived(&empty));
        let mut long = [&SETTINGS[..24], &[1, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        long.resize(24 + 9 + 0xffff, 0);
        let mut handshake = Handshake::default();
        assert!(!handshake.arrived(&long));
        assert!(handshake.arrived(&[0]));
    }
}
