#include "core/image.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/encode_image.h"
#include "core/image_helpers.h"
#include "support/error_of.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using test::Bytes;
using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

Bytes to_bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(LoadImage, ReadsWhatSaveImageWrote) {
  const fs::path file = test::scratch_folder() / "猫 picture.png";
  const Image image = test::gradient(40, 30);
  save_image(file, image);
  EXPECT_TRUE(load_image(file).pixels == image.pixels);
  EXPECT_FALSE(fs::exists(file.string() + ".part"));
}

TEST(LoadImage, GoldenPicturesOpen) {
  const Image image = load_image(test::golden("pictures/odd101x77.png"));
  EXPECT_EQ(image.width, 101);
  EXPECT_EQ(image.height, 77);
}

TEST(LoadImage, NamesFilesItCannotRead) {
  const fs::path folder = test::scratch_folder();
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { load_image(folder / "none.png"); }),
              AllOf(HasSubstr("none.png"), HasSubstr("No such file")));
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { load_image(folder); }), HasSubstr("Is a directory"));
  std::ofstream(folder / "empty.png");
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { load_image(folder / "empty.png"); }),
              HasSubstr("empty.png: this picture is an empty file"));
}

TEST(DecodeImage, TellsOtherFormats) {
  EXPECT_THAT(test::image_refusal(to_bytes("GIF89a......")), HasSubstr("a GIF picture"));
  EXPECT_THAT(test::image_refusal(to_bytes("<!DOCTYPE html>")), HasSubstr("a web page"));
  EXPECT_THAT(test::image_refusal(to_bytes(std::string("\0\0\0\x20"
                                                       "ftypavif",
                                                       12))),
              HasSubstr("an AVIF picture"));
  EXPECT_THAT(test::image_refusal(to_bytes("RIFF....WAVE")), HasSubstr("something else"));
  EXPECT_THAT(test::image_refusal(to_bytes("x")), HasSubstr("PNG, JPEG and WebP pictures are read"));
}

TEST(SaveImage, SaysWhyItFailed) {
  const fs::path folder = test::scratch_folder();
  const Image image = test::gradient(4, 4);
  EXPECT_THAT(error_of(ErrorKind::io, [&] { save_image(folder / "none" / "a.png", image); }),
              AllOf(HasSubstr("a.png"), HasSubstr("No such file")));
  std::ofstream(folder / "file");
  EXPECT_THAT(error_of(ErrorKind::io, [&] { save_image(folder / "file" / "a.png", image); }),
              HasSubstr("Not a directory"));
  fs::create_directories(folder / "taken.png" / "inside");
  EXPECT_THAT(error_of(ErrorKind::io, [&] { save_image(folder / "taken.png", image); }), HasSubstr("directory"));
  EXPECT_FALSE(fs::exists(folder / "taken.png.part"));
  if (::geteuid() == 0) return;  // root writes anywhere
  fs::create_directory(folder / "locked");
  fs::permissions(folder / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(error_of(ErrorKind::io, [&] { save_image(folder / "locked" / "a.png", image); }),
              HasSubstr("Permission denied"));
}

TEST(SaveImage, AFullDiskLeavesTheOldFile) {
  const fs::path file = test::scratch_folder() / "a.png";
  const Image old = test::gradient(4, 4);
  save_image(file, old);
  Image large{200, 200, std::vector<uint8_t>(200 * 200 * 3)};
  uint32_t noise = 1;
  for (uint8_t& v : large.pixels) v = static_cast<uint8_t>((noise = noise * 1664525 + 1013904223) >> 24);

  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10000, 10000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      save_image(file, large);
    } catch (const Error& e) {
      const bool clear = std::strstr(e.what(), "a.png: writing failed after 10000 bytes") != nullptr;
      ::_exit(e.kind() == ErrorKind::io && clear ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(fs::exists(file.string() + ".part"));
  EXPECT_TRUE(load_image(file).pixels == old.pixels);
}

TEST(Crop, CutsARectangle) {
  const Image image = test::letters("abcd/efgh/ijkl");
  EXPECT_EQ(test::to_letters(crop(image, 1, 1, 2, 2)), "fg/jk");
  EXPECT_EQ(test::to_letters(crop(image, 0, 0, 4, 3)), "abcd/efgh/ijkl");
  EXPECT_EQ(test::to_letters(crop(image, 3, 2, 1, 1)), "l");
}

TEST(Crop, RefusesTheOutside) {
  const Image image = test::letters("abcd/efgh/ijkl");
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { crop(image, 3, 0, 2, 1); }), HasSubstr("2 x 1 px at (3, 0)"));
  for (auto [x, y, w, h] : std::vector<std::array<int64_t, 4>>{{-1, 0, 1, 1},
                                                               {0, -1, 1, 1},
                                                               {0, 0, 0, 1},
                                                               {0, 0, 1, 0},
                                                               {0, 3, 1, 1},
                                                               {0, 0, 5, 1},
                                                               {0, 0, 1, 4},
                                                               {kHuge, 0, 1, 1},
                                                               {1, 0, kHuge, 1}}) {
    EXPECT_THROW(crop(image, x, y, w, h), Error);
  }
}

