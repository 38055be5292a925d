#include "core/safetensors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string length_field(uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i));
  return out;
}

void write_bytes(const fs::path& file, const std::string& bytes) { std::ofstream(file, std::ios::binary) << bytes; }

std::string read_bytes(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Writes a file with this header text and so many zero bytes of data.
fs::path write_file(const std::string& header, size_t data_bytes) {
  fs::path file = test::scratch_folder() / "model.safetensors";
  write_bytes(file, length_field(header.size()) + header + std::string(data_bytes, '\0'));
  return file;
}

// What open() says about a file; fails the test unless it is an ErrorKind::checkpoint that names the file.
std::string refusal(const fs::path& file) {
  try {
    SafetensorsFile::open(file);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    EXPECT_THAT(e.what(), HasSubstr(file.string()));
    return e.what();
  }
  ADD_FAILURE() << file << " was accepted";
  return "";
}

std::string refusal(const std::string& header, size_t data_bytes) { return refusal(write_file(header, data_bytes)); }

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.is_contiguous() && b.is_contiguous() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

TEST(Safetensors, RoundTripsEveryDtype) {
  const fs::path file = test::scratch_folder() / "all.safetensors";
  NamedTensors tensors;
  for (at::ScalarType dtype :
       {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar, at::kByte,
        at::kBool, at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kUInt16, at::kUInt32, at::kUInt64}) {
    at::Tensor values = at::arange(-7, 8, at::kFloat).reshape({3, 5});  // (3, 5)
    if (dtype == at::kByte || dtype == at::kUInt16 || dtype == at::kUInt32 || dtype == at::kUInt64) {
      values = values.abs();
    }
    tensors.emplace_back(safetensors_dtype_name(dtype), values.to(dtype));
  }
  write_safetensors(file, tensors, {{"format", "pt"}, {"note", "ü \"quoted\"\n"}});
  const SafetensorsFile read = SafetensorsFile::open(file);
  EXPECT_EQ(read.metadata().at("format"), "pt");
  EXPECT_EQ(read.metadata().at("note"), "ü \"quoted\"\n");
  ASSERT_EQ(read.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(same_bytes(read.tensor(name), tensor)) << name;
    EXPECT_EQ(safetensors_dtype_name(read.find(name)->dtype), name);
  }
  EXPECT_EQ(read.find("absent"), nullptr);
  EXPECT_THROW(read.tensor("absent"), Error);
  EXPECT_FALSE(fs::exists(file.string() + ".part"));
}

TEST(Safetensors, RoundTripsScalarsEmptyTensorsAndViews) {
  const fs::path file = test::scratch_folder() / "shapes.safetensors";
  at::Tensor base = at::randn({4, 6});  // (4, 6)
  write_safetensors(file, {{"scalar", at::scalar_tensor(2.5)},
                           {"empty", at::zeros({3, 0, 2})},
                           {"transposed", base.t()},
                           {"slice", base.slice(1, 1, 6, 2)},
                           {"with_grad", at::ones({2}).requires_grad_(true)}});
  const SafetensorsFile read = SafetensorsFile::open(file);
  EXPECT_EQ(read.tensor("scalar").dim(), 0);
  EXPECT_EQ(read.tensor("scalar").item<float>(), 2.5F);
  EXPECT_EQ(read.tensor("empty").sizes(), at::IntArrayRef({3, 0, 2}));
  EXPECT_TRUE(read.tensor("transposed").equal(base.t()));
  EXPECT_TRUE(read.tensor("slice").equal(base.slice(1, 1, 6, 2)));
  EXPECT_FALSE(read.tensor("with_grad").requires_grad());
}

TEST(Safetensors, WritesAFileWithoutTensors) {
  const fs::path file = test::scratch_folder() / "none.safetensors";
  write_safetensors(file, {});
  EXPECT_TRUE(SafetensorsFile::open(file).tensors().empty());
}

TEST(Safetensors, MapsAlignedTensorsAndCopiesOthers) {
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  fs::path file = test::scratch_folder() / "model.safetensors";
  const float values[2] = {1.5F, -2.0F};
  std::string data(1, '\7');
  data.append(reinterpret_cast<const char*>(values), sizeof values);
  for (size_t pad = 0; pad < 4; ++pad) {
    const std::string padded = header + std::string(pad, ' ');
    write_bytes(file, length_field(padded.size()) + padded + data);
    const SafetensorsFile read = SafetensorsFile::open(file);
    const at::Tensor b = read.tensor("b");  // (2)
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.const_data_ptr()) % 4, 0U);
    EXPECT_EQ(b[0].item<float>(), 1.5F);
    EXPECT_EQ(b[1].item<float>(), -2.0F);
    // The file lies on a page boundary, so whether b is aligned is known.
    const bool aligned = read.find("b")->begin % 4 == 0;
    EXPECT_EQ(read.tensor("b").const_data_ptr() == b.const_data_ptr(), aligned);
  }
}

