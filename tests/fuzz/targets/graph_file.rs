//! The libFuzzer target for [`fermata_fuzz::graph_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fermata_fuzz::graph_file(input));
