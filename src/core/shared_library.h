#pragma once

#include <string>

namespace glmimage {

// A library of the system that is opened when it is first needed: most runs of the program need none, and each library
// that is linked costs every run the time to load it and what it needs itself. It stays open until the process ends.
//
//   struct LibZ {
//     SharedLibrary library{"libz.so.1", "zlib1g"};
//     decltype(&::crc32) crc32 = library["crc32"];  // the type is the header's
//   };
class SharedLibrary {
 public:
  // A function by its name, to be kept as a pointer of its type.
  struct Symbol {
    void* address;
    template <typename Function>
    operator Function*() const {  // NOLINT(google-explicit-constructor): what dlsym is for
      return reinterpret_cast<Function*>(address);
    }
  };

  // `file`: the library's soname. Throws ErrorKind::io that names it and the Debian package that holds it.
  SharedLibrary(const char* file, const char* debian_package);
  // Throws ErrorKind::io where the library, of an older version, has no such function.
  Symbol operator[](const char* name) const;

 private:
  std::string file_;
  void* handle_;
};

}  // namespace glmimage
