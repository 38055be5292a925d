// The device's operators: memory and views are its own, all arithmetic is LibTorch's CPU fallback, which copies the
// arguments to the host and the results back. Before that, what a real device would refuse is refused.
#include <ATen/EmptyTensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/ScopeExit.h>
#include <torch/library.h>

#include <cstring>
#include <utility>

#include "counters.h"
#include "memory.h"

namespace emulated_npu {
namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard there(device);
  return at::Tensor(at::detail::empty_generic(size, device_allocator(), kKeys, c10::dtype_or_default(dtype), format));
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard there(device);
  return at::Tensor(
      at::detail::empty_strided_generic(size, stride, device_allocator(), kKeys, c10::dtype_or_default(dtype)));
}

// While an operator computes on the host: what is moved then would not move on a real device.
thread_local bool computing = false;

// The one door between host and device. Converts types and strides too.
at::Tensor copy_from(const at::Tensor& self, const at::Tensor& dst, bool) {
  if (computing) {
    host_view(dst).copy_(host_view(self));
    return dst;
  }
  if (dst.is_cpu()) counters().add_to_host(static_cast<int64_t>(self.nbytes()));
  if (self.is_cpu()) counters().add_to_device(static_cast<int64_t>(self.nbytes()));
  host_view(dst).copy_(host_view(self));
  return dst;
}

const at::Tensor& resize(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  c10::TensorImpl* impl = self.unsafeGetTensorImpl();
  const size_t bytes =
      at::detail::computeStorageNbytesContiguous(size, self.element_size(), static_cast<size_t>(self.storage_offset()));
  const c10::Storage& storage = self.storage();
  if (bytes > storage.nbytes()) {
    const c10::OptionalDeviceGuard there(self.device());
    c10::DataPtr grown = device_allocator()->allocate(bytes);
    if (storage.nbytes() > 0) {
      std::memcpy(host_address(grown.get()), host_address(storage.data()), storage.nbytes());
    }
    storage.set_data_ptr_noswap(std::move(grown));
    storage.set_nbytes(bytes);
  }
  impl->set_sizes_contiguous(size);
  if (format) impl->empty_tensor_restride(*format);
  return self;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& dst) {
  if (dst.sizes() != self.sizes()) dst.resize_(self.sizes());
  return copy_from(self, dst, false);
}

at::Tensor& set_storage(at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size,
                        at::IntArrayRef stride) {
  c10::TensorImpl* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  impl->set_storage_offset(offset);
  if (stride.empty()) {
    impl->set_sizes_contiguous(size);
  } else {
    impl->set_sizes_and_strides(size, stride);
  }
  return self;
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

// LibTorch's choice of a fused attention asks the hardware; this one has none.
int64_t attention_choice(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                         double, bool, std::optional<double>, bool) {
  return 0;  // sdp::SDPBackend::math
}

// Calls `visit` with every tensor among the arguments.
template <typename Visit>
void visit_tensors(const c10::IValue& value, const Visit& visit) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) visit(value.toTensor());
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) visit_tensors(item, visit);
  }
}

void check_arguments(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const size_t count = op.schema().arguments().size();
  bool device = false, host = false;
  for (size_t i = stack.size() - count; i < stack.size(); ++i) {
    const c10::IValue& value = stack[i];
    visit_tensors(value, [&](const at::Tensor& tensor) {
      if (tensor.device().is_privateuseone()) device = true;
      if (tensor.is_cpu() && tensor.dim() > 0) host = true;  // a lone number may come from the host
    });
    if (value.isDevice() && value.toDevice().is_privateuseone()) device = true;
    TORCH_CHECK(
        !value.isGenerator() || !value.toGenerator().defined() || value.toGenerator().device().is_privateuseone(),
        "Expected a 'npu' device type for generator but found 'cpu' (in ", op.operator_name(), ")");
  }
  TORCH_CHECK(!(device && host),
              "Expected all tensors to be on the same device, but found at least two devices, npu:0 and cpu! (in ",
              op.operator_name(), ")");
}

void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  check_arguments(op, *stack);
  counters().add_op(op.operator_name().name);
  const bool outer = std::exchange(computing, true);
  const auto restore = c10::make_scope_exit([outer] { computing = outer; });
  at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("resize_", resize);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("view_as_real", at::native::view_as_real);
  m.impl("view_as_complex", at::native::view_as_complex);
  m.impl("_fused_sdp_choice", attention_choice);
  // LibTorch would ask a foreign device for convolution kernels of its own before it tried the fallback.
  m.impl("convolution", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  m.impl("convolution_backward", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

}  // namespace
}  // namespace emulated_npu
