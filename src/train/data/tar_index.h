#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace glmimage::train {

struct TarMember {
  std::string name;               // with its folders
  uint64_t offset = 0, size = 0;  // of its bytes in the archive
};

struct TarIndex {
  std::vector<TarMember> members;  // regular files, in the archive's order
  std::string fault;               // why the archive was not read to its end, one sentence; empty when it was
};

// Where the files in a tar archive lie, from its headers alone: ustar (with prefixes), GNU long names, pax paths and
// sizes, sizes in octal and in base 256. Links, folders and other kinds are left out.
// A broken archive gives the members before the break, and says in `fault` what was found at which byte.
// Throws ErrorKind::usage when the file cannot be read, is compressed, or does not begin as a tar archive.
//
// Why not libarchive: it is a stream reader. It says where a member's header begins but not its bytes, so every visit
// would open the archive anew at that place and parse again. Shuffled training wants (offset, size) and one pread.
TarIndex index_tar(const std::filesystem::path& file);

}  // namespace glmimage::train