TEST(Safetensors, WriterAlignsEveryTensor) {
  const fs::path file = test::scratch_folder() / "aligned.safetensors";
  write_safetensors(file, {{"odd", at::ones({3}, at::kByte)},
                           {"wide", at::ones({3}, at::kDouble)},
                           {"half", at::ones({1}, at::kHalf)},
                           {"float", at::ones({1}, at::kFloat)}});
  const SafetensorsFile read = SafetensorsFile::open(file);
  for (const TensorInfo& info : read.tensors()) EXPECT_EQ(info.begin % c10::elementSize(info.dtype), 0U) << info.name;
  EXPECT_EQ(read.tensors().front().begin % 8, 0U);
}

TEST(Safetensors, TensorOutlivesTheFileObjectAndTheFile) {
  const fs::path file = test::scratch_folder() / "life.safetensors";
  const at::Tensor written = at::randn({1000});  // (1000)
  write_safetensors(file, {{"x", written}});
  at::Tensor view;  // (500)
  {
    const SafetensorsFile read = SafetensorsFile::open(file);
    view = read.tensor("x").slice(0, 500);
  }
  fs::remove(file);
  EXPECT_TRUE(view.equal(written.slice(0, 500)));
}

TEST(Safetensors, BoolBytesAreNormalised) {
  const std::string header = R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})";
  fs::path file = test::scratch_folder() / "bool.safetensors";
  write_bytes(file, length_field(header.size()) + header + std::string("\0\1\xff", 3));
  const at::Tensor b = SafetensorsFile::open(file).tensor("b");  // (3)
  EXPECT_EQ(b.scalar_type(), at::kBool);
  EXPECT_EQ(static_cast<const unsigned char*>(b.const_data_ptr())[2], 1);
  EXPECT_EQ(b.to(at::kInt).sum().item<int>(), 2);
}

TEST(Safetensors, ReadsWhatPythonWrote) {
  const SafetensorsFile read =
      SafetensorsFile::open(test::golden("tiny_a/checkpoint/transformer/diffusion_pytorch_model.safetensors"));
  ASSERT_FALSE(read.tensors().empty());
  for (const TensorInfo& info : read.tensors()) {
    const at::Tensor t = read.tensor(info.name);
    EXPECT_EQ(t.sizes(), at::IntArrayRef(info.shape));
    EXPECT_TRUE(t.to(at::kDouble).isfinite().all().item<bool>()) << info.name;
  }
  // Written again and read again, nothing has changed.
  const fs::path copy = test::scratch_folder() / "copy.safetensors";
  NamedTensors tensors;
  for (const TensorInfo& info : read.tensors()) tensors.emplace_back(info.name, read.tensor(info.name));
  write_safetensors(copy, tensors, read.metadata());
  const SafetensorsFile again = SafetensorsFile::open(copy);
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(same_bytes(again.tensor(name), tensor)) << name;
}

TEST(Safetensors, RefusesWhatIsNotAFile) {
  const fs::path folder = test::scratch_folder();
  EXPECT_THAT(refusal(folder / "absent.safetensors"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder), HasSubstr("not a folder"));
  write_bytes(folder / "empty.safetensors", "");
  EXPECT_THAT(refusal(folder / "empty.safetensors"), HasSubstr("incomplete download?"));
  write_bytes(folder / "short.safetensors", "1234567");
  EXPECT_THAT(refusal(folder / "short.safetensors"), HasSubstr("7 bytes"));
}

