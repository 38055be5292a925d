#include "eval/rewards.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/listing.h"
#include "text/edit_distance.h"
#include "text/glyph_text.h"
#include "text/utf8.h"

namespace glmimage::eval {
namespace {

using rl::Judged;
using rl::Score;

Score share(int64_t right, size_t of) {
  return of == 0 ? Score() : Score(static_cast<double>(right) / static_cast<double>(of));
}

template <typename Part, typename Right>
Score share_of(const std::vector<Part>& parts, const Right& right) {
  return share(std::count_if(parts.begin(), parts.end(), right), parts.size());
}

Score object_score(const PictureResult& result) {
  return share_of(result.objects, [](const ObjectResult& each) { return each.right(); });
}

Score background_score(const PictureResult& result) {
  if (!result.background_wanted) return {};
  return *result.background_wanted == result.background_named ? 1 : 0;
}

Score place_score(const PictureResult& result) {
  if (result.place_right) return *result.place_right ? 1 : 0;
  return share_of(result.relations, [](const RelationResult& each) { return each.right; });
}

Score count_score(const PictureResult& result) {
  return share_of(result.counts, [](const CountResult& each) { return each.counted == each.wanted; });
}

Score picture_score(const PictureResult& result) { return result.all_right() ? 1 : 0; }

struct Measured {
  Aspects aspects;
  Score (*score)(const PictureResult&);
};

const std::map<std::string, Measured>& measured() {
  static const std::map<std::string, Measured> table = {
      {"object", {{.objects = true, .counts = false, .word = false}, object_score}},
      {"background", {{.objects = false, .counts = false, .word = false}, background_score}},
      {"place", {{.objects = true, .counts = false, .word = false}, place_score}},
      {"count", {{.objects = false, .counts = true, .word = false}, count_score}},
      {"picture", {{}, picture_score}}};
  return table;
}

std::optional<WordReader> reader_for(const std::string& name) {
  std::optional<WordReader> reader = WordReader::open();
  if (!reader) {
    fail(ErrorKind::usage, "the reward '", name, "' reads with tesseract, which is not installed (Debian package ",
         "tesseract-ocr)");
  }
  return reader;
}

// One of the measures of `eval` that name no word.
class MeasuredReward : public rl::Reward {
 public:
  MeasuredReward(const Measured& measured, Checker checker) : measured_(measured), checker_(std::move(checker)) {}

  std::vector<Score> score(std::span<const Judged> pictures) override {
    at::NoGradGuard no_grad;
    std::vector<Score> out(pictures.size());
    for (size_t i = 0; i < pictures.size(); ++i) {
      if (!pictures[i].prompt.scene) continue;
      out[i] = measured_.score(checker_.check(pictures[i].image, scene_of(pictures[i].prompt), {}, measured_.aspects));
    }
    return out;
  }

 private:
  Measured measured_;
  Checker checker_;
};

// What is read of the word of each picture; pictures side by side on LibTorch's threads.
class WordReward : public rl::Reward {
 public:
  using Formula = double (*)(const std::string& wanted, const std::string& read);
  enum class Without { scene_is_not_judged, scene_is_read_whole };

  WordReward(const world::World& world, WordReader reader, Formula formula, Without without)
      : world_(world), reader_(std::move(reader)), formula_(formula), without_(without) {}

  std::vector<Score> score(std::span<const Judged> pictures) override {
    at::NoGradGuard no_grad;
    const std::vector<size_t> firsts = first_of_prompt(pictures);
    std::vector<char> readable(pictures.size(), 1);
    each(firsts.size(), [&](size_t i) {
      const rl::Prompt& prompt = pictures[firsts[i]].prompt;
      if (!prompt.scene || prompt.scene->text.empty()) return;
      const Image truth = world_.render(*prompt.scene);
      readable[firsts[i]] = reader_.can_read(prompt.scene->text) && read_scene(truth, prompt) == prompt.scene->text;
    });
    for (size_t i = 1; i < pictures.size(); ++i) {
      if (&pictures[i].prompt == &pictures[i - 1].prompt) readable[i] = readable[i - 1];
    }
    std::vector<Score> out(pictures.size());
    each(pictures.size(), [&](size_t i) {
      if (readable[i]) out[i] = score_one(pictures[i]);
    });
    return out;
  }

