// Files and requests are hostile: whatever is broken, one line names it, and the exit code says whose fault it is.
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "core/image.h"
#include "core/safetensors.h"
#include "e2e/program.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::expect_failure;
using test::generate;
using test::glm_image;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using Arguments = std::vector<std::string>;

constexpr int kUsage = 2, kCheckpoint = 3, kIo = 1;

ProcessOptions cat(const fs::path& model, const fs::path& output, Arguments more = {}) {
  for (const char* each : {"--prompt", "cat", "--width", "32", "--height", "32", "--seed", "5"}) more.push_back(each);
  if (std::find(more.begin(), more.end(), "--steps") == more.end()) more.insert(more.end(), {"--steps", "1"});
  return glm_image(generate(model.string(), output, more));
}

// A checkpoint to break, in the running test's folder; the picture would be written beside it.
class BrokenCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = test::scratch_folder();
    model = folder / "model";
    copy("tiny_a");
  }
  void copy(const std::string& name) {
    fs::remove_all(model);
    fs::copy(test::checkpoint(name), model, fs::copy_options::recursive);
  }
  void edit_json(const std::string& file, const std::function<void(json&)>& change) const {
    json value = json::parse(std::ifstream(model / file));
    change(value);
    std::ofstream(model / file) << value.dump(1);
  }
  void edit_weights(const std::string& file, const std::function<void(NamedTensors&)>& change) const {
    NamedTensors tensors;
    {
      const SafetensorsFile old = SafetensorsFile::open(model / file);
      for (const TensorInfo& info : old.tensors()) tensors.emplace_back(info.name, old.tensor(info.name).clone());
    }
    change(tensors);
    write_safetensors(model / file, tensors);
  }
  void expect_refused(const std::vector<std::string>& fragments) const {
    expect_failure(run_process(cat(model, folder / "a.png")), kCheckpoint, fragments);
    EXPECT_THAT(test::files_in(folder), ::testing::ElementsAre("model"));
  }

  static constexpr const char* kVaeWeights = "vae/diffusion_pytorch_model.safetensors";
  fs::path folder, model;
};

TEST_F(BrokenCheckpoint, IsFineUnbroken) {
  const ProcessResult result = run_process(cat(model, folder / "a.png"));
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(BrokenCheckpoint, TruncatedShard) {
  copy("tiny_b");
  const std::string shard = "diffusion_pytorch_model-00002-of-00003.safetensors";
  fs::resize_file(model / "transformer" / shard, fs::file_size(model / "transformer" / shard) - 1000);
  expect_refused({"transformer/" + shard, "incomplete download?"});
}

TEST_F(BrokenCheckpoint, MissingShard) {
  copy("tiny_b");
  fs::remove(model / "vision_language_encoder/model-00003-of-00004.safetensors");
  expect_refused({"vision_language_encoder/", "model-00003-of-00004.safetensors"});
}

TEST_F(BrokenCheckpoint, MissingParts) {
  fs::rename(model / "vae", model / "vae.away");
  expect_refused({"model/vae: this part of the checkpoint is missing"});
  fs::rename(model / "vae.away", model / "vae");
  fs::remove(model / kVaeWeights);
  expect_refused({"model/vae", "no safetensors weights"});
  fs::remove(model / "vae/config.json");
  fs::copy_file(test::checkpoint("tiny_a") + "/" + kVaeWeights, model / kVaeWeights);
  expect_refused({"vae/config.json"});
}

TEST_F(BrokenCheckpoint, MissingModelIndex) {
  fs::remove(model / "model_index.json");
  expect_refused({"model_index.json"});
}

TEST_F(BrokenCheckpoint, ConfigurationThatIsNoJson) {
  std::ofstream(model / "transformer/config.json") << "{\"num_layers\": 2,";
  expect_refused({"transformer/config.json", "JSON"});
}

TEST_F(BrokenCheckpoint, MissingField) {
  edit_json("transformer/config.json", [](json& value) { value.erase("time_embed_dim"); });
  expect_refused({"transformer/config.json", "'time_embed_dim'"});
}

TEST_F(BrokenCheckpoint, FieldOfAnotherType) {
  edit_json("text_encoder/config.json", [](json& value) { value["num_layers"] = "two"; });
  expect_refused({"text_encoder/config.json", "'num_layers'"});
}

TEST_F(BrokenCheckpoint, AbsurdSizeInConfiguration) {
  edit_json("transformer/config.json", [](json& value) { value["num_layers"] = 2000000000; });
  expect_refused({"transformer/config.json", "'num_layers'"});
}

TEST_F(BrokenCheckpoint, UnknownPipelineClass) {
  edit_json("model_index.json", [](json& value) { value["_class_name"] = "FluxPipeline"; });
  expect_refused({"model_index.json", "'_class_name'", "FluxPipeline", "GlmImagePipeline"});
}

TEST_F(BrokenCheckpoint, UnknownPartClass) {
  edit_json("transformer/config.json", [](json& value) { value["_class_name"] = "FluxTransformer2DModel"; });
  expect_refused({"transformer/config.json", "FluxTransformer2DModel"});
}

TEST_F(BrokenCheckpoint, UnknownSchedulerFlag) {
  edit_json("scheduler/scheduler_config.json", [](json& value) { value["use_karras_sigmas"] = true; });
  expect_refused({"scheduler_config.json", "'use_karras_sigmas'"});
}

TEST_F(BrokenCheckpoint, WrongShape) {
  edit_weights(kVaeWeights, [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "decoder.conv_in.bias") tensor = at::zeros({7}, at::kFloat);
    }
  });
  expect_refused({"model/vae", "decoder.conv_in.bias is (7), expected (12)"});
}

