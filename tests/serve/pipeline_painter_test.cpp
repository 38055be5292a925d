// Adapters by request: what is drawn with them, without them again, and what is wrong with one.
#include "serve/pipeline_painter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "serve/encode_picture.h"
#include "support/error_of.h"
#include "support/goldens.h"

namespace glmimage::serve {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Drawn {
  std::vector<uint8_t> pixels;
  std::string error;  // empty: none
  ErrorKind kind = ErrorKind::internal;
};

class PipelinePainterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = glmimage::test::scratch_folder();
    fs::create_directories(adapters());
    fs::copy_file(glmimage::test::golden("tiny_a/lora/dit/adapter_model.safetensors"),
                  adapters() / "sketch.safetensors");
    fs::copy_file(glmimage::test::golden("tiny_a/lora/ar/adapter_model.safetensors"), adapters() / "words.safetensors");
    std::ofstream(adapters() / "broken.safetensors") << "no adapter";
    std::ofstream(adapters() / "notes.txt") << "no adapter";
    options_.model = glmimage::test::golden("tiny_a/checkpoint");
    options_.dtype = at::kFloat;
  }
  fs::path adapters() const { return folder_ / "adapters"; }
  std::shared_ptr<const LoraCatalog> catalog() const {
    return std::make_shared<const LoraCatalog>(options_.loras, adapters());
  }
  static GenerateRequest request() {
    return {.prompt = "a cat", .references = {}, .width = 64, .height = 32, .steps = 2, .seed = 5};
  }
  static Drawn draw(PipelinePainter& painter, const JobLoras& loras) {
    Drawn out;
    std::vector<DrawTask> tasks(1);
    tasks[0].request = request();
    tasks[0].done = [&](const GenerateResult& result) { out.pixels = result.image.pixels; };
    tasks[0].failed = [&](const Error& error) { out.error = error.what(), out.kind = error.kind(); };
    painter.draw(tasks, loras);
    return out;
  }
  // As `glm-image generate --lora` does.
  std::vector<uint8_t> drawn_from_scratch(std::vector<LoraChoice> loras) const {
    PipelineOptions options = options_;
    options.loras = std::move(loras);
    return Pipeline::open(options).generate(request()).image.pixels;
  }

  fs::path folder_;
  PipelineOptions options_;
};

TEST_F(PipelinePainterTest, DrawsWithWhatIsAskedForAndWithoutItAgain) {
  PipelinePainter painter(options_, catalog());
  const auto plain = drawn_from_scratch({});
  const auto sketch = drawn_from_scratch({{adapters() / "sketch.safetensors", 0.5}});
  const auto both =
      drawn_from_scratch({{adapters() / "words.safetensors", 1}, {adapters() / "sketch.safetensors", -1}});
  EXPECT_NE(plain, sketch);
  EXPECT_NE(plain, both);
  EXPECT_EQ(draw(painter, {}).pixels, plain);
  EXPECT_TRUE(painter.run().loras.empty());
  EXPECT_EQ(draw(painter, {{{"sketch", 0.5}}}).pixels, sketch);
  ASSERT_EQ(painter.run().loras.size(), 1U);
  EXPECT_EQ(painter.run().loras[0].scale, 0.5);
  EXPECT_EQ(draw(painter, {{{"words", 1}, {"sketch", -1}}}).pixels, both);
  EXPECT_EQ(draw(painter, {}).pixels, plain);
  EXPECT_TRUE(painter.run().loras.empty());
}

TEST_F(PipelinePainterTest, TheServersOwnAreDrawnWithUnlessOthersAreNamed) {
  options_.loras = {{glmimage::test::golden("tiny_a/lora/dit/adapter_model.safetensors"), 1}};
  PipelinePainter painter(options_, catalog());
  const auto own = drawn_from_scratch(options_.loras);
  EXPECT_EQ(draw(painter, {}).pixels, own);
  EXPECT_EQ(draw(painter, JobLoras(std::in_place)).pixels, drawn_from_scratch({}));
  EXPECT_EQ(draw(painter, {{{"adapter_model", 1}}}).pixels, own);
  EXPECT_EQ(draw(painter, {}).pixels, own);
}

TEST_F(PipelinePainterTest, ABadAdapterFailsItsJobAlone) {
  PipelinePainter painter(options_, catalog());
  const auto plain = draw(painter, {}).pixels;
  const auto* before = &painter.pipeline();
  const Drawn broken = draw(painter, {{{"broken", 1}}});
  EXPECT_EQ(broken.kind, ErrorKind::usage);
  EXPECT_THAT(broken.error, AllOf(HasSubstr("'broken'"), Not(HasSubstr(folder_.string()))));
  for (const std::string name : {"absent", "../sketch", "adapters/sketch", "", ".", "notes", "sketch.safetensors",
                                 (adapters() / "sketch").string().c_str()}) {
    const Drawn refused = draw(painter, {{{name, 1}}});
    EXPECT_EQ(refused.kind, ErrorKind::usage) << name;
    EXPECT_THAT(refused.error, HasSubstr("there is no adapter '" + name + "'"));
  }
  EXPECT_EQ(&painter.pipeline(), before);
  EXPECT_EQ(draw(painter, {}).pixels, plain);
}

TEST_F(PipelinePainterTest, AFileThatIsReplacedIsReadAgain) {
  PipelinePainter painter(options_, catalog());
  const auto sketch = draw(painter, {{{"sketch", 1}}}).pixels;
  fs::copy_file(adapters() / "words.safetensors", adapters() / "sketch.safetensors.new");
  fs::rename(adapters() / "sketch.safetensors.new", adapters() / "sketch.safetensors");
  EXPECT_NE(draw(painter, {{{"sketch", 1}}}).pixels, sketch);
}

// The model's files are read again only when the adapters change; and when they are gone then, jobs fail until they are
// back.
TEST_F(PipelinePainterTest, EqualAdaptersAreMergedOnce) {
  const fs::path model = folder_ / "model";
  fs::copy(options_.model, model, fs::copy_options::recursive);
  options_.model = model;
  PipelinePainter painter(options_, catalog());
  const auto sketch = draw(painter, {{{"sketch", 1}}}).pixels;
  fs::rename(model / "vae", model / "away");
  EXPECT_EQ(draw(painter, {{{"sketch", 1}}}).pixels, sketch);
  EXPECT_THAT(draw(painter, {}).error, HasSubstr("vae"));
  EXPECT_THAT(draw(painter, {}).error, HasSubstr("vae"));
  fs::rename(model / "away", model / "vae");
  EXPECT_EQ(draw(painter, {{{"sketch", 1}}}).pixels, sketch);
}

TEST_F(PipelinePainterTest, TheCatalogueListsWhatIsThere) {
  const auto names = [](const LoraCatalog& catalog) {
    std::vector<std::string> out;
    for (const ListedLora& each : catalog.list()) out.push_back(each.name);
    return out;
  };
  const auto listed = catalog();
  EXPECT_THAT(names(*listed), ElementsAre("broken", "sketch", "words"));
  EXPECT_GT(listed->list()[1].bytes, 1000);
  fs::remove(adapters() / "broken.safetensors");
  EXPECT_THAT(names(*listed), ElementsAre("sketch", "words"));
  fs::remove_all(adapters());
  EXPECT_TRUE(names(*listed).empty());
  EXPECT_TRUE(names(LoraCatalog()).empty());
  EXPECT_THAT(glmimage::test::error_of(ErrorKind::usage, [&] { LoraCatalog({}, folder_ / "nowhere"); }),
              HasSubstr("folder of adapters"));
}

}  // namespace
}  // namespace glmimage::serve
