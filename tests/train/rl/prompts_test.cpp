#include "train/rl/prompts.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "train/world/world_tables.h"

namespace glmimage::train::rl {
namespace {

TEST(WorldPrompts, AreTrainingsScenesWithLongWords) {
  const auto prompts = world_prompts(world::World::open({.size = 64, .words = 0.9}), 1, 6);
  int64_t words = 0;
  std::set<std::string> texts;
  for (uint64_t i = 0; i < 200; ++i) {
    const Prompt prompt = prompts->at(i);
    ASSERT_TRUE(prompt.scene.has_value());
    EXPECT_FALSE(world::World::held_out(*prompt.scene));
    EXPECT_TRUE(world::World::held_out(*prompts->held_out(i)->scene));
    EXPECT_EQ(prompt.text, canonical_caption(*prompt.scene));
    texts.insert(prompt.text);
    if (prompt.scene->text.empty()) continue;
    ++words;
    EXPECT_GE(prompt.scene->text.size(), 6U);
  }
  EXPECT_GT(words, 100);
  EXPECT_LT(words, 200);
  EXPECT_GT(texts.size(), 195U);
  EXPECT_EQ(prompts->at(7).text, prompts->at(7).text);
  EXPECT_NE(prompts->at(7).text, world_prompts(world::World::open({.size = 64}), 2, 6)->at(7).text);
}

TEST(ListedPrompts, ComeOnceAnEpochInAnotherOrder) {
  std::vector<Prompt> list;
  for (int i = 0; i < 20; ++i) list.push_back({.text = std::to_string(i), .scene = {}});
  const auto prompts = listed_prompts(list, 1);
  std::vector<std::string> first, second;
  for (uint64_t i = 0; i < 20; ++i) first.push_back(prompts->at(i).text), second.push_back(prompts->at(20 + i).text);
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), 20U);
  EXPECT_EQ(std::set<std::string>(second.begin(), second.end()).size(), 20U);
  EXPECT_NE(first, second);
  EXPECT_FALSE(prompts->held_out(0).has_value());
}

}  // namespace
}  // namespace glmimage::train::rl