TEST(ImageTensor, RoundTrips) {
  const Image image = test::gradient(5, 3);
  const at::Tensor pixels = to_tensor(image);  // (3, 5, 3)
  EXPECT_EQ(pixels.sizes(), (at::IntArrayRef{3, 5, 3}));
  EXPECT_EQ(pixels.scalar_type(), at::kByte);
  EXPECT_EQ(pixels[2][4][1].item<int>(), image.pixels[(2 * 5 + 4) * 3 + 1]);
  const Image back = from_tensor(pixels);
  EXPECT_EQ(back.width, 5);
  EXPECT_EQ(back.height, 3);
  EXPECT_EQ(back.pixels, image.pixels);
  // rows of a transposed view are not contiguous
  EXPECT_EQ(from_tensor(to_tensor(test::letters("ad/be/cf")).transpose(0, 1)).pixels, test::letters("abc/def").pixels);
}

TEST(ImageTensor, RefusesOtherShapes) {
  EXPECT_THROW(from_tensor(at::zeros({3, 4, 4}, at::kByte)), Error);
  EXPECT_THROW(from_tensor(at::zeros({4, 4, 3})), Error);
  EXPECT_THROW(from_unit_tensor(at::zeros({2, 3, 4, 4})), Error);
  EXPECT_THROW(from_unit_tensor(at::zeros({4, 4, 3})), Error);
  EXPECT_THROW(from_unit_tensor(at::zeros({3, 4, 4}, at::kByte)), Error);
  EXPECT_THROW(to_tensor(Image{2, 2, {1}}), Error);
}

TEST(ImageTensor, UnitValuesAreRoundedHalfToEven) {
  const at::Tensor values = at::tensor({0.1F, 0.3F, 0.5F, -1.0F, 2.0F, 1.0F}).view({3, 1, 2});  // (3, 1, 2)
  // In float32 the first three are exactly 25.5, 76.5 and 127.5 after times 255.
  const Bytes expected = {26, 128, 255, 76, 0, 255};
  const Image image = from_unit_tensor(values);
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.height, 1);
  EXPECT_EQ(image.pixels, expected);
  EXPECT_EQ(from_unit_tensor(values.unsqueeze(0)).pixels, expected);
  EXPECT_EQ(from_unit_tensor(at::zeros({3, 1, 1}, at::kBFloat16).add(0.5)).pixels, (Bytes{128, 128, 128}));
}

TEST(ImageTensor, NotANumberIsNoColour) {
  const at::Tensor values = at::zeros({3, 1, 1}).fill_(std::numeric_limits<float>::quiet_NaN());  // (3, 1, 1)
  EXPECT_THAT(error_of(ErrorKind::internal, [&] { from_unit_tensor(values); }), HasSubstr("NaN"));
}

}  // namespace
}  // namespace glmimage
