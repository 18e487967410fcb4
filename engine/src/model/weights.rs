//! Weights in safetensors: memory-mapped, checked against the config, sent to the device one tensor at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::inputs::weight_files;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;

/// Tensors by the names of the published checkpoints.
pub type Named = HashMap<String, Tensor>;

/// A safetensors file in memory, its header checked by the `safetensors` crate.
pub struct Shard {
    path: PathBuf,
    map: Mmap,
}

impl Shard {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).user(path.display())?;
        if !file.metadata().user(path.display())?.is_file() {
            return Err(Error::user(format!("{}: not a file", path.display())));
        }
        // SAFETY: the map is read only; a file that another program shortens meanwhile ends the engine by SIGBUS,
        // which its client reports. Weights are not edited in place by any tool.
        let map = unsafe { Mmap::map(&file) }.user(path.display())?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// The tensors of the file; refuses headers that do not fit the file.
    pub fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|e| {
            Error::user(format!(
                "{}: not a whole safetensors file ({e}); it may be truncated, or a download page instead of the file; \
                 fetch it again",
                self.path.display()
            ))
        })
    }
}

/// The libtorch kind of a safetensors dtype that weights come in.
pub fn kind_of(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F16 => Some(Kind::Half),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}

/// The safetensors dtype of a kind that is written.
pub fn dtype_of(kind: Kind) -> Option<Dtype> {
    match kind {
        Kind::Float => Some(Dtype::F32),
        Kind::BFloat16 => Some(Dtype::BF16),
        Kind::Half => Some(Dtype::F16),
        Kind::Double => Some(Dtype::F64),
        Kind::Int64 => Some(Dtype::I64),
        _ => None,
    }
}

/// Copies `view` to `device` as `kind`; the only copy in memory is the result.
pub fn to_tensor(
    view: &safetensors::tensor::TensorView<'_>,
    kind: Kind,
    device: Device,
) -> Result<Tensor, String> {
    let stored =
        kind_of(view.dtype()).ok_or(format!("dtype {:?} is not one of F32, BF16, F16, F64", view.dtype()))?;
    let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
    let bytes = view.data();
    // libtorch reads whole elements: a map that is not aligned to them is copied by `from_data_size` instead.
    let tensor = if (bytes.as_ptr() as usize).is_multiple_of(stored.elt_size_in_bytes()) && !bytes.is_empty()
    {
        // SAFETY: the bytes outlive the copy made by `to_device` below, and are only read.
        let mapped = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &shape, &[], stored, Device::Cpu) };
        mapped.and_then(|t| t.f_to_device_(device, kind, false, true))
    } else {
        Tensor::f_from_data_size(bytes, &shape, stored)
            .and_then(|t| t.f_to_device_(device, kind, false, true))
    };
    tensor.map_err(|e| e.to_string())
}

/// The files of the model in `dir`, and for every tensor the config asks for the one it is in.
pub struct Places {
    files: Vec<PathBuf>,
    /// By the tensor's name: the file's place among `files`.
    of: HashMap<String, usize>,
}

impl Places {
    /// Looks at the headers alone.
    ///
    /// # Errors
    /// A missing or truncated shard, a tensor that is missing or of another shape, layers that the config does not
    /// count: each names file and tensor, the first one in the model's order.
    pub fn find(dir: &Path, config: &QwenConfig) -> Result<Self> {
        let files = weight_files(dir)?;
        let shapes = shapes(&files, config)?;
        check(dir, config, &shapes)?;
        let place = |path: &Path| files.iter().position(|(p, _)| p == path).unwrap_or_default();
        let of = shapes.iter().map(|(name, (path, _))| (name.clone(), place(path))).collect();
        Ok(Self { of, files: files.into_iter().map(|(path, _)| path).collect() })
    }

    /// The files, in the order of their names.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the tensor `name` in `file` is the model's: one that the config does not know stands for itself.
    pub fn counts(&self, name: &str, file: usize) -> bool {
        self.of.get(name).is_none_or(|&place| place == file)
    }
}

/// Loads every tensor the config asks for, as `kind` on `device`.
///
/// # Errors
/// As [`Places::find`]; a tensor of a dtype that weights do not have.
pub fn load(dir: &Path, config: &QwenConfig, kind: Kind, device: Device) -> Result<Named> {
    let places = Places::find(dir, config)?;
    let mut found = Named::with_capacity(places.of.len());
    for (number, path) in places.files.iter().enumerate() {
        let shard = Shard::open(path)?;
        for (name, view) in shard.tensors()?.iter().filter(|(name, _)| places.of.get(*name) == Some(&number))
        {
            let tensor = to_tensor(&view, kind, device).user(format!("{}: {name}", path.display()))?;
            found.insert(name.to_owned(), tensor);
        }
    }
    for layer in 0..config.num_hidden_layers {
        join(&mut found, &["w1", "w2"].map(|m| format!("transformer.h.{layer}.mlp.{m}.weight")));
    }
    Ok(found)
}