TEST_F(BrokenCheckpoint, WrongType) {
  edit_weights(kVaeWeights, [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "decoder.conv_in.bias") tensor = tensor.to(at::kLong);
    }
  });
  expect_refused({"model/vae", "decoder.conv_in.bias", "I64"});
}

TEST_F(BrokenCheckpoint, MissingAndUnexpectedTensorsAreToldTogether) {
  edit_weights(kVaeWeights, [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "decoder.conv_in.bias") name = "decoder.conv_in.bais";
    }
  });
  expect_refused({"model/vae", "missing: decoder.conv_in.bias", "unexpected: decoder.conv_in.bais"});
}

TEST_F(BrokenCheckpoint, BrokenTokenizer) {
  fs::resize_file(model / "processor/tokenizer.json", 5000);
  expect_refused({"processor/tokenizer.json", "JSON"});
  fs::remove(model / "processor/tokenizer.json");
  expect_refused({"processor/tokenizer.json"});
}

TEST_F(BrokenCheckpoint, InspectTellsToo) {
  fs::resize_file(model / kVaeWeights, 5000);
  expect_failure(run_process(glm_image({"inspect", model.string()})), kCheckpoint,
                 {kVaeWeights, "incomplete download?"});
}

// Requests that cannot be met, with a sound checkpoint.
class BrokenRequest : public ::testing::Test {
 protected:
  void SetUp() override { folder = test::scratch_folder(); }
  ProcessResult draw(Arguments more) const {
    return run_process(glm_image(generate(test::checkpoint("tiny_a"), folder / "a.png", std::move(more))));
  }
  void expect_refused(Arguments more, const std::vector<std::string>& fragments) const {
    const auto before = test::files_in(folder);
    expect_failure(draw(std::move(more)), kUsage, fragments);
    EXPECT_EQ(test::files_in(folder), before);
  }
  fs::path folder;
};

TEST_F(BrokenRequest, EmptyPrompt) {
  expect_refused({"--prompt", ""}, {"the prompt is empty"});
  expect_refused({"--prompt", " \t "}, {"the prompt is empty"});
}

TEST_F(BrokenRequest, PromptThatIsNotUtf8) { expect_refused({"--prompt", "a \xff\xfe cat"}, {"UTF-8", "byte 2"}); }

TEST_F(BrokenRequest, Sizes) {
  expect_refused({"--prompt", "cat", "--width", "0"}, {"width", "not 0"});
  expect_refused({"--prompt", "cat", "--width", "100000"}, {"width", "100000"});
  expect_refused({"--prompt", "cat", "--height", "-5"}, {"height", "-5"});
  expect_refused({"--prompt", "cat", "--width", "8192", "--height", "8192"}, {"8192 x 8192"});
}

TEST_F(BrokenRequest, Numbers) {
  expect_refused({"--prompt", "cat", "--steps", "0"}, {"steps", "not 0"});
  expect_refused({"--prompt", "cat", "--temperature", "-1"}, {"temperature", "-1"});
  expect_refused({"--prompt", "cat", "--top-p", "1.5"}, {"top-p", "1.5"});
  expect_refused({"--prompt", "cat", "--guidance", "nan"}, {"guidance", "nan"});
  expect_refused({"--prompt", "cat", "--count", "0"}, {"--count"});
}

