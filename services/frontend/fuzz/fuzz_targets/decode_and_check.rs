//! `cargo +nightly fuzz run decode_and_check`: arbitrary bytes as a request to any RPC.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    frontend::fuzz::decode_and_check(input);
});