/// Lays two weights of the same input side by side, so that one product computes both.
fn join(found: &mut Named, names: &[String; 2]) {
    let [Some(first), Some(second)] = names.each_ref().map(|name| found.get(name)) else { return };
    let rows = first.size()[0];
    // Where memory is short they stay as they are.
    if let Ok(both) = Tensor::f_cat(&[first, second], 0) {
        found.insert(names[0].clone(), both.narrow(0, 0, rows));
        found.insert(names[1].clone(), both.narrow(0, rows, both.size()[0] - rows));
    }
}

/// Compares the shapes that are there with those that the config asks for.
fn check(dir: &Path, config: &QwenConfig, shapes: &HashMap<String, (&PathBuf, Vec<i64>)>) -> Result<()> {
    let order = config.tensors();
    for (name, expected) in &order {
        if let Some((path, stored)) = shapes.get(name).filter(|(_, stored)| stored != expected) {
            return Err(Error::user(format!(
                "{}: {name} has shape {stored:?}, but config.json asks for {expected:?}",
                path.display()
            )));
        }
    }
    if let Some((name, _)) = order.iter().find(|(name, _)| !shapes.contains_key(name)) {
        let missing = order.iter().filter(|(name, _)| !shapes.contains_key(name)).count();
        return Err(Error::user(format!(
            "{}: {name} is missing ({missing} of {} tensors are); is this the whole model that config.json describes?",
            dir.display(),
            order.len()
        )));
    }
    Ok(())
}

/// The shape of each tensor of `config` that is in `files`, and which file it is in.
fn shapes<'a>(
    files: &'a [(PathBuf, Vec<String>)],
    config: &QwenConfig,
) -> Result<HashMap<String, (&'a PathBuf, Vec<i64>)>> {
    let wanted: HashMap<String, Vec<i64>> = config.tensors().into_iter().collect();
    let mut shapes = HashMap::new();
    let mut beyond: Option<(i64, &Path)> = None;
    for (path, expected) in files {
        let shard = Shard::open(path)?;
        let tensors = shard.tensors()?;
        if let Some(name) = expected.iter().find(|n| tensors.tensor(n).is_err()) {
            return Err(Error::user(format!(
                "{}: the index says {name} is in it, and it is not",
                path.display()
            )));
        }
        for (name, view) in tensors.iter() {
            if wanted.contains_key(name) {
                let stored = view.shape().iter().map(|&n| n as i64).collect();
                shapes.insert(name.to_owned(), (path, stored));
            } else if let Some(layer) = layer_of(name).filter(|&n| n >= config.num_hidden_layers)
                && beyond.is_none_or(|(most, _)| layer > most)
            {
                beyond = Some((layer, path));
            }
        }
    }
    match beyond {
        None => Ok(shapes),
        Some((layer, path)) => Err(Error::user(format!(
            "{}: has weights of transformer.h.{layer}, so the model has {} layers or more, but num_hidden_layers is {} \
             in config.json; config.json and weights are of two models",
            path.display(),
            layer.saturating_add(1),
            config.num_hidden_layers
        ))),
    }
}

/// N of `transformer.h.N.REST`.
fn layer_of(name: &str) -> Option<i64> {
    name.strip_prefix("transformer.h.")?.split('.').next()?.parse().ok()
}

/// The tensors of the model in `dir` that `left_out` does not name, on the CPU.
pub fn load_except(
    dir: &Path,
    kind: Kind,
    left_out: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Tensor>> {
    let mut found = BTreeMap::new();
    for (path, _) in weight_files(dir)? {
        let shard = Shard::open(&path)?;
        for (name, view) in shard.tensors()?.iter().filter(|(name, _)| !left_out(name)) {
            let tensor = to_tensor(&view, kind, Device::Cpu).user(format!("{}: {name}", path.display()))?;
            found.insert(name.to_owned(), tensor);
        }
    }
    Ok(found)
}

/// The elements of a contiguous tensor on the CPU, as they lie in memory.
pub fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>, tch::TchError> {
    let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// Writes `tensors` to `path` in safetensors, names sorted, with the metadata Python's tools expect.
pub fn save(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let mut buffers = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.to_device(Device::Cpu).contiguous();
        let kind = tensor.kind();
        let dtype =
            dtype_of(kind).ok_or_else(|| Error::internal(format!("{name}: {kind:?} is not written")))?;
        let bytes = bytes_of(&tensor).internal(name)?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect::<Vec<_>>();
        buffers.push((name.as_str(), dtype, shape, bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).map(|v| (*name, v))
        })
        .collect::<Result<Vec<_>, _>>()
        .internal(path.display())?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // The crate makes a file that only its owner may read; others may read it where the umask lets them.
    let mode = File::create(path).and_then(|f| f.metadata()).user(path.display())?.permissions();
    safetensors::serialize_to_file(views, Some(metadata), path).user(path.display())?;
    std::fs::set_permissions(path, mode).user(path.display())
}
