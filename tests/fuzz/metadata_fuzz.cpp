// What a picture says about itself: whatever the file is, it is refused with ErrorKind::usage, or its faults are
// listed.
#include "core/error.h"
#include "core/picture_metadata.h"
#include "fuzz/memory_file.h"

using namespace glmimage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    read_metadata({data, size}, "picture");
  } catch (const Error& error) {
    test::require(error.kind() == ErrorKind::usage);
  }
  return 0;
}
