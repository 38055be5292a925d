#include "core/image.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/image_codecs.h"

namespace glmimage {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;

struct FileDescriptor {
  int fd;
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// What the bytes look like, for the message about a file that is no picture we read.
const char* other_format(std::string_view head) {
  struct Signature {
    size_t at;
    std::string_view magic;
    const char* name;
  };
  static constexpr Signature kSignatures[] = {
      {0, "GIF8", "a GIF picture"},
      {0, "BM", "a BMP picture"},
      {0, std::string_view("II*\0", 4), "a TIFF picture"},
      {0, std::string_view("MM\0*", 4), "a TIFF picture"},
      {4, "ftypavif", "an AVIF picture"},
      {4, "ftyphei", "a HEIC picture"},
      {4, "ftypmif1", "a HEIC picture"},
      {0, "8BPS", "a Photoshop document"},
      {0, "%PDF", "a PDF document"},
      {0, "<svg", "an SVG drawing"},
      {0, "<", "a web page or XML file"},
  };
  for (const auto& [at, magic, name] : kSignatures) {
    if (head.size() >= at && head.substr(at).starts_with(magic)) return name;
  }
  return "something else";
}

}  // namespace

void check_image_size(const std::string& name, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0) {
    fail(ErrorKind::usage, name, ": its header says ", width, " x ", height, " px: a picture without pixels");
  }
  if (width > kMaxImageSide || height > kMaxImageSide) {
    fail(ErrorKind::usage, name, ": its header says ", width, " x ", height, " px; at most ", kMaxImageSide,
         " px a side are read");
  }
}

PictureFormat detect_picture_format(std::span<const uint8_t> bytes, const std::string& name) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 16));
  if (head.starts_with("\x89PNG\r\n\x1a\n")) return PictureFormat::png;
  if (head.starts_with("\xff\xd8\xff")) return PictureFormat::jpeg;
  if (head.starts_with("RIFF") && head.size() >= 12 && head.substr(8, 4) == "WEBP") return PictureFormat::webp;
  if (bytes.empty()) fail(ErrorKind::usage, name, ": this picture is an empty file");
  fail(ErrorKind::usage, name, ": PNG, JPEG and WebP pictures are read, but this is ", other_format(head));
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  switch (detect_picture_format(bytes, name)) {
    case PictureFormat::png: return decode_png(bytes, name);
    case PictureFormat::jpeg: return decode_jpeg(bytes, name);
    case PictureFormat::webp: return decode_webp(bytes, name);
  }
  fail(ErrorKind::internal, name, ": a picture format without a decoder");
}

std::vector<uint8_t> read_picture_file(const std::filesystem::path& file) {
  const FileDescriptor in{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (in.fd < 0) fail(ErrorKind::usage, file.native(), ": this picture cannot be read: ", std::strerror(errno));
  std::vector<uint8_t> bytes;
  for (size_t filled = 0;;) {
    if (filled > kMaxFileBytes)
      fail(ErrorKind::usage, file.native(), ": more than 1 GiB is no picture that is read here");
    bytes.resize(filled + std::max<size_t>(filled, 1 << 16));
    const ssize_t n = ::read(in.fd, bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::usage, file.native(), ": this picture cannot be read: ", std::strerror(errno));
    filled += static_cast<size_t>(n);
    bytes.resize(filled);
    if (n == 0) return bytes;
  }
}

Image load_image(const std::filesystem::path& file) { return decode_image(read_picture_file(file), file.native()); }

Image crop(const Image& image, int64_t x, int64_t y, int64_t width, int64_t height) {
  if (x < 0 || y < 0 || width <= 0 || height <= 0 || width > image.width || x > image.width - width ||
      height > image.height || y > image.height - height) {
    fail(ErrorKind::internal, "cannot cut ", width, " x ", height, " px at (", x, ", ", y, ") from a picture of ",
         image.width, " x ", image.height, " px");
  }
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height))};
  for (int64_t row = 0; row < height; ++row) {
    const uint8_t* from = image.pixels.data() + 3 * ((y + row) * image.width + x);
    std::memcpy(out.pixels.data() + 3 * row * width, from, static_cast<size_t>(3 * width));
  }
  return out;
}

at::Tensor to_tensor(const Image& image) {
  at::Tensor pixels = at::empty({image.height, image.width, 3}, at::kByte);  // (H, W, 3)
  if (image.pixels.size() != static_cast<size_t>(pixels.numel())) {
    fail(ErrorKind::internal, "a picture of ", image.width, " x ", image.height, " px has ", image.pixels.size(),
         " bytes");
  }
  if (!image.pixels.empty()) std::memcpy(pixels.mutable_data_ptr(), image.pixels.data(), image.pixels.size());
  return pixels;
}

Image from_tensor(const at::Tensor& pixels) {
  if (pixels.dim() != 3 || pixels.size(2) != 3 || pixels.scalar_type() != at::kByte) {
    fail(ErrorKind::internal, "pixels are uint8 (H, W, 3), not ", pixels.scalar_type(), " ", pixels.sizes());
  }
  const at::Tensor host = pixels.cpu().contiguous();  // (H, W, 3)
  Image image{host.size(1), host.size(0), std::vector<uint8_t>(static_cast<size_t>(host.numel()))};
  if (!image.pixels.empty()) std::memcpy(image.pixels.data(), host.const_data_ptr(), image.pixels.size());
  return image;
}

Image from_unit_tensor(const at::Tensor& values) {
  const bool batched = values.dim() == 4 && values.size(0) == 1;
  const at::Tensor planes = batched ? values.squeeze(0) : values;  // (3, H, W)
  if (planes.dim() != 3 || planes.size(0) != 3 || !planes.is_floating_point()) {
    fail(ErrorKind::internal, "a picture is floating (3, H, W) or (1, 3, H, W), not ", values.scalar_type(), " ",
         values.sizes());
  }
  const at::Tensor unit = planes.detach().cpu().to(at::kFloat);  // (3, H, W)
  if (unit.isnan().any().item<bool>()) {
    fail(ErrorKind::internal, "the picture holds values that are no numbers (NaN): the VAE does not work in float16, ",
         "use bfloat16 or float32");
  }
  return from_tensor(unit.clamp(0, 1).mul(255).round().to(at::kByte).permute({1, 2, 0}));
}

}  // namespace glmimage
