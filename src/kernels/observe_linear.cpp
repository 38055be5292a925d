// LibTorch is built with NDEBUG, and without it this header would have RecordFunction::inputs() ask for a mark that the
// library then never sets.
#ifndef NDEBUG
#define NDEBUG
#endif
#include <ATen/record_function.h>

#include <cstring>
#include <exception>
#include <memory>

#include "core/error.h"
#include "kernels/observe_linear.h"

namespace glmimage::kernels {
namespace {

struct Watch {
  const std::function<void(const at::Tensor&, const at::Tensor&)>& seen;
  std::exception_ptr fault;  // LibTorch swallows what its observers throw
};

// LibTorch calls a plain function: this is where it finds whom to tell.
thread_local Watch* watch = nullptr;

std::unique_ptr<at::ObserverContext> tell(const at::RecordFunction& operation) {
  if (!watch || watch->fault || std::strcmp(operation.name(), "glm_image::linear") != 0) return nullptr;
  const at::DisableRecordFunctionGuard unobserved;
  try {
    const auto operands = operation.inputs();
    watch->seen(operands[0].toTensor(), operands[1].toTensor());
  } catch (...) {
    watch->fault = std::current_exception();
  }
  return nullptr;
}

class Watching {
 public:
  explicit Watching(Watch& mine)
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(tell).needsInputs(true).scopes({at::RecordScope::FUNCTION}))) {
    watch = &mine;
  }
  ~Watching() {
    watch = nullptr;
    at::removeCallback(handle_);
  }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

 private:
  at::CallbackHandle handle_;
};

}  // namespace

void observe_linear(const std::function<void()>& work,
                    const std::function<void(const at::Tensor& x, const at::Tensor& weight)>& seen) {
  if (watch) fail(ErrorKind::internal, "observe_linear: products are observed already");
  Watch mine{seen, nullptr};
  {
    const Watching watching(mine);
    work();
  }
  if (mine.fault) std::rethrow_exception(mine.fault);
}

}  // namespace glmimage::kernels
