# `make run` draws a picture, `make test` runs every test. Both set up what is missing first.
PROMPT ?= a red apple on a green background
OUT    ?= out/picture.png
SEED   ?= 1
MODEL  ?= checkpoints/mini
ARGS   ?=
FUZZ_SECONDS ?= 600
BUILD  ?= build
TORCH  := $(if $(GLM_IMAGE_TORCH),-DGLM_IMAGE_TORCH=$(GLM_IMAGE_TORCH),)

.PHONY: all setup run test soak fuzz bench check format lint arrows clean
all: $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target glm-image

setup:
	@scripts/bootstrap

$(BUILD)/build.ninja: CMakeLists.txt | setup
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release $(TORCH)

run: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target glm-image
	@mkdir -p $(dir $(OUT))
	@$(BUILD)/glm-image generate --model $(MODEL) --prompt '$(subst ','\'',$(PROMPT))' --seed $(SEED) --output '$(OUT)' $(ARGS)

test: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD)
	@ctest --test-dir $(BUILD) --output-on-failure

# What takes too long for `make test`: the same tests at length, sanitizers, the server's figures.
soak: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD)
	@scripts/soak $(BUILD)

# Strangers' bytes, FUZZ_SECONDS for each fuzzer (tests/fuzz).
fuzz: setup
	@scripts/fuzz $(FUZZ_SECONDS)

# Peers are measured where they are named: BENCH_PYTHON=…/bin/python, BENCH_GGML=clone or a checkout (docs/performance.md).
bench: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target bench glm-image
	@bench/compare/run --build $(BUILD) --json $(BUILD)/bench/results.json \
	  $(if $(BENCH_PYTHON),--python $(BENCH_PYTHON)) $(if $(BENCH_GGML),--ggml $(BENCH_GGML)) $(BENCH_ARGS)

check: lint arrows
	@scripts/format --check

format:
	@scripts/format

lint:
	@scripts/lint

arrows:
	@ctest --test-dir $(BUILD) -R '^arrows$$' --output-on-failure

clean:
	@rm -rf $(BUILD)
