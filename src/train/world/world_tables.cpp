#include "train/world/world_tables.h"

namespace glmimage::train::world {

const std::vector<Colour>& colour_table() {
  static const std::vector<Colour> table = {
      {"red", {220, 35, 40}},     {"green", {40, 165, 65}},   {"blue", {35, 85, 220}},    {"yellow", {250, 220, 45}},
      {"orange", {250, 135, 25}}, {"purple", {125, 50, 170}}, {"white", {255, 255, 255}}, {"black", {10, 10, 10}},
      {"pink", {250, 160, 200}},  {"gray", {140, 140, 140}},
  };
  return table;
}

const std::vector<Emoji>& emoji_table() {
  static const std::vector<Emoji> table = {
      // Food.
      {U'\U0001F34E', "a red apple", "an apple"},
      {U'\U0001F34F', "a green apple", nullptr},
      {U'\U0001F34C', "a banana", nullptr},
      {U'\U0001F34A', "an orange", "a tangerine"},
      {U'\U0001F353', "a strawberry", nullptr},
      {U'\U0001F352', "cherries", "two cherries"},
      {U'\U0001F349', "a watermelon", "a slice of watermelon"},
      {U'\U0001F347', "grapes", "purple grapes"},
      {U'\U0001F34D', "a pineapple", nullptr},
      {U'\U0001F955', "a carrot", nullptr},
      {U'\U0001F344', "a mushroom", "a red mushroom"},
      {U'\U0001F355', "a pizza", "a slice of pizza"},
      {U'\U0001F354', "a hamburger", "a burger"},
      {U'\U0001F382', "a cake", "a birthday cake"},
      {U'\U0001F366', "an ice cream", "an ice cream cone"},
      {U'\U0001F369', "a donut", "a doughnut"},
      {U'\U00002615', "a cup", "a cup of coffee"},
      // Animals.
      {U'\U0001F436', "a dog", "a dog face"},
      {U'\U0001F431', "a cat", "a cat face"},
      {U'\U0001F437', "a pig", "a pink pig"},
      {U'\U0001F438', "a frog", "a green frog"},
      {U'\U0001F43C', "a panda", "a panda face"},
      {U'\U0001F981', "a lion", "a lion face"},
      {U'\U0001F98A', "a fox", "a fox face"},
      {U'\U0001F435', "a monkey", "a monkey face"},
      {U'\U0001F430', "a rabbit", "a bunny"},
      {U'\U0001F424', "a chick", "a baby chick"},
      {U'\U0001F427', "a penguin", nullptr},
      {U'\U0001F989', "an owl", nullptr},
      {U'\U0001F41F', "a fish", "a blue fish"},
      {U'\U0001F433', "a whale", "a blue whale"},
      {U'\U0001F419', "an octopus", "a pink octopus"},
      {U'\U0001F980', "a crab", "a red crab"},
      {U'\U0001F422', "a turtle", "a green turtle"},
      {U'\U0001F98B', "a butterfly", "an orange butterfly"},
      {U'\U0001F41E', "a ladybug", "a ladybird"},
      {U'\U0001F418', "an elephant", nullptr},
      // Vehicles.
      {U'\U0001F697', "a car", "a red car"},
      {U'\U0001F68C', "a bus", nullptr},
      {U'\U0001F6B2', "a bicycle", "a bike"},
      {U'\U0001F682', "a train", "a locomotive"},
      {U'\U00002708', "an airplane", "a plane"},
      {U'\U0001F680', "a rocket", nullptr},
      {U'\U000026F5', "a boat", "a sailboat"},
      // Nature and buildings.
      {U'\U0001F3E0', "a house", nullptr},
      {U'\U0001F333', "a tree", "a green tree"},
      {U'\U0001F335', "a cactus", nullptr},
      {U'\U0001F33B', "a sunflower", nullptr},
      {U'\U0001F339', "a rose", "a red rose"},
      {U'\U00002600', "a sun", "the sun"},
      {U'\U0001F319', "a moon", "the moon"},
      {U'\U00002B50', "a star", nullptr},
      {U'\U00002601', "a cloud", nullptr},
      {U'\U0001F308', "a rainbow", nullptr},
      // Things.
      {U'\U00002764', "a heart", "a red heart"},
      {U'\U000026BD', "a soccer ball", "a football"},
      {U'\U0001F388', "a balloon", "a red balloon"},
      {U'\U0001F381', "a gift", "a present"},
      {U'\U0001F451', "a crown", "a golden crown"},
      {U'\U0001F511', "a key", "a golden key"},
      {U'\U000023F0', "a clock", "an alarm clock"},
      {U'\U0001F3B8', "a guitar", "a red guitar"},
      {U'\U0001F4A1', "a light bulb", "a lamp"},
      {U'\U00002614', "an umbrella", nullptr},
  };
  return table;
}

const std::vector<Shape>& shape_table() {
  static const std::vector<Shape> table = {
      {ShapeForm::circle, "circle"}, {ShapeForm::square, "square"},   {ShapeForm::triangle, "triangle"},
      {ShapeForm::star, "star"},     {ShapeForm::diamond, "diamond"},
  };
  return table;
}

const std::vector<const char*>& word_table() {
  static const std::vector<const char*> table = {
      "HELLO", "HI",     "YES",    "NO",     "STOP",  "GO",    "OPEN",   "CLOSED", "EXIT",   "SALE",   "CAT",
      "DOG",   "LOVE",   "HAPPY",  "NEW",    "OLD",   "BIG",   "SMALL",  "HOT",    "COLD",   "FREE",   "HOME",
      "CAFE",  "BAR",    "TAXI",   "BUS",    "CAR",   "PARK",  "SHOP",   "HOTEL",  "FOOD",   "MILK",   "TEA",
      "WATER", "FIRE",   "ICE",    "SUN",    "MOON",  "STAR",  "SKY",    "SEA",    "TREE",   "ROSE",   "APPLE",
      "LEMON", "PIZZA",  "CAKE",   "BREAD",  "FISH",  "BIRD",  "LION",   "BEAR",   "WOLF",   "FROG",   "RED",
      "GREEN", "BLUE",   "BLACK",  "WHITE",  "PINK",  "ONE",   "TWO",    "THREE",  "FOUR",   "FIVE",   "SIX",
      "SEVEN", "EIGHT",  "NINE",   "TEN",    "ZERO",  "FIRST", "LAST",   "NEXT",   "BEST",   "GOOD",   "BAD",
      "FAST",  "SLOW",   "UP",     "DOWN",   "LEFT",  "RIGHT", "NORTH",  "SOUTH",  "EAST",   "WEST",   "DAY",
      "NIGHT", "SPRING", "SUMMER", "WINTER", "MAY",   "JUNE",  "JULY",   "SUNDAY", "MONDAY", "FRIDAY", "PLAY",
      "GAME",  "WIN",    "LOSE",   "MUSIC",  "DANCE", "SING",  "BOOK",   "READ",   "WRITE",  "CODE",   "DATA",
      "IMAGE", "MODEL",  "GLM",    "TEST",   "PUSH",  "PULL",  "START",  "END",    "HELP",   "INFO",   "DANGER",
      "QUIET", "PLEASE", "THANKS", "SORRY",  "WOW",   "OK",    "COOL",   "FUN",    "PEACE",  "DREAM",  "HOPE",
      "LIFE",  "TIME",   "WORLD",  "EARTH",  "CITY",  "TOWN",  "ROAD",   "HOUSE",  "DOOR",   "KEY",    "KING",
      "QUEEN", "MAGIC",  "POWER",  "ROCKET", "ROBOT", "SPACE", "PLANET", "GOLD",   "SILVER", "LUCKY",  "SMILE",
      "SWEET", "HEART",
  };
  return table;
}

const std::vector<int64_t>& text_sizes() {
  static const std::vector<int64_t> table = {56, 48, 40, 32, 28, 24, 20, 18, 16};
  return table;
}

}  // namespace glmimage::train::world
