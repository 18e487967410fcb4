// What libtorch offers and tch does not bind: each function returns null, or libtorch's words, which the caller frees
// with `free`. Errors must not cross into Rust as exceptions.

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_fused_rms_norm_backward.h>
#include <ATen/ops/empty.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace {

template <typename F> char *guarded(F &&body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("an unknown C++ exception");
  }
}

const at::Tensor &of(const void *tensor) { return *static_cast<const at::Tensor *>(tensor); }

void *owned(at::Tensor tensor) { return new at::Tensor(std::move(tensor)); }

} // namespace

extern "C" {

// y += alpha * a b, all matrices.
char *shim_addmm(void *y, const void *a, const void *b, double alpha) {
  return guarded([&] { of(y).addmm_(of(a), of(b), 1.0, alpha); });
}

// y += alpha * x.
char *shim_add(void *y, const void *x, double alpha) {
  return guarded([&] { of(y).add_(of(x), alpha); });
}

// y += alpha * a * b, elementwise.
char *shim_addcmul(void *y, const void *a, const void *b, double alpha) {
  return guarded([&] { of(y).addcmul_(of(a), of(b), alpha); });
}

// Until it is deleted, operations of this thread do not pass through autograd's wrappers at all.
void *shim_below_autograd() { return new at::AutoDispatchBelowADInplaceOrView(); }

void shim_end_below_autograd(void *guard) { delete static_cast<at::AutoDispatchBelowADInplaceOrView *>(guard); }

// Causal attention over rows laid end to end; out: output, log-sum-exp and the two tensors that the way back wants.
char *shim_flash_attention(const void *q, const void *k, const void *v, const void *bounds, int64_t longest,
                           double scale, void **out) {
  return guarded([&] {
    auto [result, logsumexp, rng, unused, mask] = at::_flash_attention_forward(
        of(q), of(k), of(v), of(bounds), of(bounds), longest, longest, 0.0, true, false, scale);
    out[0] = owned(std::move(result));
    out[1] = owned(std::move(logsumexp));
    out[2] = owned(std::move(rng));
    out[3] = owned(std::move(unused));
  });
}

// The gradient of RMS norm's input.
char *shim_rms_norm_backward(const void *gradient, const void *x, const void *rstd, const void *weight, void **out) {
  return guarded([&] {
    auto grads = at::_fused_rms_norm_backward(of(gradient), of(x), of(weight).sizes(), of(rstd), of(weight),
                                              {true, false});
    out[0] = owned(std::move(std::get<0>(grads)));
  });
}

// A copy on a GPU that neither side waits for: through pinned memory, which the allocator keeps until it is read.
char *shim_send(const void *here, int32_t device, void **out) {
  return guarded([&] {
    at::Device there(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    out[0] = owned(of(here).pin_memory().to(there, of(here).scalar_type(), /*non_blocking=*/true));
  });
}

// A copy in pinned memory of a tensor on a GPU, and the event that says when it is there.
char *shim_fetch(const void *there, void **out, void **event) {
  return guarded([&] {
    const at::Tensor &t = of(there);
    auto here = at::empty(t.sizes(), t.options().device(at::kCPU).pinned_memory(true));
    here.copy_(t, /*non_blocking=*/true);
    auto arrived = std::make_unique<c10::Event>(c10::DeviceType::CUDA);
    arrived->record(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(t.device()));
    out[0] = owned(std::move(here));
    *event = arrived.release();
  });
}

// Waits for the event.
char *shim_await(void *event) {
  return guarded([&] { static_cast<c10::Event *>(event)->synchronize(); });
}

void shim_forget(void *event) { delete static_cast<c10::Event *>(event); }

// Attention through cuDNN is planned anew for every shape, which takes longer than the attention.
char *shim_no_cudnn_attention() {
  return guarded([] { at::globalContext().setSDPUseCuDNN(false); });
}

// How memory of a GPU is kept, in the words of PYTORCH_CUDA_ALLOC_CONF.
char *shim_allocator_settings(const char *settings) {
  return guarded([&] { c10::CachingAllocator::setAllocatorSettings(settings); });
}

// Bytes that tensors have on a GPU now, have had at most, and that are kept from the driver.
char *shim_cuda_memory(int32_t device, int64_t *allocated, int64_t *peak, int64_t *reserved) {
  return guarded([&] {
    auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *allocated = stats.allocated_bytes[all].current;
    *peak = stats.allocated_bytes[all].peak;
    *reserved = stats.reserved_bytes[all].peak;
  });
}

// Forgets the most that tensors have had.
char *shim_reset_cuda_peak(int32_t device) {
  return guarded([&] {
    c10::getDeviceAllocator(c10::DeviceType::CUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
  });
}

// Gives unused memory back to the driver.
char *shim_empty_cuda_cache() {
  return guarded([] { c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache(); });
}
}