 private:
  static std::vector<size_t> first_of_prompt(std::span<const Judged> pictures) {
    std::vector<size_t> firsts;
    for (size_t i = 0; i < pictures.size(); ++i) {
      if (i == 0 || &pictures[i].prompt != &pictures[i - 1].prompt) firsts.push_back(i);
    }
    return firsts;
  }

  template <typename Act>
  static void each(size_t count, const Act& act) {
    at::parallel_for(0, static_cast<int64_t>(count), 1, [&](int64_t begin, int64_t end) {
      at::NoGradGuard no_grad;  // of this thread
      for (int64_t i = begin; i < end; ++i) act(static_cast<size_t>(i));
    });
  }

  std::string read_scene(const Image& image, const rl::Prompt& prompt) const {
    Checker checker(world_, reader_);
    const Aspects word{.objects = false, .counts = false, .word = true};
    const PictureResult result = checker.check(image, scene_of(prompt), {}, word);
    return result.word ? result.word->read : "";
  }

  Score score_one(const Judged& picture) const {
    const rl::Prompt& prompt = picture.prompt;
    if (prompt.scene) {
      if (prompt.scene->text.empty()) return {};
      return formula_(prompt.scene->text, read_scene(picture.image, prompt));
    }
    if (without_ == Without::scene_is_not_judged) return {};
    std::string wanted;
    for (const std::string& part : glyph_strings(prompt.text)) wanted += part;
    wanted = without_white_space(wanted);
    if (wanted.empty() || !reader_.can_read(wanted)) return {};
    return formula_(wanted, reader_.read_picture(picture.image, wanted));
  }

  world::World world_;
  WordReader reader_;
  Formula formula_;
  Without without_;
};

double exact_and_near(const std::string& wanted, const std::string& read) {
  const double distance = normalised_edit_distance(wanted, read);
  return 0.5 * (distance == 0 ? 1 : 0) + 0.5 * (1 - distance);
}

}  // namespace

const std::vector<std::string>& world_rewards() {
  static const std::vector<std::string> names = {"ocr", "word", "object", "background", "place", "count", "picture"};
  return names;
}

std::unique_ptr<rl::Reward> world_reward(const std::string& name, const world::World& world) {
  if (name == "ocr") {
    return std::make_unique<WordReward>(world, *reader_for(name), reading_score,
                                        WordReward::Without::scene_is_read_whole);
  }
  if (name == "word") {
    return std::make_unique<WordReward>(world, *reader_for(name), exact_and_near,
                                        WordReward::Without::scene_is_not_judged);
  }
  const auto found = measured().find(name);
  if (found == measured().end()) {
    fail(ErrorKind::usage, "there is no reward '", name, "'; there are ",
         listed(world_rewards(), world_rewards().size()));
  }
  return std::make_unique<MeasuredReward>(found->second,
                                          Checker(world, found->second.aspects.word ? reader_for(name) : std::nullopt));
}

double reading_score(const std::string& wanted, const std::string& read) {
  if (read.find(wanted) != std::string::npos) return 1;
  int64_t length = 0;
  for (size_t at = 0; at < wanted.size(); ++length) next_code_point(wanted, at);
  const double off = static_cast<double>(edit_distance(wanted, read)) / static_cast<double>(length);
  return std::max(0.0, 1 - off);
}

EvalScene scene_of(const rl::Prompt& prompt) {
  return {.prompt = prompt.text,
          .scene = *prompt.scene,
          .says_background = prompt.says_background,
          .says_places = prompt.says_places};
}

std::vector<rl::Prompt> prompts_of(const std::vector<EvalScene>& scenes) {
  std::vector<rl::Prompt> out;
  for (const EvalScene& each : scenes) {
    out.push_back({each.prompt, each.scene, each.says_background, each.says_places});
  }
  return out;
}

}  // namespace glmimage::eval
