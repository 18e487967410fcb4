//! One tensor of the merged model, and where its numbers come from.

use std::collections::BTreeMap;

use qwen_tui::error::{Context, Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor};

use crate::model::weights::{bytes_of, dtype_of, kind_of, to_tensor};

/// Elements computed at once: 16 MB of fp32.
const BLOCK: usize = 1 << 22;

/// The trained tensors, which the model's take one by one.
pub struct Folded {
    /// By name: `MODULE.lora_A` `[r, in]`, `MODULE.lora_B` `[out, r]`, or a weight's own.
    tensors: BTreeMap<String, Tensor>,
    /// alpha / r.
    scale: f64,
    pub modules: usize,
    pub replaced: usize,
}

impl Folded {
    pub fn new(tensors: BTreeMap<String, Tensor>, scale: f64) -> Self {
        Self { tensors, scale, modules: 0, replaced: 0 }
    }

    /// What the training has made of the tensor `name`.
    fn take(&mut self, name: &str) -> Change {
        if let Some(tensor) = self.tensors.remove(name) {
            self.replaced += 1;
            return Change::Replaced(tensor);
        }
        let half = |which: &str| Some(format!("{}.lora_{which}", name.strip_suffix(".weight")?));
        let mut take = |which| half(which).and_then(|key| self.tensors.remove(&key));
        match (take("A"), take("B")) {
            (Some(a), Some(b)) => {
                self.modules += 1;
                Change::Updated { a, b, scale: self.scale }
            }
            _ => Change::None,
        }
    }

    /// # Errors
    /// A trained tensor that no tensor of the model has taken.
    pub fn all_taken(&self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(Error::user(format!("the adapter's {name} belongs to no weight of the base model")))
            }
        }
    }
}

enum Change {
    None,
    Updated { a: Tensor, b: Tensor, scale: f64 },
    Replaced(Tensor),
}

/// A tensor to write.
pub struct Piece<'a> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    base: TensorView<'a>,
    change: Change,
}

impl<'a> Piece<'a> {
    /// The tensor `name` with what `folded` has for it, as `kind` or in its own dtype.
    ///
    /// # Errors
    /// A trained tensor over one that holds no floating-point numbers.
    pub fn new(name: &str, base: TensorView<'a>, kind: Option<Kind>, folded: &mut Folded) -> Result<Self> {
        let change = folded.take(name);
        let own = base.dtype();
        let dtype = match kind_of(own) {
            Some(stored) => dtype_of(kind.unwrap_or(stored)).unwrap_or(own),
            None if matches!(change, Change::None) => own,
            None => {
                return Err(Error::user(format!(
                    "{name}: the base's dtype {own:?} is not one of F32, BF16, F16, F64; nothing can be added to it"
                )));
            }
        };
        Ok(Self { name: name.to_owned(), dtype, shape: base.shape().to_vec(), base, change })
    }

    /// Bytes of its elements.
    pub fn len(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8) as u64
    }

    /// Hands the elements to `write`, a block at a time.
    ///
    /// # Errors
    /// A number that is not finite; what `write` returns.
    pub fn write(&self, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let kind = match (kind_of(self.dtype), &self.change) {
            (Some(kind), _) if self.dtype != self.base.dtype() => kind,
            (Some(kind), Change::Updated { .. } | Change::Replaced(_)) => kind,
            // As it is, to the bit.
            _ => return self.base.data().chunks(BLOCK).try_for_each(write),
        };
        let wide = if self.base.dtype() == Dtype::F64 { Kind::Double } else { Kind::Float };
        let rows = self.shape.first().copied().unwrap_or(1);
        let width: usize = self.shape.iter().skip(1).product();
        let bytes_a_row = width * self.base.dtype().bitsize() / 8;
        let step = (BLOCK / width.max(1)).max(1);
        for from in (0..rows).step_by(step) {
            let count = step.min(rows - from);
            let data = &self.base.data()[from * bytes_a_row..(from + count) * bytes_a_row];
            let base = || {
                let view =
                    TensorView::new(self.base.dtype(), vec![count, width], data).internal(&self.name)?;
                to_tensor(&view, wide, Device::Cpu).user(&self.name)
            };
            let (from, count) = (from as i64, count as i64);
            let sum = match &self.change {
                Change::None => base()?,
                Change::Replaced(tensor) => tensor.f_narrow(0, from, count).internal(&self.name)?,
                Change::Updated { a, b, scale } => tch::no_grad(|| {
                    let update =
                        b.f_narrow(0, from, count)?.f_to_kind(wide)?.f_matmul(&a.f_to_kind(wide)?)?;
                    update.f_mul_scalar(*scale)
                })
                .and_then(|update: Tensor| update.f_add(&base().map_err(|e| torch(&e))?))
                .internal(&self.name)?,
            };
            let rounded = sum.f_to_kind(kind).and_then(|t| t.f_contiguous()).internal(&self.name)?;
            if !matches!(self.change, Change::None) || kind == Kind::Half {
                check_finite(&self.name, &rounded)?;
            }
            write(&bytes_of(&rounded).internal(&self.name)?)?;
        }
        Ok(())
    }
}

fn torch(e: &Error) -> tch::TchError {
    tch::TchError::Torch(e.to_string())
}

fn check_finite(name: &str, tensor: &Tensor) -> Result<()> {
    let finite = tensor.isfinite().all().int64_value(&[]) != 0;
    finite.then_some(()).ok_or_else(|| {
        Error::user(format!(
            "{name}: the merged weight is not finite: the adapter comes from a training that diverged, or the numbers do \
             not fit the dtype (try --dtype fp32)"
        ))
    })
}
