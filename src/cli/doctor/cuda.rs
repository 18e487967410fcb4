//! The NVIDIA driver as NVML tells it, and which build of libtorch 2.11 fits it.
//!
//! PyTorch 2.11 is published for CUDA 12.6, 12.8 and 13.0. A driver runs builds for its own CUDA major version, older
//! minor versions of the driver included (CUDA 12.x: driver 525 or newer, 13.x: 580 or newer; NVIDIA's "minor version
//! compatibility"), and builds for older major versions. The build for 12.6 has code for cards from compute capability
//! 5.0 (Maxwell) to 9.0 (Hopper), those for 12.8 and 13.0 from 7.5 (Turing) to 12.0 (Blackwell).

use qwen_tui::job::human;

use super::Check;
use super::libtorch::{Libtorch, cuda_name};

/// What NVML says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nvidia {
    pub driver: String,
    /// The newest CUDA version that the driver supports.
    pub cuda: (u32, u32),
    pub cards: Vec<Card>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    pub name: String,
    pub memory: Option<u64>,
    /// Compute capability.
    pub capability: Option<(u32, u32)>,
}

impl Nvidia {
    /// `Ok(None)` without a driver; the error is NVML's.
    pub fn look() -> Result<Option<Nvidia>, String> {
        use nvml_wrapper::error::NvmlError;
        let nvml = match nvml_wrapper::Nvml::init() {
            Ok(nvml) => nvml,
            Err(NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded) => {
                return Ok(None);
            }
            Err(e) => return Err(e.to_string()),
        };
        let version = nvml.sys_cuda_driver_version().map_err(|e| e.to_string())?;
        let count = nvml.device_count().map_err(|e| e.to_string())?;
        let cards = (0..count).filter_map(|i| nvml.device_by_index(i).ok()).map(|device| Card {
            name: device.name().unwrap_or_else(|_| "a card".to_string()),
            memory: device.memory_info().ok().map(|m| m.total),
            capability: device
                .cuda_compute_capability()
                .ok()
                .and_then(|c| Some((u32::try_from(c.major).ok()?, u32::try_from(c.minor).ok()?))),
        });
        let part = |n: i32| u32::try_from(n).unwrap_or(0);
        Ok(Some(Nvidia {
            driver: nvml.sys_driver_version().unwrap_or_else(|_| "of unknown version".to_string()),
            cuda: (part(version / 1000), part(version % 1000 / 10)),
            cards: cards.collect(),
        }))
    }

    /// The build of libtorch 2.11 that fits, as PyTorch names it; `None` where none does.
    pub fn fitting_build(&self) -> Option<&'static str> {
        let capabilities = || self.cards.iter().filter_map(|c| c.capability);
        let old_card = capabilities().any(|c| c < (7, 5));
        let new_card = capabilities().any(|c| c >= (10, 0));
        match self.cuda.0 {
            0..12 => None,
            12 if new_card => Some("cu128"),
            12 => Some("cu126"),
            _ if old_card => Some("cu126"),
            _ => Some("cu130"),
        }
    }
}

