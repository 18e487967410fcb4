//! Where to compute: CPU or GPU, libtorch's CUDA half, and what the machine has.

use std::ffi::CString;
use std::sync::OnceLock;

use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::{Event, Gpu};
use tch::{Cuda, Device, Kind};

/// libtorch's version as the linked headers had it.
pub const LIBTORCH: &str = "2.11.0";

/// Loads `libtorch_cuda.so` where a driver and the library are, before the first CUDA call; says what was missing.
///
/// The engine links only libtorch's CPU half, so that one program serves boxes with and without a GPU.
pub fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            open("libcuda.so.1").map_err(|e| format!("no NVIDIA driver ({e})"))?;
            open("libtorch_cuda.so").map_err(|e| format!("this libtorch has no CUDA half ({e})"))?;
            if Cuda::is_available() { Ok(()) } else { Err("the driver reports no usable GPU".to_owned()) }
        })
        .clone()
}

fn open(library: &str) -> Result<(), String> {
    let name = CString::new(library).map_err(|e| e.to_string())?;
    // SAFETY: a NUL-terminated name and valid flags; the handle is kept for the life of the process.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: dlerror returns a NUL-terminated string that lives until the next dl call of this thread, or null.
    let message = unsafe {
        let text = libc::dlerror();
        if text.is_null() { "unknown error".into() } else { std::ffi::CStr::from_ptr(text).to_string_lossy() }
    };
    Err(message.into_owned())
}

/// Turns `auto`, `cpu`, `cuda` or `cuda:N` into a device that is there.
pub fn choose(name: &str) -> Result<Device> {
    let number = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(if load_cuda().is_ok() { Device::Cuda(0) } else { Device::Cpu }),
        "cuda" => 0,
        other => other.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok()).ok_or_else(|| {
            Error::user(format!("device: {other:?} is none; use auto, cpu, cuda or cuda:N"))
        })?,
    };
    load_cuda().map_err(|why| {
        Error::user(format!(
            "device: {name} was asked for, but {why}; use --device cpu, or see `qwen-tui doctor`"
        ))
    })?;
    let count = Cuda::device_count();
    if number as i64 >= count {
        return Err(Error::user(format!(
            "device: there is no {name}; this machine has {count} (cuda:0 to cuda:{})",
            count - 1
        )));
    }
    Ok(Device::Cuda(number))
}

/// `cpu` or `cuda:N`.
pub fn label(device: Device) -> String {
    match device {
        Device::Cuda(n) => format!("cuda:{n}"),
        _ => "cpu".to_owned(),
    }
}

/// The name of the card or the processor.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(n) => gpu(n).map_or_else(|| format!("GPU {n}"), |g| g.name),
        _ => proc_value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
    }
}

/// `bf16`, `fp16` or `fp32`; `AUTO` is bf16 on a GPU and fp32 on a CPU, as in SWIFT.
///
/// # Errors
/// fp16 on a CPU; the caller names the argument.
pub fn kind(dtype: &str, device: Device) -> Result<Kind> {
    match dtype {
        "bf16" => Ok(Kind::BFloat16),
        "fp16" if device == Device::Cpu => {
            Err(Error::user("fp16 needs a GPU (a CPU multiplies no fp16 matrices); use bf16 or fp32"))
        }
        "fp16" => Ok(Kind::Half),
        "fp32" => Ok(Kind::Float),
        _ => Ok(if device == Device::Cpu { Kind::Float } else { Kind::BFloat16 }),
    }
}

/// SWIFT's name of a dtype.
pub fn dtype_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bf16",
        Kind::Half => "fp16",
        _ => "fp32",
    }
}

