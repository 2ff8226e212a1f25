//! The libFuzzer target for [`fermata_fuzz::interpolation`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fermata_fuzz::interpolation(input));
