#include "kernels/emulated_cuda/fibers.h"

#include <ucontext.h>

#include <array>
#include <memory>
#include <vector>

namespace glmimage::test {

Dim3 thread_place, block_place, block_size;

namespace {

constexpr size_t kStack = 64 * 1024;

struct Fiber {
  ucontext_t context;
  bool ended = false, at_block = false;
  int exchanges = 0;
};

struct Block {
  ucontext_t scheduler;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<std::array<std::array<float, 32>, 2>> slots;  // by warp and by whether the exchange is odd
  const std::function<void()>* thread = nullptr;
  unsigned running = 0;
};
Block* block = nullptr;

// Stacks serve one block after another: to make them anew would take most of the time.
char* stack_of(size_t thread) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= thread) stacks.emplace_back(new char[kStack]);
  return stacks[thread].get();
}

void enter() {
  (*block->thread)();
  block->fibers[block->running]->ended = true;
}

std::unique_ptr<Fiber> new_fiber(size_t thread, ucontext_t& scheduler) {
  auto fiber = std::make_unique<Fiber>();
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = stack_of(thread);
  fiber->context.uc_stack.ss_size = kStack;
  fiber->context.uc_link = &scheduler;
  makecontext(&fiber->context, enter, 0);
  return fiber;
}

void give_way() { swapcontext(&block->fibers[block->running]->context, &block->scheduler); }

// Every thread that may go on goes on to its next meeting. Lanes of a warp meet in equal numbers, so they stay level.
bool round() {
  bool any = false;
  for (unsigned i = 0; i < block->fibers.size(); ++i) {
    Fiber& fiber = *block->fibers[i];
    if (fiber.ended || fiber.at_block) continue;
    any = true;
    block->running = i;
    thread_place = {i, 0, 0};
    swapcontext(&block->scheduler, &fiber.context);
  }
  return any;
}

}  // namespace

void run_block(unsigned threads, const std::function<void()>& thread) {
  Block here;
  here.thread = &thread;
  here.slots.resize((threads + 31) / 32);
  block = &here;
  for (unsigned i = 0; i < threads; ++i) here.fibers.push_back(new_fiber(i, here.scheduler));
  for (bool left = true; left;) {
    while (round()) {
    }
    left = false;
    for (auto& fiber : here.fibers) {
      left = left || fiber->at_block;
      fiber->at_block = false;
    }
  }
  block = nullptr;
}

void meet_block() {
  block->fibers[block->running]->at_block = true;
  give_way();
}

float exchange(float value, int distance) {
  const unsigned warp = block->running / 32, lane = block->running % 32;
  Fiber& fiber = *block->fibers[block->running];
  std::array<float, 32>& slots = block->slots[warp][static_cast<size_t>(fiber.exchanges++ % 2)];
  slots[lane] = value;
  give_way();
  return slots[lane ^ static_cast<unsigned>(distance)];
}

}  // namespace glmimage::test
