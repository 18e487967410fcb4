//! What libtorch offers and tch does not bind (`shim/shim.cpp`). As with tch, an error of libtorch's is a panic with its
//! words, which whoever can do something about it catches.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn shim_addmm(y: *mut c_void, a: *const c_void, b: *const c_void, alpha: f64) -> *mut c_char;
    fn shim_add(y: *mut c_void, x: *const c_void, alpha: f64) -> *mut c_char;
    fn shim_addcmul(y: *mut c_void, a: *const c_void, b: *const c_void, alpha: f64) -> *mut c_char;
    fn shim_below_autograd() -> *mut c_void;
    fn shim_end_below_autograd(guard: *mut c_void);
    fn shim_flash_attention(
        q: *const c_void,
        k: *const c_void,
        v: *const c_void,
        bounds: *const c_void,
        longest: i64,
        scale: f64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn shim_rms_norm_backward(
        gradient: *const c_void,
        x: *const c_void,
        rstd: *const c_void,
        weight: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn shim_send(here: *const c_void, device: i32, out: *mut *mut c_void) -> *mut c_char;
    fn shim_fetch(there: *const c_void, out: *mut *mut c_void, event: *mut *mut c_void) -> *mut c_char;
    fn shim_await(event: *mut c_void) -> *mut c_char;
    fn shim_forget(event: *mut c_void);
    fn shim_no_cudnn_attention() -> *mut c_char;
    fn shim_allocator_settings(settings: *const c_char) -> *mut c_char;
    fn shim_cuda_memory(device: i32, allocated: *mut i64, peak: *mut i64, reserved: *mut i64) -> *mut c_char;
    fn shim_reset_cuda_peak(device: i32) -> *mut c_char;
    fn shim_empty_cuda_cache() -> *mut c_char;
}

/// The words of an error, freed.
fn check(error: *mut c_char) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns null or a NUL-terminated string that is the caller's to free.
    let text = unsafe { CStr::from_ptr(error).to_string_lossy().into_owned() };
    unsafe { libc::free(error.cast()) };
    Err(text)
}

fn must(error: *mut c_char) {
    if let Err(text) = check(error) {
        panic!("{text}");
    }
}

fn ptr(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

/// Takes what the shim has allocated.
fn taken(tensor: *mut c_void) -> Tensor {
    // SAFETY: the shim has filled it with an owned tensor; tch's handle is a pointer to the same class.
    unsafe { Tensor::from_ptr(tensor.cast::<C_tensor>()) }
}

/// `y += alpha * a b`: `[n, k]` and `[k, m]` to `[n, m]`, without gradients.
pub fn addmm_(y: &mut Tensor, a: &Tensor, b: &Tensor, alpha: f64) {
    // SAFETY: live tensors; `y` is ours alone to write.
    must(unsafe { shim_addmm(y.as_mut_ptr().cast(), ptr(a), ptr(b), alpha) });
}

/// `y += alpha * x`, without gradients.
pub fn add_(y: &mut Tensor, x: &Tensor, alpha: f64) {
    // SAFETY: live tensors; `y` is ours alone to write.
    must(unsafe { shim_add(y.as_mut_ptr().cast(), ptr(x), alpha) });
}

/// `y += alpha * a * b` elementwise, without gradients; shapes are broadcast to that of `y`.
pub fn addcmul_(y: &mut Tensor, a: &Tensor, b: &Tensor, alpha: f64) {
    // SAFETY: live tensors; `y` is ours alone to write.
    must(unsafe { shim_addcmul(y.as_mut_ptr().cast(), ptr(a), ptr(b), alpha) });
}

/// While it lives, operations of this thread go straight to their kernels: with gradients merely turned off, each still
/// passes two of autograd's wrappers. What is made meanwhile can take part in autograd afterwards.
#[derive(Debug)]
pub struct BelowAutograd {
    guard: *mut c_void,
}

impl BelowAutograd {
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: no arguments; the pointer keeps the guard on the thread that it was made on.
        Self { guard: unsafe { shim_below_autograd() } }
    }
}

impl Drop for BelowAutograd {
    fn drop(&mut self) {
        // SAFETY: made by `new`, deleted once.
        unsafe { shim_end_below_autograd(self.guard) };
    }
}

/// What flash attention (Dao 2023) leaves.
#[derive(Debug)]
pub struct Flash {
    /// `[tokens, heads, head_dim]`
    pub out: Tensor,
    pub logsumexp: Tensor,
    rng: Tensor,
    unused: Tensor,
}

/// Causal attention over rows laid end to end, each `[tokens, heads, head_dim]` in bf16 or fp16 on a GPU; `bounds`
/// `[rows + 1]` int32 says where rows begin and end.
pub fn flash_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    bounds: &Tensor,
    longest: i64,
    scale: f64,
) -> Flash {
    let mut out = [null_mut(); 4];
    // SAFETY: live tensors, and room for what comes back.
    must(unsafe {
        shim_flash_attention(ptr(q), ptr(k), ptr(v), ptr(bounds), longest, scale, out.as_mut_ptr())
    });
    let [result, logsumexp, rng, unused] = out.map(taken);
    Flash { out: result, logsumexp, rng, unused }
}

impl Flash {
    /// The gradients of q, k and v.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        gradient: &Tensor,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        bounds: &Tensor,
        longest: i64,
        scale: f64,
    ) -> (Tensor, Tensor, Tensor) {
        Tensor::internal_flash_attention_backward(
            gradient,
            q,
            k,
            v,
            &self.out,
            &self.logsumexp,
            bounds,
            bounds,
            longest,
            longest,
            0.0,
            true,
            &self.rng,
            &self.unused,
            scale,
            None,
            None,
        )
    }
}

