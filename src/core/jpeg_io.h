#pragma once

#include <cstddef>
#include <cstdio>
// jpeglib.h needs the two above
#include <jpeglib.h>
// and jerror.h the one above
#include <jerror.h>

#include <csetjmp>
#include <cstdint>
#include <span>

namespace glmimage {

// Where libjpeg's errors go: they must not return, and C++ exceptions must not cross its C frames, so they jump back to
// guarded(). A codec's client_data points to this.
struct JpegErrors {
  jpeg_error_mgr manager{};
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] inline void jpeg_failed(j_common_ptr info) {
  auto* errors = static_cast<JpegErrors*>(info->client_data);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

// Runs calls into libjpeg; false when one failed. `step` may be left by a jump: it must own nothing that needs a
// destructor.
template <typename Step>
bool guarded(JpegErrors& errors, const Step& step) {
  if (setjmp(errors.escape) != 0) return false;
  step();
  return true;
}

// Ready for jpeg_create_decompress.
struct JpegReader {
  JpegErrors errors;
  jpeg_decompress_struct info{};
  jpeg_progress_mgr progress{};
  JpegReader() {
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jpeg_failed;
    info.client_data = &errors;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info); }
};

}  // namespace glmimage