TEST_F(BrokenRequest, ReferencePictures) {
  expect_refused({"--prompt", "cat", "--image", "no/such.png"}, {"no/such.png", "No such file"});
  const fs::path broken = folder / "broken.png", text = folder / "text.png";
  fs::copy_file(test::golden("pictures/square64.png"), broken);
  fs::resize_file(broken, fs::file_size(broken) / 2);
  expect_refused({"--prompt", "cat", "--image", broken.string()}, {"broken.png", "PNG picture is broken"});
  std::ofstream(text) << "this is no picture";
  expect_refused({"--prompt", "cat", "--image", text.string()}, {"text.png", "PNG, JPEG and WebP"});
}

TEST_F(BrokenRequest, OutputNames) {
  const std::string model = test::checkpoint("tiny_a");
  expect_failure(run_process(cat(model, folder / "missing" / "a.png")), kUsage,
                 {"missing", "output folder does not exist"});
  expect_failure(run_process(cat(model, folder / "a.gif")), kUsage, {"a.gif", ".png"});
  fs::create_directory(folder / "d.png");
  expect_failure(run_process(cat(model, folder / "d.png")), kUsage, {"d.png", "folder"});
  expect_failure(run_process(cat(model, folder / "a.png", {"--trace", (folder / "missing" / "t").string()})), kUsage,
                 {"missing", "output folder does not exist"});
}

// Not a fault, only long.
TEST_F(BrokenRequest, LongPromptIsDrawn) {
  std::string prompt;
  while (prompt.size() < 100000) prompt += "a cat and \"a dog\" ";
  std::ofstream(folder / "prompt.txt") << prompt;
  const ProcessResult result =
      draw({"--prompt-file", (folder / "prompt.txt").string(), "--width", "32", "--height", "32", "--steps", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(BrokenRequest, TooLongPrompt) {
  std::ofstream(folder / "prompt.txt") << std::string(2000000, 'a');
  expect_refused({"--prompt-file", (folder / "prompt.txt").string()}, {"2000000 bytes"});
}

TEST_F(BrokenRequest, PromptFileThatIsNotUtf8OrEmpty) {
  std::ofstream(folder / "prompt.txt") << "a cat\n\na \xff dog\n";
  expect_refused({"--prompt-file", (folder / "prompt.txt").string()}, {"prompt.txt:3", "UTF-8", "byte 2"});
  std::ofstream(folder / "prompt.txt") << "\n";
  expect_refused({"--prompt-file", (folder / "prompt.txt").string()}, {"prompt.txt", "no prompt"});
  expect_refused({"--prompt-file", folder.string()}, {"is a folder"});
}

// What the disk refuses. A file size limit stands for a full disk: writing fails half-way.
class FullDisk : public BrokenRequest {
 protected:
  ProcessResult draw_within(uint64_t bytes, Arguments more) const {
    ProcessOptions options = cat(test::checkpoint("tiny_a"), folder / "a.png", std::move(more));
    options.file_size_limit = bytes;
    return run_process(options);
  }
};

TEST_F(FullDisk, OfThePicture) {
  std::ofstream(folder / "a.png") << "the older picture";
  expect_failure(draw_within(1000, {}), kIo, {"a.png", "file size limit"});
  EXPECT_THAT(test::files_in(folder), ::testing::ElementsAre("a.png"));
  EXPECT_EQ(fs::file_size(folder / "a.png"), 17u) << "an older file stays as it was";
}

TEST_F(FullDisk, OfTheTrace) {
  expect_failure(draw_within(8000, {"--trace", (folder / "t.safetensors").string()}), kIo,
                 {"t.safetensors", "file size limit"});
  EXPECT_THAT(test::files_in(folder), ::testing::ElementsAre("a.png"));
}

TEST_F(FullDisk, FolderThatMayNotBeWritten) {
  if (::geteuid() != 0) {
    fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
    expect_failure(run_process(cat(test::checkpoint("tiny_a"), folder / "a.png")), kIo, {"a.png", "Permission denied"});
    fs::permissions(folder, fs::perms::owner_all);
    return;
  }
  // Nothing stops root but a file system that has no place for files.
  expect_failure(run_process(cat(test::checkpoint("tiny_a"), "/proc/self/fdinfo/a.png")), kIo, {"a.png"});
}

}  // namespace
}  // namespace glmimage
