#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skillmount_fuzz::config(data));
