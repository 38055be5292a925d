// A file that may be a checkpoint: it is refused with ErrorKind::checkpoint, or every tensor can be read to its end.
#include "core/safetensors.h"

#include "core/error.h"
#include "fuzz/memory_file.h"

using namespace glmimage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const test::MemoryFile file(data, size);
  try {
    const SafetensorsFile weights = SafetensorsFile::open(file.path());
    uint64_t bytes = 0;
    for (const TensorInfo& info : weights.tensors()) {
      test::require(info.begin <= info.end && info.end <= size);
      test::require(weights.find(info.name) == &info);
      const at::Tensor tensor = weights.tensor(info.name);
      test::require(tensor.numel() == info.elements() && tensor.nbytes() == info.end - info.begin);
      const auto* values = static_cast<const uint8_t*>(tensor.const_data_ptr());
      for (size_t i = 0; i < tensor.nbytes(); ++i) bytes += values[i];
      weights.release(info.name);
    }
    [[maybe_unused]] static volatile uint64_t sink = 0;
    sink = bytes;
  } catch (const Error& error) {
    test::require(error.kind() == ErrorKind::checkpoint);
  }
  return 0;
}
