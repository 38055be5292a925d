#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/safetensors.h"

namespace glmimage {
namespace {

std::string reason(int error) {
  std::string text = std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) text += "; is the disk (or the quota) full?";
  if (error == EFBIG) text += "; is there a file size limit (ulimit -f)?";
  return text;
}

// The temporary file beside the target: removed unless it was renamed into place.
class PartFile {
 public:
  explicit PartFile(const std::filesystem::path& target) : target_(target.native()), part_(target_ + ".part") {
    fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd_ < 0) fail(ErrorKind::io, target_, ": cannot be written: ", part_, ": ", reason(errno));
  }
  ~PartFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!renamed_) ::unlink(part_.c_str());
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  void write(const void* data, uint64_t count) {
    const char* bytes = static_cast<const char*>(data);
    while (count > 0) {
      ssize_t n = ::write(fd_, bytes, std::min<uint64_t>(count, uint64_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      // A write of nothing would loop for ever; a full disk is the only cause seen.
      if (n <= 0) fail(ErrorKind::io, target_, ": writing failed after ", written_, " bytes: ", reason(n < 0 ? errno : ENOSPC));
      bytes += n;
      count -= static_cast<uint64_t>(n);
      written_ += static_cast<uint64_t>(n);
    }
  }

  // To the disk, then under its own name: nobody sees half a file, not even after a power cut.
  void commit() {
    if (::fsync(fd_) != 0) fail(ErrorKind::io, target_, ": writing to the disk failed: ", reason(errno));
    int closed = ::close(fd_);
    fd_ = -1;
    if (closed != 0 && errno != EINTR) fail(ErrorKind::io, target_, ": writing to the disk failed: ", reason(errno));
    if (::rename(part_.c_str(), target_.c_str()) != 0) {
      fail(ErrorKind::io, target_, ": cannot be put into place: ", reason(errno));
    }
    renamed_ = true;
    sync_folder();
  }

 private:
  void sync_folder() {
    std::filesystem::path folder = std::filesystem::path(target_).parent_path();
    int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;  // a folder one may write but not read cannot be synced
    int synced = ::fsync(fd);
    int error = errno;
    ::close(fd);
    // Some network file systems do not sync folders and say so with EINVAL or ENOTSUP.
    if (synced != 0 && error != EINVAL && error != ENOTSUP) {
      fail(ErrorKind::io, target_, ": writing its folder to the disk failed: ", reason(error));
    }
  }

  std::string target_, part_;
  int fd_ = -1;
  uint64_t written_ = 0;
  bool renamed_ = false;
};

// As given, but wider types first: with the 8-byte aligned header every tensor then begins at a multiple of its element
// size, so readers can map it. (Python's safetensors writes in the same order of widths.)
std::vector<size_t> file_order(const NamedTensors& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return tensors[a].second.element_size() > tensors[b].second.element_size();
  });
  return order;
}

void check_names(const std::string& file, const NamedTensors& tensors) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) fail(ErrorKind::internal, file, ": tensor '", name, "' to be written is undefined");
    if (name == "__metadata__" || !names.insert(name).second) {
      fail(ErrorKind::internal, file, ": tensor name '", name, "' is reserved or given twice");
    }
  }
}

std::string header_text(const std::string& file, const NamedTensors& tensors, const std::vector<size_t>& order,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (size_t i : order) {
    const auto& [name, tensor] = tensors[i];
    int64_t end = offset + tensor.numel() * static_cast<int64_t>(tensor.element_size());
    header[name] = {{"dtype", safetensors_dtype_name(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorKind::internal, file, ": a tensor name or metadata text is not UTF-8: ", e.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of 8
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_names(file.native(), tensors);
  const std::vector<size_t> order = file_order(tensors);
  const std::string header = header_text(file.native(), tensors, order, metadata);
  PartFile part(file);
  char length[8];
  for (size_t i = 0; i < sizeof length; ++i) length[i] = static_cast<char>(uint64_t{header.size()} >> (8 * i));
  part.write(length, sizeof length);
  part.write(header.data(), header.size());
  for (size_t i : order) {
    at::Tensor host = tensors[i].second.detach().cpu().contiguous();  // (shape); one at a time, to spare host memory
    part.write(host.const_data_ptr(), static_cast<uint64_t>(host.nbytes()));
  }
  part.commit();
}

}  // namespace glmimage