/// The gradient of RMS norm's input `x` `[tokens, h]`, of which the forward pass has left `rstd` `[tokens, 1]` (GPU).
pub fn rms_norm_backward(gradient: &Tensor, x: &Tensor, rstd: &Tensor, weight: &Tensor) -> Tensor {
    let mut out = [null_mut()];
    // SAFETY: live tensors, and room for what comes back.
    must(unsafe { shim_rms_norm_backward(ptr(gradient), ptr(x), ptr(rstd), ptr(weight), out.as_mut_ptr()) });
    taken(out[0])
}

/// `here` on `device`. A copy to a GPU waits for nothing that it is at work on.
pub fn sent(here: Tensor, device: Device) -> Tensor {
    let Device::Cuda(number) = device else { return here.to_device(device) };
    let mut out = [null_mut()];
    // SAFETY: a live tensor, and room for what comes back.
    must(unsafe { shim_send(ptr(&here), number as i32, out.as_mut_ptr()) });
    taken(out[0])
}

/// A tensor on its way to the CPU.
#[derive(Debug)]
pub struct Fetched {
    here: Tensor,
    /// Says when it has arrived; null where it was here.
    event: *mut c_void,
}

impl Fetched {
    /// Sets out for a copy of `there` as it is when the device has come to this.
    pub fn new(there: &Tensor) -> Self {
        let Device::Cuda(_) = there.device() else {
            return Self { here: there.shallow_clone(), event: null_mut() };
        };
        let (mut out, mut event) = ([null_mut()], null_mut());
        // SAFETY: a live tensor, and room for what comes back.
        must(unsafe { shim_fetch(ptr(there), out.as_mut_ptr(), &mut event) });
        Self { here: taken(out[0]), event }
    }

    /// The tensor, waited for.
    pub fn wait(&self) -> &Tensor {
        if !self.event.is_null() {
            // SAFETY: made by `new`, deleted by `drop`.
            must(unsafe { shim_await(self.event) });
        }
        &self.here
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if !self.event.is_null() {
            // SAFETY: made by `new`, deleted once.
            unsafe { shim_forget(self.event) };
        }
    }
}

/// Keeps `scaled_dot_product_attention` from cuDNN, which plans anew for every shape: some 100 ms for each length of
/// row that has not come before (measured on an H200).
pub fn no_cudnn_attention() -> Result<(), String> {
    // SAFETY: no arguments.
    check(unsafe { shim_no_cudnn_attention() })
}

/// How libtorch keeps memory of a GPU, in the words of `PYTORCH_CUDA_ALLOC_CONF`; to be said before there is any.
///
/// # Errors
/// libtorch's words, where it knows no such setting.
pub fn allocator_settings(settings: &CStr) -> Result<(), String> {
    // SAFETY: a NUL-terminated string, which is read during the call.
    check(unsafe { shim_allocator_settings(settings.as_ptr()) })
}

/// Memory of a GPU as libtorch gives it out, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaMemory {
    /// What tensors have now.
    pub allocated: u64,
    /// The most that tensors have had since [`reset_cuda_peak`].
    pub peak: u64,
    /// The most that libtorch has taken from the driver since then.
    pub reserved: u64,
}

/// Memory of GPU number `device`.
///
/// # Errors
/// libtorch's words, where its CUDA half is not loaded.
pub fn cuda_memory(device: usize) -> Result<CudaMemory, String> {
    let (mut allocated, mut peak, mut reserved) = (0, 0, 0);
    // SAFETY: room for three numbers.
    check(unsafe { shim_cuda_memory(device as i32, &mut allocated, &mut peak, &mut reserved) })?;
    Ok(CudaMemory { allocated: allocated as u64, peak: peak as u64, reserved: reserved as u64 })
}

/// Counts [`CudaMemory::peak`] from now on.
///
/// # Errors
/// As [`cuda_memory`].
pub fn reset_cuda_peak(device: usize) -> Result<(), String> {
    // SAFETY: a number.
    check(unsafe { shim_reset_cuda_peak(device as i32) })
}

/// Gives memory that no tensor has back to the driver.
///
/// # Errors
/// As [`cuda_memory`].
pub fn empty_cuda_cache() -> Result<(), String> {
    // SAFETY: no arguments.
    check(unsafe { shim_empty_cuda_cache() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn in_place_sums_are_scaled() {
        let mut y = Tensor::ones([2, 3], (Kind::Double, Device::Cpu));
        let a = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]).view([2, 2]);
        let b = Tensor::from_slice(&[1.0, 0.0, 2.0, 0.0, 1.0, 3.0]).view([2, 3]);
        addmm_(&mut y, &a, &b, 0.5);
        let found = Vec::<f64>::try_from(y.flatten(0, -1)).unwrap();
        assert_eq!(found, [1.5, 2.0, 5.0, 2.5, 3.0, 10.0]);
        add_(&mut y, &b, -2.0);
        assert_eq!(y.double_value(&[0, 2]), 1.0);
    }

    #[test]
    fn libtorchs_errors_are_panics_with_its_words() {
        let text = std::panic::catch_unwind(|| {
            let mut y = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
            addmm_(
                &mut y,
                &Tensor::ones([2, 3], (Kind::Float, Device::Cpu)),
                &Tensor::ones([2, 2], (Kind::Float, Device::Cpu)),
                1.0,
            );
        });
        let text = crate::words::of_panic(text.unwrap_err().as_ref());
        assert!(text.contains("shapes cannot be multiplied"), "{text}");
    }

    #[test]
    fn a_box_without_a_gpu_has_none_of_its_memory() {
        if crate::device::load_cuda().is_err() {
            assert!(cuda_memory(0).is_err());
        }
    }
}