TEST(Safetensors, RefusesBrokenHeaderLengths) {
  const fs::path file = test::scratch_folder() / "model.safetensors";
  write_bytes(file, length_field(0));
  EXPECT_THAT(refusal(file), HasSubstr("'{'"));
  write_bytes(file, length_field(100'000'001) + "{}");
  EXPECT_THAT(refusal(file), HasSubstr("100,000,001"));
  write_bytes(file, length_field(~uint64_t{0}) + "{}");
  EXPECT_THAT(refusal(file), HasSubstr("not a safetensors file?"));
  write_bytes(file, length_field(4088) + std::string(804, ' '));
  EXPECT_THAT(refusal(file),
              HasSubstr("the header says 4,096 bytes but the file ends at byte 812: an incomplete download?"));
  write_bytes(file, "<!DOCTYPE html><html>a page instead of the file</html>");
  EXPECT_THAT(refusal(file), HasSubstr("not a safetensors file?"));
}

TEST(Safetensors, RefusesBrokenJson) {
  EXPECT_THAT(refusal("[1]", 0), HasSubstr("'{'"));
  EXPECT_THAT(refusal(" {}", 0), HasSubstr("'{'"));
  EXPECT_THAT(refusal("{\"a\":", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{} x", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"a":1})", 0), HasSubstr("should be a JSON object"));
  EXPECT_THAT(refusal("{\"\xff\":1}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"a":)" + std::string(100'000, '['), 0), HasSubstr("nested too deeply"));
  const std::string a = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(refusal("{" + a + "," + a + "}", 1), HasSubstr("\"a\" twice"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1), HasSubstr("twice"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"x":1}})", 0), HasSubstr("__metadata__"));
  EXPECT_THAT(refusal(R"({"__metadata__":["x"]})", 0), HasSubstr("__metadata__"));
}

TEST(Safetensors, RefusesBrokenEntries) {
  auto entry = [](const std::string& fields) { return "{\"a\\u001b[31m\":{" + fields + "}}"; };
  EXPECT_THAT(refusal(entry(R"("shape":[1],"data_offsets":[0,1])"), 1), HasSubstr("has no dtype"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F7","shape":[1],"data_offsets":[0,1])"), 1),
              AllOf(HasSubstr("unknown dtype \"F7\""), HasSubstr("\\u001b"), ::testing::Not(HasSubstr("\x1b"))));
  EXPECT_THAT(refusal(entry(R"("dtype":"U8","data_offsets":[0,1])"), 1), HasSubstr("has no shape"));
  for (const char* shape : {"[-1]", "[1.5]", "[\"1\"]", "[9223372036854775808]", "[null]"}) {
    EXPECT_THAT(refusal(entry(concat(R"("dtype":"U8","shape":)", shape, R"(,"data_offsets":[0,1])")), 1),
                HasSubstr("non-negative integers"));
  }
  std::string many = "[1";
  for (int i = 0; i < 64; ++i) many += ",1";
  EXPECT_THAT(refusal(entry(R"("dtype":"U8","shape":)" + many + R"(],"data_offsets":[0,1])"), 1),
              HasSubstr("65 dimensions"));
  for (const char* shape : {"[4294967296,4294967296]", "[0,4294967296,4294967296]", "[9223372036854775807]"}) {
    EXPECT_THAT(refusal(entry(concat(R"("dtype":"F32","shape":)", shape, R"(,"data_offsets":[0,0])")), 0),
                HasSubstr("2^63"));
  }
  for (const char* offsets : {"[0]", "[0,1,2]", "[-1,0]", "[0,1.0]", "\"0,1\"", "[0,18446744073709551616]"}) {
    EXPECT_THAT(refusal(entry(concat(R"("dtype":"U8","shape":[1],"data_offsets":)", offsets)), 1),
                HasSubstr("has no data_offsets"));
  }
  EXPECT_THAT(refusal(entry(R"("dtype":"U8","shape":[1],"data_offsets":[2,1])"), 2), HasSubstr("after its end"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2,3],"data_offsets":[0,23])"), 23),
              HasSubstr("has 23 bytes, but its shape [2,3] and dtype F32 need 24"));
}

TEST(Safetensors, RefusesBrokenLayouts) {
  auto two = [](const char* first, const char* second) {
    return concat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", first,
                  R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", second, "}}");
  };
  EXPECT_THAT(refusal(two("[0,4]", "[2,6]"), 6), HasSubstr("overlaps"));
  EXPECT_THAT(refusal(two("[0,4]", "[0,4]"), 4), HasSubstr("overlaps"));
  EXPECT_THAT(refusal(two("[0,4]", "[5,9]"), 9), HasSubstr("nothing fills the 1 bytes"));
  EXPECT_THAT(refusal(two("[1,5]", "[5,9]"), 9), HasSubstr("nothing fills the 1 bytes"));
  EXPECT_THAT(refusal(two("[4,8]", "[0,4]"), 9), HasSubstr("1 bytes follow the last tensor"));
  EXPECT_THAT(refusal(two("[4,8]", "[0,4]"), 7), HasSubstr("an incomplete download?"));
  EXPECT_EQ(SafetensorsFile::open(write_file(two("[4,8]", "[0,4]"), 8)).tensors().front().name, "b");
  const char* huge = R"({"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}})";
  EXPECT_THAT(refusal(huge, 8), HasSubstr("an incomplete download?"));
}

