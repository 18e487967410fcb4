//! What this engine is and what it can compute on.

use std::io::Write;

use qwen_tui::error::{Context, Result};
use serde_json::json;

use crate::device;
use crate::infer::stdio::Out;

/// Prints version, libtorch, devices and threads: lines for people, or one JSON object.
pub fn tell(as_json: bool) -> Result<()> {
    let mut devices = vec![json!({"name": device::name(tch::Device::Cpu), "kind": "cpu"})];
    let cuda = device::load_cuda();
    if cuda.is_ok() {
        for n in 0..tch::Cuda::device_count() as usize {
            let total = device::gpu(n).and_then(|g| g.memory_total);
            devices.push(json!({
                "name": device::name(tch::Device::Cuda(n)), "kind": format!("cuda:{n}"), "memory_total": total,
            }));
        }
    }
    let (version, libtorch) = (env!("CARGO_PKG_VERSION"), device::libtorch());
    let threads = tch::get_num_threads();
    let text = if as_json {
        json!({"version": version, "libtorch": libtorch, "devices": devices, "threads": threads, "cuda": cuda.err()})
            .to_string()
    } else {
        let mut text = format!("qwen-tui-engine {version}, libtorch {libtorch}, {threads} threads");
        for device in &devices {
            let word = |key: &str| device[key].as_str().unwrap_or_default().to_owned();
            text += &format!("\n{}: {}", word("kind"), word("name"));
        }
        if let Err(why) = cuda {
            text += &format!("\nno GPU: {why}");
        }
        text
    };
    let mut out = Out::new(std::io::stdout().lock());
    let told = writeln!(out, "{text}").and_then(|()| out.flush()).user("standard output");
    out.unless_closed(told)
}