/// Whether this libtorch, driver and card go together. Training runs on the CPU in any case, so nothing here is missing.
pub fn check(nvidia: &Result<Option<Nvidia>, String>, libtorch: Option<&Libtorch>) -> Check {
    const NAME: &str = "nvidia";
    let nvidia = match nvidia {
        Ok(None) => return Check::ok(NAME, "no NVIDIA driver: training runs on the CPU"),
        Err(why) => {
            return Check::warn(
                NAME,
                format!("the driver does not answer: {why}"),
                "`nvidia-smi` should list the cards; after an update of the driver the machine must be restarted",
            );
        }
        Ok(Some(nvidia)) if nvidia.cards.is_empty() => {
            return Check::ok(NAME, format!("driver {}, no card: training runs on the CPU", nvidia.driver));
        }
        Ok(Some(nvidia)) => nvidia,
    };
    let cards: Vec<String> = nvidia
        .cards
        .iter()
        .map(|c| c.memory.map_or(c.name.clone(), |m| format!("{} ({})", c.name, human::bytes(m))))
        .collect();
    let (major, minor) = nvidia.cuda;
    let found = format!("driver {} for CUDA up to {major}.{minor}; {}", nvidia.driver, cards.join(", "));
    let Some(build) = nvidia.fitting_build() else {
        return Check::warn(
            NAME,
            format!("{found}; too old for every build of libtorch 2.11"),
            "update the driver to 525 or newer (CUDA 12; 580 for CUDA 13), or train on the CPU",
        );
    };
    let get = format!(
        "the build of libtorch 2.11 that fits is {build}: `QWEN_TUI_LIBTORCH={build} make libtorch build`, or \
         `pip install torch==2.11.0{}` and `LIBTORCH_USE_PYTORCH=1 make build`",
        match build {
            "cu130" => String::new(),
            _ => format!(" --index-url https://download.pytorch.org/whl/{build}"),
        }
    );
    let Some(libtorch) = libtorch else { return Check::warn(NAME, found, get) };
    match libtorch.cuda {
        None => Check::warn(NAME, format!("{found}; this libtorch is for the CPU only"), get),
        Some(cuda) if cuda.0 > major => Check::warn(
            NAME,
            format!("{found}; this libtorch is built for CUDA {}, which is newer", cuda_name(cuda)),
            get,
        ),
        Some(cuda) if !has_code_for(cuda, nvidia) => Check::warn(
            NAME,
            format!("{found}; this libtorch, built for CUDA {}, has no code for the card", cuda_name(cuda)),
            get,
        ),
        Some(_) => Check::ok(NAME, found),
    }
}

/// Whether a build of libtorch 2.11 for that CUDA version holds code for every card; true where it is not known.
fn has_code_for(cuda: (u32, Option<u32>), nvidia: &Nvidia) -> bool {
    let (oldest, newest) = match cuda {
        (12, None) => return true,
        (12, Some(minor)) if minor < 8 => ((5, 0), (9, u32::MAX)),
        _ => ((7, 5), (12, u32::MAX)),
    };
    nvidia.cards.iter().filter_map(|c| c.capability).all(|c| oldest <= c && c <= newest)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn machine(cuda: (u32, u32), capability: (u32, u32)) -> Nvidia {
        let card = Card { name: "Card".into(), memory: Some(24_000_000_000), capability: Some(capability) };
        Nvidia { driver: "530.30.02".into(), cuda, cards: vec![card] }
    }

    #[test]
    fn the_build_follows_driver_and_card() {
        let cases = [
            ((11, 8), (8, 0), None),
            ((12, 1), (8, 9), Some("cu126")),
            ((12, 8), (12, 0), Some("cu128")),
            ((13, 0), (9, 0), Some("cu130")),
            ((13, 0), (7, 0), Some("cu126")),
        ];
        for (cuda, capability, build) in cases {
            assert_eq!(machine(cuda, capability).fitting_build(), build, "{cuda:?} {capability:?}");
        }
    }

    #[test]
    fn a_driver_for_cuda_12_1_under_a_build_for_13_0_is_told_which_build_fits() {
        let libtorch = Libtorch { cuda: Some((13, Some(0))), ..Libtorch::default() };
        let check = check(&Ok(Some(machine((12, 1), (8, 6)))), Some(&libtorch));
        assert_eq!(check.status, Status::Warn);
        assert!(
            check.found.contains("CUDA up to 12.1") && check.found.contains("built for CUDA 13.0"),
            "{check:?}"
        );
        assert!(check.todo.unwrap().contains("whl/cu126"));
    }

    #[test]
    fn a_newer_minor_version_or_an_older_major_one_runs() {
        for (driver, build) in [((12, 1), (12, Some(6))), ((13, 0), (12, Some(8))), ((13, 0), (13, None))] {
            let libtorch = Libtorch { cuda: Some(build), ..Libtorch::default() };
            let check = check(&Ok(Some(machine(driver, (8, 6)))), Some(&libtorch));
            assert_eq!(check.status, Status::Ok, "{check:?}");
        }
        let blackwell = machine((12, 9), (12, 0));
        let libtorch = Libtorch { cuda: Some((12, Some(6))), ..Libtorch::default() };
        assert!(check(&Ok(Some(blackwell)), Some(&libtorch)).todo.unwrap().contains("cu128"));
    }
}