// Every prefix of a good file, and every file with one broken header byte, is refused or read: never a crash.
TEST(Safetensors, SurvivesTruncationAndFlippedBytes) {
  const fs::path file = test::scratch_folder() / "model.safetensors";
  write_safetensors(file, {{"x", at::ones({3})}, {"y", at::ones({2, 2}, at::kHalf)}}, {{"k", "v"}});
  const std::string good = read_bytes(file);
  for (size_t n = 0; n < good.size(); ++n) {
    write_bytes(file, good.substr(0, n));
    EXPECT_THROW(SafetensorsFile::open(file), Error) << n;
  }
  for (size_t i = 0; i < good.size() - 20; ++i) {
    for (char flip : {'\1', '\2', '\x10', '\x80'}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      write_bytes(file, bad);
      try {
        const SafetensorsFile read = SafetensorsFile::open(file);
        for (const TensorInfo& info : read.tensors()) read.tensor(info.name).to(at::kFloat).sum();
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
      }
    }
  }
}

// What write_safetensors says; fails the test unless it is an ErrorKind::io.
std::string write_refusal(const fs::path& file, const NamedTensors& tensors) {
  try {
    write_safetensors(file, tensors);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
    return e.what();
  }
  ADD_FAILURE() << file << " was written";
  return "";
}

TEST(Safetensors, WriterReportsAMissingFolderAndBadNames) {
  const fs::path folder = test::scratch_folder();
  EXPECT_THAT(write_refusal(folder / "absent" / "x.safetensors", {}), HasSubstr("No such file"));
  fs::create_directory(folder / "taken");
  write_bytes(folder / "taken" / "x", "");
  EXPECT_THAT(write_refusal(folder / "taken", {}), HasSubstr("cannot be put into place"));
  EXPECT_FALSE(fs::exists(folder / "taken.part"));
  const at::Tensor x = at::ones({1});  // (1)
  EXPECT_THROW(write_safetensors(folder / "x", {{"a", x}, {"a", x}}), Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"__metadata__", x}}), Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"a", at::Tensor()}}), Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"\xff", x}}), Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"a", x.to(at::kComplexFloat)}}), Error);
  EXPECT_FALSE(fs::exists(folder / "x"));
}

// A full disk is played with a file size limit, in a child process. The child reports by its exit status only.
TEST(Safetensors, FullDiskKeepsTheOldFileAndLeavesNoRemains) {
  const fs::path file = test::scratch_folder() / "model.safetensors";
  write_safetensors(file, {{"x", at::ones({4})}});
  const at::Tensor large = at::zeros({100'000});  // (100,000)
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{50'000, 50'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_safetensors(file, {{"x", large}});
    } catch (const Error& e) {
      const bool clear = std::strstr(e.what(), "writing failed after 50000 bytes") && std::strstr(e.what(), "ulimit");
      ::_exit(e.kind() == ErrorKind::io && clear ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(fs::exists(file.string() + ".part"));
  EXPECT_EQ(SafetensorsFile::open(file).tensor("x").sum().item<float>(), 4.0F);
}

TEST(Safetensors, ReplacesAFileThatIsStillMapped) {
  const fs::path file = test::scratch_folder() / "model.safetensors";
  write_safetensors(file, {{"x", at::ones({4})}});
  write_bytes(file.string() + ".part", "left by a crash");
  const at::Tensor old = SafetensorsFile::open(file).tensor("x");  // (4)
  write_safetensors(file, {{"x", old * 3}});
  EXPECT_EQ(old.sum().item<float>(), 4.0F);
  EXPECT_EQ(SafetensorsFile::open(file).tensor("x").sum().item<float>(), 12.0F);
}

}  // namespace
}  // namespace glmimage