/// A card's figures by NVML; none where there is no driver.
pub fn gpu(number: usize) -> Option<Gpu> {
    static NVML: OnceLock<Option<nvml_wrapper::Nvml>> = OnceLock::new();
    let nvml = NVML.get_or_init(|| nvml_wrapper::Nvml::init().ok()).as_ref()?;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let card = match visible_card(visible.as_deref(), number)? {
        Card::Index(n) => nvml.device_by_index(n).ok()?,
        Card::Uuid(uuid) => nvml.device_by_uuid(uuid).ok()?,
    };
    let memory = card.memory_info().ok();
    Some(Gpu {
        name: card.name().unwrap_or_else(|_| format!("GPU {number}")),
        memory_used: memory.as_ref().map(|m| m.used),
        memory_total: memory.as_ref().map(|m| m.total),
        utilization: card.utilization_rates().ok().map(|u| u.gpu),
        temperature: card.temperature(nvml_wrapper::enum_wrappers::device::TemperatureSensor::Gpu).ok(),
    })
}

/// A card as NVML is asked for it.
#[derive(Debug, PartialEq)]
enum Card {
    Index(u32),
    Uuid(String),
}

/// The card that CUDA's device `number` is: CUDA counts those that `CUDA_VISIBLE_DEVICES` leaves, NVML all of them.
/// None where that cannot be told (a shortened UUID, a MIG slice).
fn visible_card(visible: Option<&str>, number: usize) -> Option<Card> {
    let Some(visible) = visible.filter(|v| !v.trim().is_empty()) else {
        return Some(Card::Index(number as u32));
    };
    let name = visible.split(',').nth(number)?.trim();
    match name.parse() {
        Ok(index) => Some(Card::Index(index)),
        Err(_) => (name.starts_with("GPU-") && name.len() == 40).then(|| Card::Uuid(name.to_owned())),
    }
}

/// Memory that the device can still give, in bytes.
pub fn available_memory(device: Device) -> u64 {
    let fallback = 4 << 30;
    match device {
        Device::Cuda(n) => {
            gpu(n).and_then(|g| Some(g.memory_total?.saturating_sub(g.memory_used?))).unwrap_or(fallback)
        }
        _ => kilobytes("/proc/meminfo", "MemAvailable").unwrap_or(fallback),
    }
}

fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let value = proc_value(file, key)?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

fn proc_value(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// Processor time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    // SAFETY: plain calls that fill a struct of ours.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Takes the readings of [`Event::Resources`], one interval after another.
pub struct Meter {
    device: Device,
    last: (std::time::Instant, f64),
}

impl Meter {
    pub fn new(device: Device) -> Self {
        Self { device, last: (std::time::Instant::now(), cpu_seconds()) }
    }

    pub fn read(&mut self) -> Event {
        let now = (std::time::Instant::now(), cpu_seconds());
        let wall = now.0.duration_since(self.last.0).as_secs_f64();
        let cores = if wall > 0.0 { (now.1 - self.last.1) / wall } else { 0.0 };
        self.last = now;
        Event::Resources {
            rss: kilobytes("/proc/self/status", "VmRSS").unwrap_or(0),
            available: kilobytes("/proc/meminfo", "MemAvailable").unwrap_or(0),
            cores: (cores * 100.0).round() / 100.0,
            gpu: match self.device {
                Device::Cuda(n) => gpu(n),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvml_is_asked_for_the_card_that_cuda_means() {
        assert_eq!(visible_card(None, 1), Some(Card::Index(1)));
        assert_eq!(visible_card(Some("3,0"), 0), Some(Card::Index(3)));
        assert_eq!(visible_card(Some("3"), 1), None);
        let uuid = "GPU-5d3c8b1e-0f4a-4f0e-9d0a-1234567890ab";
        assert_eq!(visible_card(Some(uuid), 0), Some(Card::Uuid(uuid.into())));
        assert_eq!(visible_card(Some("MIG-7"), 0), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_the_users_to_mend() {
        assert_eq!(choose("cpu").unwrap(), Device::Cpu);
        assert_eq!(choose("tpu").unwrap_err().exit_code(), 2);
        if load_cuda().is_err() {
            assert_eq!(choose("cuda").unwrap_err().exit_code(), 2);
            assert_eq!(choose("auto").unwrap(), Device::Cpu);
        }
    }
}
