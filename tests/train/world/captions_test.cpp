#include <gmock/gmock.h>

#include <cctype>
#include <set>

#include "text/glyph_text.h"
#include "train/world/arrangements.h"
#include "train/world/world_helpers.h"

namespace glmimage::train::world {
namespace {

using testing::HasSubstr;

TEST(WorldCaptions, AreCanonicalForScenesMadeToOrder) {
  const World& world = shared_world();
  const auto one = [&](const std::string& name, const std::string& colour, const std::string& text = {}) {
    return world.with_object(class_named(name), colour_named(colour), text).caption;
  };
  EXPECT_EQ(one("red apple", "green"), "a red apple on a green background");
  EXPECT_EQ(one("blue circle", "yellow"), "a blue circle on a yellow background");
  EXPECT_EQ(one("orange", "orange"), "an orange on an orange background");
  EXPECT_EQ(one("grapes", "cyan"), "grapes on a cyan background");
  EXPECT_EQ(one("cat", "red", "Hello"), "a cat on a red background with the text \"Hello\"");
  EXPECT_EQ(one("text", "blue", "42"), "the text \"42\" on a blue background");

  const auto some = [&](const std::vector<std::string>& names, Arrangement arrangement, const std::string& colour) {
    std::vector<int64_t> ids;
    for (const std::string& name : names) ids.push_back(class_named(name));
    return world.with_objects(ids, arrangement, colour_named(colour)).caption;
  };
  EXPECT_EQ(some({"dog", "car"}, Arrangement::left_of, "white"), "a dog to the left of a car on a white background");
  EXPECT_EQ(some({"yellow star"}, Arrangement::top, "black"), "a yellow star at the top of a black background");
  EXPECT_EQ(some({"owl"}, Arrangement::bottom_left, "pink"), "an owl in the bottom left corner of a pink background");
  EXPECT_EQ(some({"red apple", "red apple"}, Arrangement::row, "green"), "two red apples on a green background");
  EXPECT_EQ(some({"mouse", "mouse", "mouse"}, Arrangement::triangle, "brown"), "three mice on a brown background");
  EXPECT_EQ(some({"red circle", "red circle", "red circle"}, Arrangement::triangle, "white"),
            "three red circles on a white background");
  EXPECT_EQ(some({"blue cross", "blue cross"}, Arrangement::row, "white"), "two blue crosses on a white background");
}

TEST(WorldCaptions, SayTheSameInChinese) {
  const World& world = shared_world();
  const auto said = [&](const std::vector<std::string>& names, Arrangement arrangement, const std::string& text = {}) {
    std::vector<int64_t> ids;
    for (const std::string& name : names) ids.push_back(class_named(name));
    return chinese_caption(world.with_objects(ids, arrangement, colour_named("green"), text));
  };
  EXPECT_EQ(said({"red apple"}, Arrangement::centre), "绿色背景上的一个红苹果");
  EXPECT_EQ(said({"red apple"}, Arrangement::centre, "HELLO"), "绿色背景上的一个红苹果，写着\"HELLO\"");
  EXPECT_EQ(said({"cat"}, Arrangement::top_left), "绿色背景左上角的一只猫");
  EXPECT_EQ(said({"cat", "car"}, Arrangement::below), "绿色背景上，一只猫在一辆汽车的下面");
  EXPECT_EQ(said({"cat", "cat"}, Arrangement::row), "绿色背景上的两只猫");
  EXPECT_EQ(said({"red star", "red star", "red star"}, Arrangement::triangle), "绿色背景上的三个红色的五角星");
  EXPECT_EQ(said({}, Arrangement::text_only, "OK"), "绿色背景上的文字\"OK\"");
}

std::string in_small_letters(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return text;
}

bool is_named(const Object& object, const Scene& scene) {
  const std::string caption = in_small_letters(scene.caption);
  const auto says = [&](const std::string& name) { return caption.find(in_small_letters(name)) != std::string::npos; };
  const std::string name = class_names()[class_of(object)];
  if (object.kind == ObjectKind::shape) return says(name);
  const Emoji& emoji = emoji_table()[object.index];
  if (is_count(scene.arrangement)) return says(emoji.plural);
  return says(name) || (emoji.alias != nullptr && says(emoji.alias));
}

TEST(WorldCaptions, NameWhatIsThere) {
  constexpr int kScenes = 6000;
  std::mt19937_64 random(5);
  int64_t canonical = 0, with_text = 0, pairs = 0, twos = 0, threes = 0, small = 0, longest = 0;
  for (int i = 0; i < kScenes; ++i) {
    const Scene scene = shared_world().sample(random);
    canonical += scene.caption == canonical_caption(scene) ? 1 : 0;
    with_text += scene.text.empty() ? 0 : 1;
    pairs += is_relation(scene.arrangement) ? 1 : 0;
    twos += scene.arrangement == Arrangement::row ? 1 : 0;
    threes += scene.arrangement == Arrangement::triangle ? 1 : 0;
    for (const Object& object : scene.objects) {
      EXPECT_TRUE(is_named(object, scene)) << scene.caption << " does not name " << class_names()[class_of(object)];
      EXPECT_TRUE(shared_world().stands_out(object, scene.background)) << scene.caption;
    }
    if (scene.text.empty()) continue;
    EXPECT_EQ(glyph_strings(scene.caption), std::vector<std::string>{scene.text}) << scene.caption;
    small += std::any_of(scene.text.begin(), scene.text.end(), [](char c) { return c >= 'a' && c <= 'z'; }) ? 1 : 0;
    longest = std::max(longest, static_cast<int64_t>(scene.text.size()));
  }
  const auto share = [](int64_t count) { return static_cast<double>(count) / kScenes; };
  EXPECT_NEAR(share(canonical), 0.82, 0.04);
  EXPECT_NEAR(share(with_text), 0.45, 0.04);
  EXPECT_NEAR(share(pairs), 0.24, 0.03);  // a little less than drawn: more of them are held out
  EXPECT_NEAR(share(twos), 0.08, 0.02);
  EXPECT_NEAR(share(threes), 0.08, 0.02);
  EXPECT_NEAR(share(small), 0.1, 0.03);
  EXPECT_EQ(longest, 8);
}

// As many objects as the caption says, all equal, and no number where there is no count.
TEST(WorldCaptions, CountsMatch) {
  std::mt19937_64 random(15);
  for (int i = 0; i < 4000; ++i) {
    const Scene scene = shared_world().sample(random);
    const std::string caption = " " + scene.caption;
    const auto says = [&](const std::string& word) {
      std::string capital = word;
      capital[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
      return caption.find(" " + word + " ") != std::string::npos ||
             caption.find(" " + capital + " ") != std::string::npos;
    };
    EXPECT_EQ(says("two") || says("2"), scene.arrangement == Arrangement::row) << scene.caption;
    EXPECT_EQ(says("three") || says("3"), scene.arrangement == Arrangement::triangle) << scene.caption;
    if (!is_count(scene.arrangement)) continue;
    EXPECT_EQ(scene.objects.size(), scene.arrangement == Arrangement::row ? 2U : 3U);
    for (const Object& object : scene.objects) EXPECT_EQ(class_of(object), class_of(scene.objects[0]));
  }
}

bool has_chinese(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char byte) { return static_cast<unsigned char>(byte) >= 0x80; });
}

TEST(WorldCaptions, ChineseIsAChoice) {
  std::mt19937_64 random(16), plain(16);
  for (int i = 0; i < 2000; ++i) EXPECT_FALSE(has_chinese(shared_world().sample(plain).caption));
  NEEDS_CHINESE_FONT();
  constexpr int kScenes = 4000;
  int64_t texts = 0, chinese_texts = 0, chinese = 0, english_about_chinese = 0;
  for (int i = 0; i < kScenes; ++i) {
    const Scene scene = chinese_world().sample(random);
    std::string unquoted = scene.caption;
    if (!scene.text.empty()) {
      EXPECT_EQ(glyph_strings(scene.caption), std::vector<std::string>{scene.text}) << scene.caption;
      unquoted.erase(unquoted.find(scene.text), scene.text.size());
      ++texts;
      chinese_texts += has_chinese(scene.text) ? 1 : 0;
    }
    chinese += has_chinese(unquoted) ? 1 : 0;
    english_about_chinese += has_chinese(scene.text) && !has_chinese(unquoted) ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(chinese_texts) / static_cast<double>(texts), 0.25, 0.05);
  EXPECT_NEAR(static_cast<double>(chinese) / kScenes, 0.14, 0.03);
  EXPECT_NEAR(static_cast<double>(english_about_chinese) / static_cast<double>(chinese_texts), 0.6, 0.1);
}

// What a vocabulary is learnt from: the captions of a stage's pictures.
std::string sampled_captions(const World& world) {
  constexpr int kScenes = 12000;
  std::mt19937_64 random(1);
  std::string all;
  for (int i = 0; i < kScenes; ++i) all += world.sample(random).caption + "\n";
  return all;
}

TEST(WorldCaptions, EveryNameIsSaid) {
  const std::string all = sampled_captions(shared_world());
  EXPECT_FALSE(has_chinese(all));
  for (int64_t id = 1; id < text_class(); ++id) EXPECT_THAT(all, HasSubstr(class_names()[id]));
  for (const Emoji& emoji : emoji_table()) {
    EXPECT_TRUE(emoji.plural == nullptr || all.find(emoji.plural) != std::string::npos) << emoji.name;
  }
}

TEST(WorldCaptions, EveryChineseNameIsSaid) {
  NEEDS_CHINESE_FONT();
  const World& world = chinese_world();
  for (size_t i = 0; i < emoji_table().size(); ++i) {
    const Scene scene = world.with_object(1 + static_cast<int64_t>(i), colour_named("blue"));
    EXPECT_THAT(chinese_caption(scene), HasSubstr(emoji_table()[i].chinese));
  }
  const std::string all = sampled_captions(world);
  for (const char* word : chinese_word_table()) EXPECT_NE(all.find(word), std::string::npos) << word;
}

}  // namespace
}  // namespace glmimage::train::world
