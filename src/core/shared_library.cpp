#include "core/shared_library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace glmimage {

// Its names are its own (RTLD_LOCAL): libraries of the process do not find theirs among them.
SharedLibrary::SharedLibrary(const char* file, const char* debian_package)
    : file_(file), handle_(::dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
  if (handle_) return;
  const char* why = ::dlerror();
  fail(ErrorKind::io, "the library ", file, " is needed and cannot be opened (", why ? why : "unknown reason",
       "): is the package ", debian_package, " installed?");
}

SharedLibrary::Symbol SharedLibrary::operator[](const char* name) const {
  void* address = ::dlsym(handle_, name);
  if (!address) fail(ErrorKind::io, "the library ", file_, " has no ", name, ": is it an old version?");
  return {address};
}

}  // namespace glmimage
