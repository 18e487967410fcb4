#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qwen_tui_fuzz::checkpoint::run(data));
