#include "core/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ne.h>
#include <c10/core/ScalarType.h>
#include <c10/util/accumulate.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"

namespace glmimage {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;          // the file begins with the header's length, little-endian
constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr size_t kMaxDimensions = 64;         // LibTorch's iterators stop here
constexpr int kMaxJsonDepth = 3;              // {name: {shape: [...]}}

struct DtypeName {
  const char* name;
  at::ScalarType dtype;
};
constexpr std::array<DtypeName, 15> kDtypes{{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"U16", at::kUInt16},
    {"U32", at::kUInt32},
    {"U64", at::kUInt64},
}};

// 4096 -> "4,096".
std::string grouped(uint64_t n) {
  std::string digits = std::to_string(n);
  for (size_t i = digits.size(); i > 3;) digits.insert(i -= 3, 1, ',');
  return digits;
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { ::close(fd_); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Mapping {
  std::shared_ptr<const char> bytes;
  uint64_t size = 0;
};

Mapping map_file(const std::filesystem::path& path) {
  const std::string& name = path.native();
  int raw = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (raw < 0) fail(ErrorKind::checkpoint, name, ": cannot be opened: ", std::strerror(errno));
  FileDescriptor fd(raw);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail(ErrorKind::checkpoint, name, ": cannot be read: ", std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::checkpoint, name, ": expected a safetensors file, not a folder");
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size < kLengthBytes) {
    fail(ErrorKind::checkpoint, name, ": the file has ", size, " bytes, fewer than a safetensors file's first field (",
         kLengthBytes, " bytes): an incomplete download?");
  }
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) fail(ErrorKind::checkpoint, name, ": cannot be mapped: ", std::strerror(errno));
  std::shared_ptr<const char> bytes(static_cast<const char*>(address),
                                    [size](const char* p) { ::munmap(const_cast<char*>(p), size); });
  return {std::move(bytes), size};
}

// Refuses what nlohmann::json would let pass: a key given twice (the last would win silently) and nesting deeper than
// the format knows (a hostile header could make it eat memory).
json parse_header(const std::string& file, const char* begin, const char* end) {
  std::vector<std::set<std::string>> keys;
  auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxJsonDepth) fail(ErrorKind::checkpoint, file, ": the header is nested too deeply: a broken file");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      auto key = parsed.get<std::string>();
      if (!keys.back().insert(key).second) {
        fail(ErrorKind::checkpoint, file, ": the header names ", quoted_name(key), " twice: a broken file");
      }
    }
    return true;
  };
  try {
    return json::parse(begin, end, check);
  } catch (const json::exception& e) {
    fail(ErrorKind::checkpoint, file, ": the header is not valid JSON: ", e.what());
  }
}

std::map<std::string, std::string> parse_metadata(const std::string& file, const json& value) {
  std::map<std::string, std::string> out;
  if (value.is_null()) return out;
  if (!value.is_object()) fail(ErrorKind::checkpoint, file, ": field '__metadata__' should be an object of texts");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) fail(ErrorKind::checkpoint, file, ": field '__metadata__' should be an object of texts");
    out[key] = text.get<std::string>();
  }
  return out;
}

at::ScalarType parse_tensor_dtype(const std::string& where, const json& entry) {
  auto it = entry.find("dtype");
  if (it == entry.end() || !it->is_string()) fail(ErrorKind::checkpoint, where, " has no dtype");
  const auto& name = it->get_ref<const std::string&>();
  for (const DtypeName& known : kDtypes) {
    if (name == known.name) return known.dtype;
  }
  fail(ErrorKind::checkpoint, where, " has the unknown dtype ", quoted_name(name));
}

std::vector<int64_t> parse_shape(const std::string& where, const json& entry) {
  auto it = entry.find("shape");
  if (it == entry.end() || !it->is_array()) fail(ErrorKind::checkpoint, where, " has no shape");
  if (it->size() > kMaxDimensions) {
    fail(ErrorKind::checkpoint, where, " has ", it->size(), " dimensions, more than ", kMaxDimensions);
  }
  std::vector<int64_t> shape;
  for (const json& dim : *it) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      fail(ErrorKind::checkpoint, where, " has the shape ", it->dump(), ": not a list of non-negative integers");
    }
    shape.push_back(dim.get<int64_t>());
  }
  return shape;
}

// product(shape) * item_size. Zeros count as one for the overflow check, as they do in a tensor's strides.
uint64_t checked_bytes(const std::string& where, const std::vector<int64_t>& shape, size_t item_size) {
  auto strides_bytes = static_cast<int64_t>(item_size);
  bool empty = false;
  for (int64_t dim : shape) {
    empty = empty || dim == 0;
    if (__builtin_mul_overflow(strides_bytes, std::max<int64_t>(dim, 1), &strides_bytes)) {
      fail(ErrorKind::checkpoint, where, " has the shape ", json(shape).dump(), ": more than 2^63 bytes");
    }
  }
  return empty ? 0 : static_cast<uint64_t>(strides_bytes);
}

// One entry, offsets still counted from the end of the header.
TensorInfo parse_entry(const std::string& file, const std::string& name, const json& entry) {
  const std::string where = concat(file, ": tensor ", quoted_name(name));
  if (!entry.is_object()) fail(ErrorKind::checkpoint, where, " should be a JSON object");
  TensorInfo info{name, parse_tensor_dtype(where, entry), parse_shape(where, entry)};
  auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    fail(ErrorKind::checkpoint, where, " has no data_offsets [begin, end]");
  }
  info.begin = (*offsets)[0].get<uint64_t>();
  info.end = (*offsets)[1].get<uint64_t>();
  if (info.begin > info.end) {
    fail(ErrorKind::checkpoint, where, " begins at ", grouped(info.begin), ", after its end at ", grouped(info.end));
  }
  uint64_t bytes = checked_bytes(where, info.shape, c10::elementSize(info.dtype));
  if (info.end - info.begin != bytes) {
    fail(ErrorKind::checkpoint, where, " has ", grouped(info.end - info.begin), " bytes, but its shape ",
         json(info.shape).dump(), " and dtype ", safetensors_dtype_name(info.dtype), " need ", grouped(bytes));
  }
  return info;
}

