#include <gmock/gmock.h>

#include <set>
#include <tuple>

#include "train/world/world_helpers.h"

namespace glmimage::train::world {
namespace {

bool withheld(const std::vector<int64_t>& ids, Arrangement arrangement, int64_t background) {
  return World::held_out(shared_world().with_objects(ids, arrangement, background));
}

// A background on which neither of two objects is held out for itself.
int64_t plain_background(int64_t a, int64_t b) {
  for (int64_t background = 0; background < background_count(); ++background) {
    if (!withheld({a}, Arrangement::centre, background) && !withheld({b}, Arrangement::centre, background)) {
      return background;
    }
  }
  return -1;
}

TEST(HeldOut, IsNeverSampledForTraining) {
  std::mt19937_64 random(31);
  for (int i = 0; i < 20000; ++i) {
    const Scene scene = shared_world().sample(random);
    ASSERT_FALSE(World::held_out(scene)) << scene.caption;
    for (const Object& object : scene.objects) {
      ASSERT_FALSE(withheld({class_of(object)}, Arrangement::centre, scene.background)) << scene.caption;
    }
  }
}

TEST(HeldOut, IsAllThatEvaluationSamples) {
  std::mt19937_64 random(32), again(32);
  std::set<size_t> counts;
  std::set<std::string> captions;
  for (int i = 0; i < 2000; ++i) {
    const Scene scene = shared_world().sample_held_out(random);
    EXPECT_TRUE(World::held_out(scene)) << scene.caption;
    EXPECT_EQ(scene.caption, shared_world().sample_held_out(again).caption);
    counts.insert(scene.objects.size());
    captions.insert(scene.caption);
    for (const Object& object : scene.objects) EXPECT_TRUE(shared_world().stands_out(object, scene.background));
  }
  EXPECT_THAT(counts, testing::ElementsAre(1, 2, 3));
  EXPECT_GT(captions.size(), 1500U);
}

TEST(HeldOut, IsATwentiethOfTheCombinations) {
  int64_t single = 0, all_single = 0, pairs = 0, all_pairs = 0;
  for (int64_t id = 1; id < text_class(); ++id) {
    int64_t left = 0;
    for (int64_t background = 0; background < background_count(); ++background) {
      const bool out = withheld({id}, Arrangement::centre, background);
      single += out ? 1 : 0;
      ++all_single;
      left += !out && shared_world().stands_out(shared_world().with_object(id, background).objects[0], background);
    }
    EXPECT_GE(left, 5) << class_names()[id] << " is hardly ever seen in training";
    const int64_t other = id % (text_class() - 1) + 1, background = plain_background(id, other);
    ASSERT_GE(background, 0);
    for (const Arrangement relation : {Arrangement::left_of, Arrangement::above, Arrangement::below}) {
      pairs += withheld({id, other}, relation, background) ? 1 : 0;
      ++all_pairs;
    }
  }
  EXPECT_NEAR(static_cast<double>(single) / static_cast<double>(all_single), 0.05, 0.01);
  EXPECT_NEAR(static_cast<double>(pairs) / static_cast<double>(all_pairs), 0.05, 0.025);
}

// An object's background is held out wherever and however often the object is there; a relation on every background,
// whichever of the two is named first, and with no regard to the others.
TEST(HeldOut, DependsOnTheCombinationAlone) {
  int64_t relations = 0;
  for (int64_t id = 1; id < text_class(); ++id) {
    const int64_t other = id % (text_class() - 1) + 1;
    for (int64_t background = 0; background < background_count(); ++background) {
      const bool out = withheld({id}, Arrangement::centre, background);
      EXPECT_EQ(withheld({id}, Arrangement::top_left, background), out);
      if (countable(shared_world().with_object(id, background).objects[0])) {
        EXPECT_EQ(withheld({id, id}, Arrangement::row, background), out);
        EXPECT_EQ(withheld({id, id, id}, Arrangement::triangle, background), out);
      }
      EXPECT_TRUE(!out || withheld({other, id}, Arrangement::above, background));
    }
    const int64_t background = plain_background(id, other);
    const bool left = withheld({id, other}, Arrangement::left_of, background);
    EXPECT_EQ(withheld({other, id}, Arrangement::right_of, background), left);
    EXPECT_EQ(withheld({id, other}, Arrangement::above, background),
              withheld({other, id}, Arrangement::below, background));
    relations += left && !withheld({id, other}, Arrangement::above, background) ? 1 : 0;
  }
  EXPECT_GT(relations, 3) << "the relation itself counts";
  EXPECT_FALSE(World::held_out(shared_world().with_object(text_class(), 0, "HELLO")));
}

// The choice must come out everywhere, now and with more emoji.
TEST(HeldOut, IsPortable) {
  std::vector<std::string> found;
  for (const std::string name : {"red apple", "cat", "dog", "car", "owl", "house", "banana", "green triangle",
                                 "blue star", "red circle", "black heart", "cyan ring"}) {
    for (int64_t background = 0; background < background_count(); ++background) {
      if (withheld({class_named(name)}, Arrangement::centre, background)) {
        found.push_back(name + " on " + colour_table()[background].name);
      }
    }
  }
  EXPECT_THAT(found, testing::ElementsAre("cat on red", "cyan ring on brown"));
}

}  // namespace
}  // namespace glmimage::train::world
