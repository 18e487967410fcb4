//! Where to compute: CPU or GPU, libtorch's CUDA half, and what the machine has.

use std::ffi::CString;
use std::path::Path;
use std::sync::OnceLock;

use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::{Event, Gpu};
use tch::{Cuda, Device, Kind};

use crate::shim;

/// Version of the libtorch that is loaded, such as `2.11.0`; of one that does not tell (older than 2.9), what this
/// engine was built for.
pub fn libtorch() -> String {
    // SAFETY: a NUL-terminated name, looked up among the libraries that are loaded.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"aoti_torch_abi_version".as_ptr()) };
    if symbol.is_null() {
        return "unknown (built for 2.11.0)".to_owned();
    }
    // SAFETY: libtorch's C header declares it `uint64_t aoti_torch_abi_version()`.
    let version = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> u64>(symbol)() };
    version_text(version)
}

/// libtorch packs major, minor and patch into the three highest bytes.
fn version_text(packed: u64) -> String {
    let [major, minor, patch, ..] = packed.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

/// Where a user says how libtorch is to keep memory of a GPU.
const ALLOCATOR_VARIABLES: [&str; 2] = ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"];

/// Loads `libtorch_cuda.so` where a driver and the library are, before the first CUDA call; says what was missing.
///
/// The engine links only libtorch's CPU half, so that one program serves boxes with and without a GPU.
pub fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            open("libcuda.so.1").map_err(|e| format!("no NVIDIA driver ({e})"))?;
            open("libtorch_cuda.so").map_err(|e| format!("this libtorch has no CUDA half ({e})"))?;
            if !Cuda::is_available() {
                return Err("the driver reports no usable GPU".to_owned());
            }
            if ALLOCATOR_VARIABLES.iter().all(|name| std::env::var_os(name).is_none()) {
                // Steps are of many sizes, and what is kept of one fits no other: 8.1 GB of an H200 were held where 6.6
                // are with segments that grow.
                // Where a driver cannot do that, memory is kept as before.
                let _ = shim::allocator_settings(c"expandable_segments:True");
            }
            shim::no_cudnn_attention()
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
            "device: {name} was asked for, but {why}; set device to cpu, or see `qwen-tui doctor`"
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
/// fp16 on a CPU, an unknown word; the caller names the argument.
pub fn kind(dtype: &str, device: Device) -> Result<Kind> {
    match dtype {
        "bf16" => Ok(Kind::BFloat16),
        "fp16" if device == Device::Cpu => {
            Err(Error::user("fp16 needs a GPU (a CPU multiplies no fp16 matrices); use bf16 or fp32"))
        }
        "fp16" => Ok(Kind::Half),
        "fp32" => Ok(Kind::Float),
        "AUTO" => Ok(if device == Device::Cpu { Kind::Float } else { Kind::BFloat16 }),
        other => Err(Error::user(format!("{other:?} is no number format; use bf16, fp16, fp32 or AUTO"))),
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
        _ => available().unwrap_or(fallback),
    }
}

/// Memory that this process can still get, in bytes: what the machine has left, or its control group if that is less.
fn available() -> Option<u64> {
    let machine = kilobytes("/proc/meminfo", "MemAvailable");
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = cgroup_left(Path::new("/sys/fs/cgroup"), &groups);
    machine.into_iter().chain(group).min()
}

/// The least that the limits on a process in `groups` (`/proc/self/cgroup`) leave, those of parent groups included.
/// Page cache that can be dropped counts as free: mapped weights fill it.
fn cgroup_left(root: &Path, groups: &str) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        // Version 2 names no controllers.
        let (mount, files) = match controllers {
            "" => (root.to_owned(), ["memory.max", "memory.current", "inactive_file"]),
            c if c.split(',').any(|c| c == "memory") => (
                root.join("memory"),
                ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"],
            ),
            _ => continue,
        };
        let mut group = mount.join(path.trim_start_matches('/'));
        while group.starts_with(&mount) {
            least = least.into_iter().chain(limit_left(&group, files)).min();
            if !group.pop() {
                break;
            }
        }
    }
    least
}

/// What one group's limit leaves; none where it has none.
fn limit_left(group: &Path, [limit, used, cache]: [&str; 3]) -> Option<u64> {
    let number = |file: &str| std::fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number(limit)?, number(used)?);
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cache = stat.lines().find_map(|l| l.strip_prefix(cache)?.trim().parse::<u64>().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
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
            available: available().unwrap_or(0),
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
    fn libtorch_tells_its_own_version() {
        assert_eq!(version_text(0x020b_0300_0000_0000), "2.11.3");
        assert!(libtorch().starts_with("2."), "{}", libtorch());
    }

    #[test]
    fn the_tightest_limit_counts_and_page_cache_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(cgroup_left(dir.path(), "0::/\n"), None);
        put("a/b/memory.max", "max\n");
        put("a/b/memory.current", "70\n");
        put("a/memory.max", "1000\n");
        put("a/memory.current", "900\n");
        put("a/memory.stat", "anon 600\ninactive_file 300\n");
        assert_eq!(cgroup_left(dir.path(), "0::/a/b\n"), Some(400));
        put("memory/x/memory.limit_in_bytes", "500");
        put("memory/x/memory.usage_in_bytes", "600");
        assert_eq!(cgroup_left(dir.path(), "3:cpu:/\n2:hugetlb,memory:/x\n0::/a\n"), Some(0));
    }

    #[test]
    fn an_unknown_dtype_is_refused() {
        assert_eq!(kind("AUTO", Device::Cpu).unwrap(), Kind::Float);
        assert!(kind("fp8", Device::Cpu).unwrap_err().to_string().contains("\"fp8\""));
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
