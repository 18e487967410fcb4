//! Weights in safetensors: memory-mapped, checked against the config, sent to the device one tensor at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::human;
use qwen_tui::model::weight_files;
pub use qwen_tui::model::{Places, Shard};
use safetensors::Dtype;
use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;
use crate::{device, words};

/// Tensors by the names of the published checkpoints.
pub type Named = HashMap<String, Tensor>;

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

/// `bytes` as a tensor that lives no longer than they do: a view of them, or a copy where they are not aligned to whole
/// elements, which is what libtorch reads.
///
/// # Safety
/// Nothing may use the tensor, or a view of it, after the bytes.
unsafe fn shown(bytes: &[u8], shape: &[i64], stored: Kind) -> Result<Tensor, tch::TchError> {
    if (bytes.as_ptr() as usize).is_multiple_of(stored.elt_size_in_bytes()) && !bytes.is_empty() {
        // SAFETY: the bytes are read only, and outlive the tensor by the caller's word.
        unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, &[], stored, Device::Cpu) }
    } else {
        Tensor::f_from_data_size(bytes, shape, stored)
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
    // SAFETY: the view outlives the copy made at once.
    let shown = unsafe { shown(view.data(), &shape, stored) };
    let tensor = shown.and_then(|t| t.f_to_device_(device, kind, false, true));
    tensor.map_err(|e| e.to_string())
}

/// Loads every tensor the config asks for, as `kind` on `device`.
///
/// # Errors
/// As [`Places::find`]; a tensor of a dtype that weights do not have.
pub fn load(dir: &Path, config: &QwenConfig, kind: Kind, device: Device) -> Result<Named> {
    let places = Places::find(dir, config)?;
    let mut found = Named::new();
    for (number, path) in places.files().iter().enumerate() {
        let shard = Shard::open(path)?;
        for (name, view) in shard.tensors()?.iter().filter(|(name, _)| places.holds(name, number)) {
            let tensor = match device {
                Device::Cpu => in_pieces(&shard, &view, kind),
                _ => to_tensor(&view, kind, device),
            };
            let tensor = tensor
                .map_err(|text| not_loaded(&format!("{}: {name}", path.display()), &text, kind, device))?;
            found.insert(name.to_owned(), tensor);
            shard.forget(view.data());
        }
    }
    for layer in 0..config.num_hidden_layers {
        join(&mut found, &["w1", "w2"].map(|m| format!("transformer.h.{layer}.mlp.{m}.weight")));
    }
    Ok(found)
}

fn not_loaded(what: &str, text: &str, kind: Kind, device: Device) -> Error {
    if !words::is_of_memory(text) {
        return Error::user(format!("{what}: {}", words::brief(text)));
    }
    let smaller = if kind == Kind::Float { "dtype bf16 or " } else { "" };
    Error::user(format!(
        "{what}: the weights do not fit the memory of {}, of which {} are left: {}; end what else takes of it, or use \
         {smaller}a device with more memory",
        device::label(device),
        human::bytes(device::available_memory(device)),
        words::of_memory(text)
    ))
}

/// [`to_tensor`] on the CPU, piece by piece, so that no more than a piece is in memory twice.
fn in_pieces(
    shard: &Shard,
    view: &safetensors::tensor::TensorView<'_>,
    kind: Kind,
) -> Result<Tensor, String> {
    const PIECE: usize = 16 << 20;
    let stored =
        kind_of(view.dtype()).ok_or(format!("dtype {:?} is not one of F32, BF16, F16, F64", view.dtype()))?;
    let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
    let copy = || {
        let whole = Tensor::f_empty(shape.as_slice(), (kind, Device::Cpu))?;
        let flat = whole.f_view(-1)?;
        let mut at = 0;
        for piece in view.data().chunks(PIECE) {
            let count = (piece.len() / stored.elt_size_in_bytes()) as i64;
            // SAFETY: the piece outlives the copy made at once.
            let part = unsafe { shown(piece, &[count], stored) }?;
            flat.f_narrow(0, at, count)?.f_copy_(&part)?;
            shard.forget(piece);
            at += count;
        }
        Ok(whole)
    };
    copy().map_err(|e: tch::TchError| e.to_string())
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
