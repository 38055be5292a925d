#include "pipeline/prior_batch.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "core/current_error.h"

namespace glmimage {
namespace {

// A picture on its way.
struct Drawing {
  Drawing(PriorTask& its_task, PriorStart its_start)
      : task(its_task), start(std::move(its_start)), output(at::empty({1, start.count}, at::kLong)) {}
  PriorTask& task;
  PriorStart start;   // its logits are those of the id to be drawn next
  at::Tensor output;  // (1, count) int64 on the CPU, of which `done` are drawn
  int64_t done = 0;
  std::optional<Error> error = {};  // cancelled, or logits that are no numbers

  bool over() const { return error.has_value() || done == start.count; }
  int64_t last() const { return output.const_data_ptr<int64_t>()[done - 1]; }
  // Draws the next id from its logits.
  void draw(int64_t codes) {
    try {
      const at::Tensor id = sample(start.logits, task.request.sampling, codes, task.generator);  // (1)
      output.mutable_data_ptr<int64_t>()[done] = id.item<int64_t>();
      step(task.progress, Stage::visual_tokens, ++done, start.count);
    } catch (...) {
      error = current_error();
    }
  }
};
using Drawings = std::vector<Drawing*>;

void draw_one(const ArModel& model, Drawings& drawings) {
  for (Drawing* d : drawings) d->draw(model.config.codebook_size);
  std::erase_if(drawings, [](const Drawing* d) { return d->over(); });
}

// The logits after each one's last id, (B, Vv), in one batch. It moves on the caches it is given.
at::Tensor feed_together(const ArModel& model, const Drawings& drawings, const std::vector<KvCache*>& caches) {
  std::vector<int64_t> ids;
  std::vector<at::Tensor> cos, sin;
  for (const Drawing* d : drawings) {
    const Rope rope = d->start.rope.at(d->done - 1);
    ids.push_back(d->last());
    cos.push_back(rope.cos);
    sin.push_back(rope.sin);
  }
  const at::Tensor embeddings = model.embed(at::tensor(ids, at::kLong).unsqueeze(1));  // (B, 1, D)
  return model.logits(model.decode_together(embeddings, {at::cat(cos), at::cat(sin)}, caches).select(1, 0));
}

// The same of one alone: (1, Vv).
at::Tensor feed_alone(const ArModel& model, Drawing& d) {
  return model.logits(model.decode(model.embed_one(d.last()), d.start.rope.at(d.done - 1), d.start.cache).select(1, 0));
}

void finish_alone(const ArModel& model, Drawing& d) {
  while (true) {
    d.draw(model.config.codebook_size);
    if (d.over()) return;
    d.start.logits = feed_alone(model, d);
  }
}

std::vector<KvCache*> caches_of(const Drawings& drawings) {
  std::vector<KvCache*> caches;
  for (Drawing* d : drawings) caches.push_back(&d->start.cache);
  return caches;
}

// Whether a batch gives every picture the bits it gets alone, told by a step of both: the caches move on by it, and so
// do the logits. The batch steps on copies that share the caches' slots, so that a batch takes no more memory for it:
// the step alone writes over what it wrote.
bool first_step_is_the_same(const ArModel& model, const Drawings& drawings) {
  std::vector<KvCache> copies;
  for (const Drawing* d : drawings) copies.push_back(d->start.cache);
  std::vector<KvCache*> caches;
  for (KvCache& copy : copies) caches.push_back(&copy);
  const at::Tensor together = feed_together(model, drawings, caches);  // (B, Vv)
  for (Drawing* d : drawings) d->start.logits = feed_alone(model, *d);
  for (size_t i = 0; i < drawings.size(); ++i) {
    if (!together.narrow(0, static_cast<int64_t>(i), 1).equal(drawings[i]->start.logits)) return false;
  }
  return true;
}

void draw_group(const ArModel& model, Drawings drawings) {
  if (drawings.size() == 1) return finish_alone(model, *drawings.front());
  draw_one(model, drawings);
  if (drawings.empty()) return;
  if (!first_step_is_the_same(model, drawings)) {
    for (Drawing* d : drawings) finish_alone(model, *d);
    return;
  }
  while (true) {
    draw_one(model, drawings);
    if (drawings.empty()) return;
    const at::Tensor logits = feed_together(model, drawings, caches_of(drawings));  // (B, Vv)
    for (size_t i = 0; i < drawings.size(); ++i) {
      drawings[i]->start.logits = logits.narrow(0, static_cast<int64_t>(i), 1);
    }
  }
}

using Outcome = std::variant<PriorResult, Error>;

Outcome run_alone(const ArModel& model, PriorTask& task) {
  try {
    return run_prior(model, task.request, task.generator, task.progress);
  } catch (...) {
    return current_error();
  }
}

// At most kLargestPriorBatch tasks: only their caches are there at a time.
void run_group(const ArModel& model, std::span<PriorTask> tasks, std::span<Outcome> out) {
  std::vector<std::unique_ptr<Drawing>> all(tasks.size());  // null: refused
  Drawings begun;
  for (size_t i = 0; i < tasks.size(); ++i) {
    try {
      all[i] = std::make_unique<Drawing>(tasks[i], begin_prior(model, tasks[i].request, tasks[i].progress));
      begun.push_back(all[i].get());
    } catch (...) {
      out[i] = current_error();
    }
  }
  if (!begun.empty()) draw_group(model, std::move(begun));
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (!all[i]) continue;
    if (all[i]->error) {
      out[i] = *all[i]->error;
    } else {
      out[i] = end_prior(tasks[i].request, all[i]->output);
    }
  }
}

}  // namespace

std::vector<Outcome> run_priors(const ArModel& model, std::vector<PriorTask>& tasks) {
  std::vector<Outcome> out;
  if (!model.embed_tokens.weight.is_cpu() || tasks.size() == 1) {
    for (PriorTask& task : tasks) out.push_back(run_alone(model, task));
    return out;
  }
  out.assign(tasks.size(), Error(ErrorKind::internal, "not begun"));
  for (size_t i = 0; i < tasks.size(); i += kLargestPriorBatch) {
    const size_t count = std::min<size_t>(kLargestPriorBatch, tasks.size() - i);
    run_group(model, std::span(tasks).subspan(i, count), std::span(out).subspan(i, count));
  }
  return out;
}

}  // namespace glmimage