// The format wants the tensors to fill the data section: no overlap, no holes, nothing after the last.
void check_layout(const std::string& file, const std::vector<TensorInfo>& tensors, uint64_t data_begin, uint64_t size) {
  uint64_t position = 0;
  for (const TensorInfo& info : tensors) {
    if (info.begin < position) {
      fail(ErrorKind::checkpoint, file, ": tensor ", quoted_name(info.name),
           " overlaps the one before it: a broken file");
    }
    if (info.begin > position) {
      fail(ErrorKind::checkpoint, file, ": nothing fills the ", grouped(info.begin - position), " bytes before tensor ",
           quoted_name(info.name), ": a broken file");
    }
    position = info.end;
  }
  const uint64_t room = size - data_begin;
  if (position > room) {
    // The sum could overflow for a hostile offset; the message then shows the offset itself.
    uint64_t expected = 0;
    if (__builtin_add_overflow(position, data_begin, &expected)) expected = position;
    fail(ErrorKind::checkpoint, file, ": the header says ", grouped(expected), " bytes but the file ends at byte ",
         grouped(size), ": an incomplete download?");
  }
  if (position < room) {
    fail(ErrorKind::checkpoint, file, ": ", grouped(room - position), " bytes follow the last tensor: a broken file");
  }
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& file) {
  const std::string& name = file.native();
  Mapping mapping = map_file(file);
  const char* bytes = mapping.bytes.get();
  uint64_t length = 0;
  for (uint64_t i = 0; i < kLengthBytes; ++i) length |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  if (length > kMaxHeader) {
    fail(ErrorKind::checkpoint, name, ": the header would be ", grouped(length), " bytes long, more than ",
         grouped(kMaxHeader), ": not a safetensors file?");
  }
  const uint64_t data_begin = kLengthBytes + length;
  if (data_begin > mapping.size) {
    fail(ErrorKind::checkpoint, name, ": the header says ", grouped(data_begin), " bytes but the file ends at byte ",
         grouped(mapping.size), ": an incomplete download?");
  }
  if (length == 0 || bytes[kLengthBytes] != '{') {
    fail(ErrorKind::checkpoint, name, ": the header does not begin with '{': not a safetensors file?");
  }
  const json header = parse_header(name, bytes + kLengthBytes, bytes + data_begin);

  SafetensorsFile out;
  out.path_ = file;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      out.metadata_ = parse_metadata(name, entry);
    } else {
      out.tensors_.push_back(parse_entry(name, key, entry));
    }
  }
  std::stable_sort(out.tensors_.begin(), out.tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_layout(name, out.tensors_, data_begin, mapping.size);
  for (size_t i = 0; i < out.tensors_.size(); ++i) {
    out.tensors_[i].begin += data_begin;
    out.tensors_[i].end += data_begin;
    out.index_[out.tensors_[i].name] = i;
  }
  out.mapping_ = std::move(mapping.bytes);
  out.size_ = mapping.size;
  return out;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const TensorInfo* info = find(name);
  if (!info) fail(ErrorKind::checkpoint, path_.native(), ": holds no tensor named ", quoted_name(name));
  const size_t item_size = c10::elementSize(info->dtype);
  const auto bytes = static_cast<size_t>(info->end - info->begin);
  const char* source = mapping_.get() + info->begin;
  if (bytes == 0) return at::empty(info->shape, at::TensorOptions(info->dtype));
  if (reinterpret_cast<uintptr_t>(source) % item_size != 0) {
    at::Tensor copy = at::empty(info->shape, at::TensorOptions(info->dtype));  // (shape)
    std::memcpy(copy.mutable_data_ptr(), source, bytes);
    return copy;
  }
  // A byte other than 0 or 1 in a bool tensor is undefined behaviour, so bools are always normalised (and copied).
  const at::ScalarType mapped_dtype = info->dtype == at::kBool ? at::kByte : info->dtype;
  at::Tensor mapped = at::from_blob(  // (shape)
      const_cast<char*>(source), info->shape, [keep = mapping_](void*) {}, at::TensorOptions(mapped_dtype));
  return info->dtype == at::kBool ? at::ne(mapped, 0) : mapped;
}

int64_t TensorInfo::elements() const { return c10::multiply_integers(shape); }

void SafetensorsFile::release(const std::string& name) const {
  const TensorInfo* info = find(name);
  if (!info) return;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  // Whole pages only: those at the ends may hold a neighbour's bytes.
  const uint64_t first = (info->begin + page - 1) / page * page, last = info->end / page * page;
  if (first < last) ::madvise(const_cast<char*>(mapping_.get()) + first, last - first, MADV_DONTNEED);
}

std::string quoted_name(const std::string& name) {
  return json(name.substr(0, 200)).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string safetensors_dtype_name(at::ScalarType dtype) {
  for (const DtypeName& known : kDtypes) {
    if (dtype == known.dtype) return known.name;
  }
  fail(ErrorKind::internal, "safetensors has no name for the dtype ", c10::toString(dtype));
}

}  // namespace glmimage
