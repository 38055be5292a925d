#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/part_file.h"
#include "core/safetensors.h"

namespace glmimage {
namespace {

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
